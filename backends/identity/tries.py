"""Guessing is slow: wrong passwords, tokens and API keys, for each address on its own."""

import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from backends.errors import Overloaded

_KEYS = 10_000  # addresses and names whose wrong tries are remembered, about 0.2 kB each
_WRONG_BEFORE_REFUSAL = 10
_LONGEST_DELAY = 8.0
_REFUSAL_SECONDS = 60.0  # between two tries, once a key has used up its wrong ones
_FORGET_SECONDS = 900.0


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


def address_key(address: str) -> str:
    """One key for an IPv4 address, and one for all of an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address[:64]}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {getattr(parsed, 'ipv4_mapped', None) or parsed}"
