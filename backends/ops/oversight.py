"""
What who runs the portal may do to others' jobs: end one, remove one; audited, never looked into.
"""

from collections.abc import Sequence

from backends.identity import Principal, Role
from backends.jobs import EveryJob, Job
from backends.jobs.owners import no_such_job
from backends.ops.changes import Change, Changes


class Oversight:
    """`cancel` and `delete` need the role operator; their callers have asked for it."""

    def __init__(self, jobs: EveryJob, changes: Changes) -> None:
        self._jobs = jobs
        self._changes = changes

    async def jobs(self) -> Sequence[Job]:
        """Everybody's jobs that have not expired, the newest first."""
        return await self._jobs.everyones()

    async def cancel(self, job: str, who: Principal) -> Job:
        """Stop it at its next step; one that has ended stays as it is. Raises NotFound."""
        now = await self._find(job)
        if now.state.is_final:
            return now
        return await self._changes.make(
            _change(now, "cancelled", who),
            lambda: self._jobs.stop(job),
            lambda ended: f"done: it is {ended.state.value}",
        )

    async def delete(self, job: str, who: Principal) -> None:
        """Remove it and its pictures from the disk now. Raises NotFound."""
        now = await self._find(job)
        await self._changes.make(_change(now, "deleted", who), lambda: self._jobs.remove(job))

    async def _find(self, job: str) -> Job:
        for each in await self._jobs.everyones():
            if each.id == job:
                return each
        raise no_such_job()


def _change(job: Job, after: str, who: Principal) -> Change:
    before = f"{job.state.value}, of tenant {job.tenant}"
    return Change(who, Role.OPERATOR, f"jobs/{job.id}", before, after)
