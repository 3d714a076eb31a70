"""
When this process had better be replaced: a batch that never ends, or memory that only grows.

`/healthz` says so, and whoever watches it restarts the process. Nothing here ends anything.
"""

from collections.abc import Callable, Sequence

from backends import settings
from backends.engines import headroom
from backends.engines.hub import amount
from backends.serving import Status


class Watchdog:
    """`resident` reads the bytes that this process holds, None where that cannot be known."""

    def __init__(
        self,
        group: settings.Watchdog,
        resident: Callable[[], int | None] = headroom.resident,
    ) -> None:
        self._group = group
        self._resident = resident
        self._models: tuple[object, ...] = ()
        self._base: int | None = None

    def reason(self, statuses: Sequence[Status]) -> str:
        """Why the process should be replaced; "" while all is well."""
        return self._hung(statuses) or self._leaking(statuses)

    def _hung(self, statuses: Sequence[Status]) -> str:
        longest = max(statuses, key=lambda status: status.running_seconds, default=None)
        limit = self._group.batch_seconds
        if longest is None or not limit or longest.running_seconds <= limit:
            return ""
        return (
            f"A batch of {longest.service} has run for {longest.running_seconds:.0f} s, more than "
            f"QUARTET_WATCHDOG__BATCH_SECONDS ({limit:.0f}): the device hangs."
        )

    def _leaking(self, statuses: Sequence[Status]) -> str:
        """Growth counts from when the last model was loaded: loading one is no leak."""
        limit, now = self._group.growth_bytes, self._resident()
        if not limit or now is None:
            return ""
        models = tuple((s.service, s.model, s.revision, s.loading) for s in statuses)
        if self._base is None or models != self._models or any(s.loading for s in statuses):
            self._models, self._base = models, now
        if now - self._base <= limit:
            return ""
        return (
            f"The process has grown by {amount(now - self._base)} since its models were loaded, "
            f"more than QUARTET_WATCHDOG__GROWTH_BYTES ({amount(limit)})."
        )
