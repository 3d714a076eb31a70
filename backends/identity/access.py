"""
Who may ask now: API keys, anonymous use, scopes and limits. Knows nothing of HTTP.

While no key exists, whatever key is sent is nobody's business. From the first one on, an unknown
key is refused, slower with each wrong one of an address; a right one never waits.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from backends import settings
from backends.errors import Denied, QuartetError, RateLimited, SignInNeeded
from backends.identity.keys import Key, Keys
from backends.identity.principals import ANONYMOUS, Principal
from backends.identity.rates import Rates, Room
from backends.identity.tries import WrongTries, address_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from which address, and with which key, if it is one."""

    principal: Principal
    address: str = ""
    key: Key | None = None


class Access:
    def __init__(
        self,
        group: settings.Access,
        keys: Keys,
        state_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.keys = keys
        self.keys.all()  # a damaged file stops the start, not the first request
        self._group = group
        self._rates = Rates(state_dir / "quotas.sqlite3", clock)
        self._tries = WrongTries(sleep, clock)

    async def caller(self, principal: Principal, address: str, secret: str) -> Caller:
        """
        The key's own principal where a key was sent and counts, else `principal`. Raises
        SignInNeeded for a wrong key, or Overloaded after many of them.
        """
        if not secret or not self.keys.all():
            return Caller(principal, address)
        key = self.keys.find(secret)
        if key is None:
            await self._tries.slow_down((address_key(address),))
            raise SignInNeeded(
                "This API key is not known here, has expired or was revoked. Ask whoever runs "
                "this portal for another.",
                zh="此 API 密钥无效、已过期或已被吊销。请向本服务的管理者索取新的密钥。",
            )
        return Caller(key.principal(), address, key)

    def check(self, caller: Caller, family: str = "") -> None:
        """Raises SignInNeeded where nobody may ask namelessly, Denied without the scope."""
        if caller.principal == ANONYMOUS and not self._group.anonymous:
            raise SignInNeeded(
                "This portal serves nobody it does not know. Send an API key, as in "
                "Authorization: Bearer qk_…, or sign in.",
                zh="本服务不接受匿名请求。请登录，或使用 API 密钥。",
            )
        if not caller.principal.may_use(family):
            raise Denied(f"This API key lacks the scope {family}; ask for one that has it.")

    def spend(self, caller: Caller) -> Room | None:
        """Count a request against the caller's limits; None for who has none."""
        group, key = self._group, caller.key
        if key is not None:
            minute, day = key.per_minute, key.per_day
            return self._rates.take(
                f"key {key.id}",
                group.key_per_minute if minute is None else minute,
                group.key_per_day if day is None else day,
            )
        if caller.principal == ANONYMOUS:
            return self._rates.take(address_key(caller.address), group.anonymous_per_minute, 0)
        return None

    def enter(self, caller: Caller, family: str = "") -> Room | None:
        """Both of the above at once; raises RateLimited too."""
        self.check(caller, family)
        room = self.spend(caller)
        if room is not None and room.is_refused:
            raise refusal(caller, room)
        return room

    def close(self) -> None:
        self._rates.close()


def refusal(caller: Caller, room: Room) -> QuartetError:
    """Which limit was met, and when to try again."""
    english, chinese = _wait(room.seconds)
    times = f"{room.limit} times a {room.per}" if room.limit != 1 else f"once a {room.per}"
    per = {"minute": "每分钟", "day": "每天"}[room.per]
    if caller.key is not None:
        text = f"This API key may ask {times}. Try again in {english}."
        zh = f"此 API 密钥{per}最多请求 {room.limit} 次，请在{chinese}后重试。"
    else:
        text = (
            f"Without a sign-in or an API key an address may ask {times}. Try again in {english}."
        )
        zh = (
            f"未登录且没有 API 密钥时，每个地址{per}最多请求 {room.limit} 次，请在{chinese}后重试。"
        )
    return RateLimited(text, zh=zh, retry_after=room.seconds)


def _wait(seconds: float) -> tuple[str, str]:
    """Rounded up, so that whoever waits as long as it says is served."""
    for unit, english, chinese in ((3600, "hours", "小时"), (60, "minutes", "分钟")):
        if seconds > 2 * unit:
            number = -int(-seconds // unit)
            return f"{number} {english}", f" {number} {chinese}"
    number = max(1, -int(-seconds // 1))
    return f"{number} second{'s' if number != 1 else ''}", f" {number} 秒"
