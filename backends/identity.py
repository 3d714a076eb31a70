"""
Who asks: principals, roles, sign-in, and the `Ask` that travels with every entry and every job.

Authentication happens once, in a middleware; everything behind it receives a `Principal`.
`Accounts` is the file of local accounts, `Identity` what a sign-in opens and a cookie means.
With no account configured a one-time token stands in: it grants every role and ends at restart.
Sessions live in this process's memory; cookies, forms and pages are `backends.routes.sign_in`.
"""

import asyncio
import hashlib
import ipaddress
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from backends import settings
from backends.errors import BadInput, NotFound, Overloaded, QuartetError, SignInNeeded

log = logging.getLogger(__name__)

COOKIE = "quartet_session"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_SHORTEST_PASSWORD = 12
_LONGEST_PASSWORD = 1024
_SESSIONS = 1000  # the oldest leaves: a sign-in costs a hash, so nobody floods this cheaply
_KEYS = 10_000  # addresses and names whose wrong tries are remembered, about 0.2 kB each
_HASHES_AT_ONCE = 2  # 64 MB of memory each
_WRONG_BEFORE_REFUSAL = 10
_LONGEST_DELAY = 8.0
_REFUSAL_SECONDS = 60.0  # between two tries, once a key has used up its wrong ones
_FORGET_SECONDS = 900.0

_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadInput)


class Role(StrEnum):
    VIEWER = "viewer"  # reads Admin
    OPERATOR = "operator"  # bounds, scale, freeze
    SWAPPER = "swapper"  # models


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for which tenant, with which roles; `method` says how they signed in."""

    subject: str
    tenant: str = "default"
    roles: frozenset[Role] = frozenset()
    method: str = ""

    def may(self, role: Role) -> bool:
        return role in self.roles


ANONYMOUS = Principal("anonymous", tenant="anonymous")


@dataclass(frozen=True, slots=True)
class Ask:
    """
    On whose behalf, until when, how urgently.

    `deadline` is a `time.monotonic()` second of this process; over a wire the seconds left
    travel instead. A higher `priority` goes first. `trace` is a W3C traceparent, or "".
    """

    principal: Principal = ANONYMOUS
    deadline: float = float("inf")
    priority: int = 0
    trace: str = ""
    request_id: str = field(default="", compare=False)

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


class Hasher(Protocol):
    """Hashes passwords, slowly on purpose."""

    def hash(self, password: str) -> str: ...

    def matches(self, stored: str, password: str) -> bool: ...


class Argon2:
    """argon2id with the library's own parameters (RFC 9106, low memory)."""

    def hash(self, password: str) -> str:
        from argon2 import PasswordHasher  # here, so that a portal without accounts does not pay

        return PasswordHasher().hash(password)

    def matches(self, stored: str, password: str) -> bool:
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return PasswordHasher().verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    hash: str
    roles: frozenset[Role]


