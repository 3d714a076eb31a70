"""
Who asks: principals, roles, accounts, API keys, sign-in, and the `Ask` that travels with every
entry and every job.

Authentication happens once, in a middleware; everything behind it receives a `Principal`.
`Accounts` is the file of local accounts, `Keys` that of API keys, `Identity` what a sign-in opens
and a cookie means, `Access` who may ask now, and how often. With no account configured a one-time
token stands in: it grants every role and ends at restart.
"""

from backends.identity.access import Access, Caller, refusal
from backends.identity.accounts import Account, Accounts, Argon2, Hasher
from backends.identity.keys import SCOPES, Key, Keys
from backends.identity.principals import ANONYMOUS, Ask, Principal, Role, read_roles
from backends.identity.rates import Room
from backends.identity.sessions import COOKIE, Identity
from backends.identity.tries import WrongTries, address_key

__all__ = [
    "ANONYMOUS",
    "COOKIE",
    "SCOPES",
    "Access",
    "Account",
    "Accounts",
    "Argon2",
    "Ask",
    "Caller",
    "Hasher",
    "Identity",
    "Key",
    "Keys",
    "Principal",
    "Role",
    "Room",
    "WrongTries",
    "address_key",
    "read_roles",
    "refusal",
]
