"""
When an engine fails batch after batch, stop asking it: a thin skin over pybreaker.

pybreaker holds its lock during the call it guards, which would put several engine threads in a
row; so the batch runs outside and only its outcome goes through. Used under the batcher's lock.
"""

from datetime import UTC, datetime, timedelta

import pybreaker


class _Failed(Exception):
    pass


class Breaker:
    """Closed: all pass. Open: none. After `seconds`, one batch is let through to try."""

    def __init__(self, failures: int, seconds: float) -> None:
        self._seconds = seconds
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures, reset_timeout=seconds, state_storage=self._storage
        )
        self._probing = False

    @property
    def state(self) -> str:
        """closed, half-open or open."""
        return str(self._breaker.current_state)

    def seconds_left(self) -> float:
        """Until the next try; 0 when closed or when a try is due."""
        opened = self._storage.opened_at
        if self.state != pybreaker.STATE_OPEN or opened is None:
            return 0.0
        due = opened + timedelta(seconds=self._seconds)
        return max(0.0, (due - datetime.now(UTC)).total_seconds())

    def may_run(self) -> bool:
        """May a batch start now? True once for the probe, until its outcome is known."""
        if self.state == pybreaker.STATE_CLOSED:
            return True
        if self._probing or self.seconds_left() > 0:
            return False
        self._probing = True
        self._breaker.half_open()
        return True

    def record(self, ok: bool) -> None:
        self._probing = False
        if self.state == pybreaker.STATE_OPEN:
            return  # a batch that had started before it opened: old news
        try:
            self._breaker.call(self._outcome, ok)
        except (_Failed, pybreaker.CircuitBreakerError):
            return  # counted; what it means for callers is the batcher's to say

    def let_go(self) -> None:
        """A batch that `may_run` allowed did not run after all."""
        self._probing = False

    def reset(self) -> None:
        """A new engine starts with a clean slate."""
        self._probing = False
        self._storage.reset_counter()
        self._breaker.close()

    @staticmethod
    def _outcome(ok: bool) -> None:
        if not ok:
            raise _Failed