class Accounts:
    """
    The local accounts, in one file that only its owner reads and that is replaced whole.
    A change by another process (`python app.py account …`) is seen at the next look.
    """

    def __init__(self, path: Path, hasher: Hasher | None = None) -> None:
        self._path = path
        self._hasher = hasher or Argon2()
        self._seen: tuple[int, int, int] | None = None
        self._accounts: dict[str, Account] = {}

    def all(self) -> dict[str, Account]:
        """Every account by name. Raises QuartetError if the file is damaged."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        now = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if now != self._seen:
            self._accounts, self._seen = self._read(), now
        return self._accounts

    def add(self, name: str, password: str, roles: Iterable[str]) -> Account:
        """
        Make an account. Who may change may also look: every account has the role viewer.
        Raises BadInput with what to change.
        """
        known = self.all()
        if not _NAME.fullmatch(name):
            raise BadInput(
                "A name has 1 to 64 letters, digits, dots, dashes, underscores or @.", field="name"
            )
        if name in known:
            raise BadInput(f"There is an account called {name}; remove it first.", field="name")
        if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
            raise BadInput(
                f"A password has {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters.",
                field="password",
            )
        given = read_roles(roles) | {Role.VIEWER}
        account = Account(name, self._hasher.hash(password), given)
        self._write({**known, name: account})
        return account

    def remove(self, name: str) -> None:
        """Remove an account; its sessions end."""
        known = self.all()
        if name not in known:
            raise NotFound(f"There is no account called {name}.")
        self._write({key: account for key, account in known.items() if key != name})

    def check(self, name: str, password: str) -> Account | None:
        """
        The account, if the password is right. A missing account costs the same hashing, so
        that the time taken does not say which names exist.
        """
        account = self.all().get(name)
        if account is None:
            self._hasher.hash(password)
            return None
        return account if self._hasher.matches(account.hash, password) else None

    def _read(self) -> dict[str, Account]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                name: Account(name, str(row["hash"]), read_roles(row["roles"]))
                for name, row in rows.items()
            }
        except _DAMAGED as error:
            raise QuartetError(
                f"The accounts file {self._path} is damaged; restore it or delete it."
            ) from error

    def _write(self, accounts: dict[str, Account]) -> None:
        rows = {a.name: {"hash": a.hash, "roles": sorted(a.roles)} for a in accounts.values()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(  # its mode is 0600
            "w", encoding="utf-8", dir=self._path.parent, delete=False
        ) as file:
            json.dump(rows, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._path)


def read_roles(names: Iterable[str]) -> frozenset[Role]:
    """The roles of these names, at least one. Raises BadInput naming the ones there are."""
    try:
        roles = frozenset(Role(name) for name in names)
    except ValueError as error:
        raise BadInput(f"The roles are {', '.join(Role)}.", field="role") from error
    if not roles:
        raise BadInput(f"Give at least one role: {', '.join(Role)}.", field="role")
    return roles


class WrongTries:
    """
    Slows guessing down, for each key (an address, an account's name) on its own.

    A try counts when it begins, so that a hundred at once do not slip through together.
    Each wrong one doubles the next delay; after ten, one try a minute is let through.
    """

    def __init__(
        self, sleep: Callable[[float], Awaitable[object]], clock: Callable[[], float]
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def slow_down(self, keys: Iterable[str]) -> None:
        """Count a try of each key and wait out its delay. Raises Overloaded when refused."""
        now = self._clock()
        found = {key: self._look_up(key, now) for key in keys}
        used_up = [at for wrong, at in found.values() if wrong >= _WRONG_BEFORE_REFUSAL]
        wait = max(used_up, default=float("-inf")) + _REFUSAL_SECONDS - now
        if wait > 0:
            raise Overloaded(
                f"Too many wrong tries. Wait {wait:.0f} seconds, then try again.",
                zh=f"错误次数过多，请在 {wait:.0f} 秒后重试。",
                retry_after=wait,
            )
        for key, (wrong, _) in found.items():
            self._tries[key] = (wrong + 1, now)
            self._tries.move_to_end(key)
        while len(self._tries) > _KEYS:
            self._tries.popitem(last=False)
        if most := max(wrong for wrong, _ in found.values()):
            await self._sleep(min(0.5 * 2 ** (most - 1), _LONGEST_DELAY))

    def forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._tries.pop(key, None)

    def _look_up(self, key: str, now: float) -> tuple[int, float]:
        wrong, at = self._tries.get(key, (0, float("-inf")))
        return (wrong, at) if now - at < _FORGET_SECONDS else (0, float("-inf"))


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
        *,
        announce: Callable[[str], None] = lambda token: None,
        hasher: Hasher | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.accounts = Accounts(state_dir / "accounts.json", hasher)
        self.accounts.all()  # a damaged file stops the start, not the first sign-in
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
        keys = (_address_key(address), f"name {name[:64]}")
        await self._tries.slow_down(keys)
        if not self.accounts.all():
            raise SignInNeeded(
                "There is no account yet. Use the one-time token, or make an account first.",
                zh="还没有账号。请使用一次性令牌，或先创建账号。",
            )
        async with self._hashes:
            account = await asyncio.to_thread(
                self.accounts.check, name, password[:_LONGEST_PASSWORD]
            )
        if account is None:
            log.info("sign-in refused", extra={"method": "account"})
            raise SignInNeeded("The name or the password is wrong.", zh="用户名或密码错误。")
        self._tries.forget(keys)
        return self._open(Principal(name, roles=account.roles, method="account"), account)

    async def sign_in_with_token(self, token: str, address: str) -> str:
        """A new session with every role. Raises SignInNeeded, or Overloaded after many tries."""
        keys = (_address_key(address),)  # no key for the token itself: none may lock it for all
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


def _address_key(address: str) -> str:
    """One key for an IPv4 address, and one for all of an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address[:64]}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {getattr(parsed, 'ipv4_mapped', None) or parsed}"
