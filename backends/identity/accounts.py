"""The local accounts of Admin, and how their passwords are kept."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from backends.errors import BadInput, NotFound
from backends.identity.files import StateFile
from backends.identity.principals import Role, read_roles

LONGEST_PASSWORD = 1024
_SHORTEST_PASSWORD = 12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


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
        self._hasher = hasher or Argon2()
        self._file = StateFile(path, "accounts", _read)

    def all(self) -> dict[str, Account]:
        """Every account by name. Raises QuartetError if the file is damaged."""
        return self._file.all()

    def add(self, name: str, password: str, roles: Iterable[str]) -> Account:
        """
        Make an account. Who may change may also look: every account has the role viewer.
        Raises BadInput with what to change.
        """
        self.check_new(name, password)
        given = read_roles(roles) | {Role.VIEWER}
        with self._file.locked():
            known = self.all()
            if name in known:
                raise _taken(name)
            account = Account(name, self._hasher.hash(password), given)
            self._file.replace(_rows({**known, name: account}))
        return account

    def check_new(self, name: str, password: str) -> None:
        """Whether `add` would take them. Raises BadInput with what to change."""
        if not _NAME.fullmatch(name):
            raise BadInput(
                "A name has 1 to 64 letters, digits, dots, dashes, underscores or @.",
                zh="用户名由 1 到 64 个字母、数字、点、短横线、下划线或 @ 组成。",
                field="name",
            )
        if not _SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise BadInput(
                f"A password has {_SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.",
                zh=f"密码需要 {_SHORTEST_PASSWORD} 到 {LONGEST_PASSWORD} 个字符。",
                field="password",
            )
        if name in self.all():
            raise _taken(name)

    def remove(self, name: str) -> None:
        """Remove an account; its sessions end."""
        with self._file.locked():
            known = self.all()
            if name not in known:
                raise NotFound(f"There is no account called {name}.")
            kept = {key: account for key, account in known.items() if key != name}
            self._file.replace(_rows(kept))

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


def _taken(name: str) -> BadInput:
    return BadInput(
        f"There is an account called {name}; remove it first.",
        zh=f"已有名为 {name} 的账号；请先移除。",
        field="name",
    )


def _read(rows: dict[str, Any]) -> dict[str, Account]:
    return {
        name: Account(name, str(row["hash"]), read_roles(row["roles"]))
        for name, row in rows.items()
    }


def _rows(accounts: dict[str, Account]) -> dict[str, Any]:
    return {a.name: {"hash": a.hash, "roles": sorted(a.roles)} for a in accounts.values()}
