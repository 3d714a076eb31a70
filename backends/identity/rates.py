"""
How often one may ask: a moving minute, kept in memory, and a day, kept on disk.

The library `limits` decides; here is where it counts, with a clock of our own. A minute moves: it
is always the last 60 seconds. A day begins with its first request, and a restart does not begin
another one.
"""

import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import MovingWindowSupport, Storage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from backends.errors import Unavailable

_WINDOWS = 10_000  # callers whose last minute is remembered; past them the quietest is forgotten

_TABLE = """
CREATE TABLE IF NOT EXISTS days (
    name TEXT PRIMARY KEY, used INTEGER NOT NULL, until REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
_COUNT = """
INSERT INTO days VALUES (:name, :amount, :until)
ON CONFLICT (name) DO UPDATE SET used = used + :amount RETURNING used
"""


@dataclass(frozen=True, slots=True)
class Room:
    """What a caller has left of a limit: requests, and the seconds until there are more."""

    per: str
    limit: int
    remaining: int
    seconds: float
    is_refused: bool = False


class Rates:
    """Counts requests of callers by name. On the event loop only."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = _Counts(path, clock)
        self._minute = MovingWindowRateLimiter(self._counts)
        self._day = FixedWindowRateLimiter(self._counts)

    def take(self, who: str, per_minute: int, per_day: int) -> Room | None:
        """
        Count a request; the tightest limit's room is the answer, None where there is no limit (0).
        A request that a minute has no room for is not counted for the day.
        """
        rooms: list[Room] = []
        for limiter, item in (
            (self._minute, RateLimitItemPerMinute(per_minute)),
            (self._day, RateLimitItemPerDay(per_day)),
        ):
            if item.amount:
                rooms.append(self._take(limiter, item, who))
                if rooms[-1].is_refused:
                    return rooms[-1]
        return min(rooms, key=lambda room: room.remaining, default=None)

    def close(self) -> None:
        self._counts.close()

    def _take(self, limiter: RateLimiter, item: RateLimitItem, who: str) -> Room:
        try:
            taken = limiter.hit(item, who)
            stats = limiter.get_window_stats(item, who)
        except sqlite3.Error as error:
            raise Unavailable(
                "The requests of the day cannot be counted: the file quotas.sqlite3 in the state "
                "folder cannot be used.",
                zh="无法统计当天的请求次数：状态目录中的 quotas.sqlite3 不可用。",
            ) from error
        seconds = max(0.0, stats.reset_time - self._clock())
        return Room(item.GRANULARITY.name, item.amount, stats.remaining, seconds, not taken)


class _Counts(Storage, MovingWindowSupport):
    """Where the library counts. The file is made when a day is first counted."""

    STORAGE_SCHEME = None  # no address of a storage means this one

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()
        self._file: sqlite3.Connection | None = None

    @property
    def base_exceptions(self) -> type[Exception]:
        return sqlite3.Error

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window = self._window(key, expiry)
        if len(window) + amount > limit:
            return False
        window.extend([self._clock()] * amount)
        self._windows[key] = window
        self._windows.move_to_end(key)
        if len(self._windows) > _WINDOWS:
            self._windows.popitem(last=False)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        window = self._window(key, expiry)
        return (window[0] if window else self._clock()), len(window)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = self._clock()
        row = {"name": key, "amount": amount, "until": now + expiry}
        with self._opened() as file:
            file.execute("DELETE FROM days WHERE until <= ?", (now,))
            return int(file.execute(_COUNT, row).fetchone()[0])

    def get(self, key: str) -> int:
        return int(self._day(key)[0])

    def get_expiry(self, key: str) -> float:
        return self._day(key)[1]

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)
        with self._opened() as file:
            file.execute("DELETE FROM days WHERE name = ?", (key,))

    def reset(self) -> None:
        self._windows.clear()
        with self._opened() as file:
            file.execute("DELETE FROM days")

    def check(self) -> bool:
        return True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _window(self, key: str, expiry: int) -> deque[float]:
        window = self._windows.get(key, deque())
        while window and window[0] <= self._clock() - expiry:
            window.popleft()
        return window

    def _day(self, key: str) -> tuple[int, float]:
        asked = "SELECT used, until FROM days WHERE name = ? AND until > ?"
        row = self._opened().execute(asked, (key, self._clock())).fetchone()
        return row or (0, self._clock())

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._file = _open(self._path)
        return self._file


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, check_same_thread=False)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")  # a power cut forgets the last requests
        file.execute(_TABLE)
    except sqlite3.Error:
        file.close()
        raise
    return file
