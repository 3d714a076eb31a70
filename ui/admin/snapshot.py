"""
One look at everything that Admin shows, shared by every page that is open.

Many pages never mean many looks: one is taken at a time, and it serves for a moment.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backends.errors import QuartetError
from backends.identity import Account, Key
from backends.jobs import Job
from backends.ops.audit import Chain, Line
from backends.ops.cluster import Reading, Series, Workload
from backends.portal import Portal

FRESH_SECONDS = 1.5
FIGURES = ("rps", "p95", "errors", "waiting")
MINUTES = 15
LINES = 100


@dataclass(frozen=True, slots=True)
class View:
    """`at` is when the look was taken, in `time.time()` seconds; lists are newest first."""

    at: float
    workloads: Reading[Sequence[Workload]]
    figures: Mapping[str, Reading[Sequence[Series]]]
    lines: Sequence[Line]
    chain: Chain
    jobs: Sequence[Job] = ()
    keys: Sequence[Key] = ()
    accounts: Sequence[Account] = ()
    warnings: tuple[str, ...] = ()


class Snapshot:
    def __init__(self, portal: Portal, clock: Callable[[], float] = time.monotonic) -> None:
        self._portal = portal
        self._clock = clock
        self._looking = asyncio.Lock()
        self._kept: View | None = None
        self._until = 0.0
        self._changes = 0

    async def view(self) -> View:
        """What is there now, or was a moment ago."""
        async with self._looking:
            if self._kept is not None and self._clock() <= self._until:
                return self._kept
            changes = self._changes
            found = await self._look()
            # a look that a change overtook serves those who waited for it, and nobody after
            self._kept = found if changes == self._changes else None
            self._until = self._clock() + FRESH_SECONDS
            return found

    def forget(self) -> None:
        """After a change: the next page looks again."""
        self._kept = None
        self._changes += 1

    async def _look(self) -> View:
        portal = self._portal
        workloads = await portal.cluster.workloads()
        figures = {name: await portal.metrics.series(name, MINUTES) for name in FIGURES}
        lines, chain = await asyncio.to_thread(
            lambda: (portal.audit.lines(LINES), portal.audit.verify())
        )
        jobs, warnings = await self._jobs()
        keys, accounts = await asyncio.to_thread(
            lambda: (portal.permits.all_keys(), portal.permits.all_accounts())
        )
        return View(time.time(), workloads, figures, lines, chain, jobs, keys, accounts, warnings)

    async def _jobs(self) -> tuple[Sequence[Job], tuple[str, ...]]:
        """A store that cannot be read must not take the rest of Admin along."""
        try:
            return await self._portal.oversight.jobs() if self._portal.oversight else (), ()
        except QuartetError as error:
            return (), (error.text,)
