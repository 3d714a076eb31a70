"""
API keys: made once, shown once, kept as a hash.

A secret is `qk_` and 48 hexadecimal digits, of which the first eight are the key's public id. It
is random and long, so one plain SHA-256 is kept of it: nobody can guess what was hashed. A key
that was revoked or has expired stays in the list and opens nothing.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from backends.errors import BadInput, NotFound
from backends.identity.files import StateFile
from backends.identity.principals import ANONYMOUS, Principal, Role

log = logging.getLogger(__name__)

PREFIX = "qk_"
ADMIN = "admin:"
SCOPES = (
    "rerank",
    "entailment",
    "fusion",
    "translate",
    *(f"{ADMIN}{role.value}" for role in Role),
)
METHOD = "key"

_SECRET_BYTES = 24
_ID_DIGITS = 8
_LONGEST_NAME = 64
_LONGEST_SECRET = 1024  # what is longer is not worth a hash
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Key:
    """
    A key without its secret. Times are `time.time()` seconds; `expires` None is never. The two
    limits are requests; None takes the setting's.
    """

    id: str
    name: str
    tenant: str
    scopes: frozenset[str]
    hash: str = field(repr=False)
    created: float
    expires: float | None = None
    revoked: float | None = None
    per_minute: int | None = None
    per_day: int | None = None

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "active" if self.expires is None or now < self.expires else "expired"

    def principal(self) -> Principal:
        roles = {Role(each.removeprefix(ADMIN)) for each in self.scopes if each.startswith(ADMIN)}
        return Principal(
            f"key {self.id}",
            tenant=self.tenant,
            roles=frozenset(roles | {Role.VIEWER} if roles else roles),
            method=METHOD,
            scopes=self.scopes,
        )


class Keys:
    """
    The API keys, in one file that only its owner reads and that is replaced whole.
    A change by another process (`python app.py key …`) is seen at the next look.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._file = StateFile(path, "keys", _read)

    def all(self) -> dict[str, Key]:
        """Every key by id, revoked ones too. Raises QuartetError if the file is damaged."""
        return self._file.all()

    def make(
        self,
        name: str,
        tenant: str,
        scopes: Iterable[str],
        expires_days: float | None = None,
        per_minute: int | None = None,
        per_day: int | None = None,
    ) -> tuple[Key, str]:
        """A new key and its secret, which nothing can show again. Raises BadInput."""
        limits = {"expires_days": expires_days, "per_minute": per_minute, "per_day": per_day}
        wanted = self.check_new(name, tenant, scopes, limits)
        with self._file.locked():
            known = self.all()
            secret = _new_secret(known)
            now = self._clock()
            key = Key(
                _id_of(secret),
                name,
                tenant,
                wanted,
                _digest(secret),
                now,
                expires=None if expires_days is None else now + expires_days * _DAY,
                per_minute=per_minute,
                per_day=per_day,
            )
            self._file.replace(_rows({**known, key.id: key}))
        log.info("key made", extra={"key": key.id, "tenant": tenant})
        return key, secret

    def check_new(
        self, name: str, tenant: str, scopes: Iterable[str], limits: Mapping[str, float | None]
    ) -> frozenset[str]:
        """The scopes, if `make` would take all of it. Raises BadInput with what to change."""
        wanted = _checked_scopes(scopes)
        _check_name(name, "name", "名称")
        _check_name(tenant, "tenant", "租户")
        if tenant == ANONYMOUS.tenant:
            raise BadInput(
                f"{tenant} is the tenant of those without a key.",
                zh=f"{tenant} 是没有密钥者的租户，请换一个。",
                field="tenant",
            )
        for what, number in limits.items():
            if number is not None and not 0 < number < 1e9:
                raise BadInput(
                    f"{what} must be above 0; leave it out for none.",
                    zh=f"{what} 必须大于 0；不限制则留空。",
                    field=what,
                )
        return wanted

    def revoke(self, id: str) -> Key:
        """End a key now. Raises NotFound if there is none that could be ended."""
        with self._file.locked():
            known = self.all()
            key = known.get(id)
            if key is None or key.revoked is not None:
                raise NotFound(
                    f"There is no key {id[:80]} that could be revoked.", zh="没有可吊销的此密钥。"
                )
            key = replace(key, revoked=self._clock())
            self._file.replace(_rows({**known, id: key}))
        log.info("key revoked", extra={"key": id, "tenant": key.tenant})
        return key

    def find(self, secret: str) -> Key | None:
        """Whose secret this is; None for one that is unknown, expired or revoked."""
        if len(secret) > _LONGEST_SECRET:
            return None
        key = self.all().get(_id_of(secret))
        kept = key.hash if key else "0" * 64
        known = hmac.compare_digest(kept, _digest(secret))
        return key if key and known and key.state(self._clock()) == "active" else None


def _new_secret(known: Mapping[str, Key]) -> str:
    while True:
        secret = PREFIX + secrets.token_hex(_SECRET_BYTES)
        if _id_of(secret) not in known:
            return secret


def _id_of(secret: str) -> str:
    return secret.removeprefix(PREFIX)[:_ID_DIGITS]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _checked_scopes(scopes: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(scopes)
    if not wanted or wanted - set(SCOPES):
        listed = ", ".join(SCOPES)
        raise BadInput(
            f"Give at least one scope; there is {listed}.",
            zh=f"请至少选择一个权限范围：{listed}。",
            field="scope",
        )
    return wanted


def _check_name(given: str, what: str, zh: str) -> None:
    if not (given.strip() == given and given.isprintable() and 0 < len(given) <= _LONGEST_NAME):
        raise BadInput(
            f"A {what} has 1 to {_LONGEST_NAME} characters that can be read, and no space around "
            "them.",
            zh=f"{zh}需要 1 到 {_LONGEST_NAME} 个可读字符，首尾不能有空格。",
            field=what,
        )


def _read(rows: dict[str, Any]) -> dict[str, Key]:
    read = TypeAdapter(Key).validate_python
    keys = {id: read({**row, "id": id}) for id, row in rows.items()}
    for key in keys.values():
        _checked_scopes(key.scopes)
        if len(bytes.fromhex(key.hash)) != hashlib.sha256().digest_size:
            raise ValueError("no SHA-256")
    return keys


def _rows(keys: Mapping[str, Key]) -> dict[str, Any]:
    rows = {}
    for id, key in keys.items():
        row = asdict(key) | {"scopes": sorted(key.scopes)}
        del row["id"]
        rows[id] = row
    return rows
