"""
Whose a job is, for callers who did not sign in: a signed cookie, or a secret token.

A browser gets a cookie with a random name and our signature; a program gets, once, the token of
its job. Neither says anything about the person. The signing key lies in the state folder,
readable by its owner alone; of a token only a hash is kept.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from backends.errors import NotFound, QuartetError
from backends.identity import Principal

COOKIE = "quartet_visitor"
TOKEN_PREFIX = "qj_"
_BY_TOKEN = "job token"
_BY_COOKIE = "cookie"
_KEY_BYTES = 32


class Visitors:
    """Signs visitors' cookies with the key in `folder`, which is made at the first start."""

    def __init__(self, folder: Path) -> None:
        self._key = _read_key(folder / "visitors.key")

    def welcome(self) -> tuple[Principal, str]:
        """A new visitor, and the cookie that proves it."""
        name = secrets.token_urlsafe(18)
        return _visitor(name), f"{name}.{self._sign(name)}"

    def read(self, cookie: str | None) -> Principal | None:
        """Whose cookie this is; None if we did not sign it."""
        name, _, signature = (cookie or "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(name).encode()):
            return None
        return _visitor(name)

    def _sign(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()


def _visitor(name: str) -> Principal:
    return Principal(f"visitor {name}", tenant="anonymous", method=_BY_COOKIE)


def needs_token(who: Principal) -> bool:
    """Whether this caller could not prove later that a job is theirs: an address is no proof."""
    return who.method in ("", "address")


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def bearer(token: str) -> Principal:
    """The caller who shows a job's token."""
    return Principal(token, tenant="anonymous", method=_BY_TOKEN)


def token_hash(token: str) -> str:
    """What is kept of a token; it is long and random, so one plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_owner(who: Principal, tenant: str, subject: str, hashed: str) -> bool:
    """
    Whether a job with that owner is `who`'s; `hashed` is its token's hash, or "" where the
    owner has a name.
    """
    if hashed:
        shown = token_hash(who.subject) if who.method == _BY_TOKEN else ""
        return hmac.compare_digest(shown, hashed)
    return (who.tenant, who.subject) == (tenant, subject) and who.method != _BY_TOKEN


def no_such_job() -> NotFound:
    """What one says of a job that is gone, and to whom it does not belong."""
    return NotFound(
        "There is no such job: it has expired, was deleted, or is not yours.",
        zh="没有该任务：可能已过期、已删除或不属于您。",
    )


def _read_key(path: Path) -> bytes:
    """The key, made first if there is none: whole or not at all, and never a second one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent) as fresh:  # its mode is 0600
            fresh.write(secrets.token_bytes(_KEY_BYTES))
            fresh.flush()
            os.fsync(fresh.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh.name, path)
    path.chmod(0o600)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise QuartetError(
            f"The key file {path} is damaged; delete it, and visitors' jobs will expire unseen."
        )
    return key
