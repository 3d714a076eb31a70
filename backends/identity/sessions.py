"""
What a sign-in opens and what a cookie means.

Sessions live in this process's memory, so a restart ends them. With no account configured a
one-time token stands in. Cookies, forms and pages are `backends.routes.sign_in`.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from backends import settings
from backends.errors import SignInNeeded
from backends.identity.accounts import LONGEST_PASSWORD, Account, Accounts, Hasher
from backends.identity.keys import Keys
from backends.identity.principals import ANONYMOUS, Principal, Role
from backends.identity.tries import WrongTries, address_key

log = logging.getLogger(__name__)

COOKIE = "quartet_session"

_SESSIONS = 1000  # the oldest leaves: a sign-in costs a hash, so nobody floods this cheaply
_HASHES_AT_ONCE = 2  # 64 MB of memory each


@dataclass(frozen=True, slots=True)
class _Session:
    principal: Principal
    until: float
    account: Account | None  # None: opened by the one-time token


class Identity:
    """
    Who a cookie is, and how one gets a cookie.

    An account that is changed or removed ends its sessions. The one-time token is used up by
    the first sign-in; a fresh one is then announced, so that the operator is never locked out.
    The first one is for the caller to announce, who knows the address of the page.
    """

    def __init__(
        self,
        group: settings.Identity,
        state_dir: Path,
        keys: Keys | None = None,
        *,
        announce: Callable[[str], None] = lambda token: None,
        hasher: Hasher | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.accounts = Accounts(state_dir / "accounts.json", hasher)
        self.keys = keys or Keys(state_dir / "keys.json")
        self.accounts.all()  # a damaged file stops the start, not the first sign-in
        self.keys.all()
        self._seconds = group.session_hours * 3600
        self._announce = announce
        self._clock = clock
        self._tries = WrongTries(sleep, clock)
        self._hashes = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._token = secrets.token_urlsafe(24)
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    @property
    def token(self) -> str | None:
        """The one-time token; None as soon as there is an account."""
        return None if self.accounts.all() else self._token

    def principal(self, cookie: str | None) -> Principal:
        """Whose cookie this is; ANONYMOUS without one, or when its session has ended."""
        session = self._sessions.get(_digest(cookie)) if cookie else None
        if cookie is None or session is None:
            return ANONYMOUS
        if session.until <= self._clock() or not self._still_stands(session):
            self.sign_out(cookie)
            return ANONYMOUS
        return session.principal

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """A new session for the account. Raises SignInNeeded, or Overloaded after many tries."""
        keys = (address_key(address), f"name {name[:64]}")
        await self._tries.slow_down(keys)
        if not self.accounts.all():
            raise SignInNeeded(
                "There is no account yet. Use the one-time token, or make an account first.",
                zh="还没有账号。请使用一次性令牌，或先创建账号。",
            )
        async with self._hashes:
            account = await asyncio.to_thread(
                self.accounts.check, name, password[:LONGEST_PASSWORD]
            )
        if account is None:
            log.info("sign-in refused", extra={"method": "account"})
            raise SignInNeeded("The name or the password is wrong.", zh="用户名或密码错误。")
        self._tries.forget(keys)
        return self._open(Principal(name, roles=account.roles, method="account"), account)

    async def sign_in_with_token(self, token: str, address: str) -> str:
        """A new session with every role. Raises SignInNeeded, or Overloaded after many tries."""
        keys = (address_key(address),)  # no key for the token itself: none may lock it for all
        await self._tries.slow_down(keys)
        expected = self.token
        if expected is None or not secrets.compare_digest(token.encode(), expected.encode()):
            log.info("sign-in refused", extra={"method": "token"})
            raise SignInNeeded(
                "This token is not valid: it was used, is mistyped, or accounts have replaced it.",
                zh="令牌无效：可能已被使用、输入有误，或已改用账号登录。",
            )
        self._tries.forget(keys)
        self._token = secrets.token_urlsafe(24)
        self._announce(self._token)
        return self._open(Principal("operator", roles=frozenset(Role), method="token"), None)

    def sign_out(self, cookie: str | None) -> None:
        if cookie:
            self._sessions.pop(_digest(cookie), None)

    def _open(self, principal: Principal, account: Account | None) -> str:
        cookie = secrets.token_urlsafe(32)
        until = self._clock() + self._seconds
        self._sessions[_digest(cookie)] = _Session(principal, until, account)
        while len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        log.info("signed in", extra={"user": principal.subject, "method": principal.method})
        return cookie

    def _still_stands(self, session: _Session) -> bool:
        accounts = self.accounts.all()
        if session.account is None:
            return not accounts
        return accounts.get(session.account.name) == session.account


def _digest(cookie: str) -> str:
    """Only this is kept: a dump of the memory does not open a session."""
    return hashlib.sha256(cookie.encode()).hexdigest()
