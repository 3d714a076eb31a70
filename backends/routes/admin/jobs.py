"""Everybody's jobs: how they are, and their end. Never a picture, never a result."""

from starlette.requests import Request
from starlette.responses import Response

from backends import jobs
from backends.identity import Role
from backends.ops.oversight import Oversight
from backends.routes.admin import shapes
from backends.routes.admin.desk import allow, answer


class EveryonesJobs:
    def __init__(self, oversight: Oversight) -> None:
        self._oversight = oversight

    async def jobs(self, request: Request) -> Response:
        """Everybody's jobs that have not expired, the newest first."""
        allow(request, Role.VIEWER)
        return answer(shapes.Jobs(jobs=[_job(job) for job in await self._oversight.jobs()]))

    async def cancel(self, request: Request, job: str) -> Response:
        """Stop a job at its next step; one that has ended stays as it is."""
        who = allow(request, Role.OPERATOR)
        return answer(_job(await self._oversight.cancel(job, who)))

    async def delete(self, request: Request, job: str) -> Response:
        """Remove a job and its pictures from the disk now; one that has not ended is cancelled."""
        who = allow(request, Role.OPERATOR)
        await self._oversight.delete(job, who)
        return Response(status_code=204)


def _job(job: jobs.Job) -> shapes.Job:
    return shapes.Job(
        id=job.id,
        tenant=job.tenant,
        state=job.state.value,
        position=job.position,
        progress=round(job.progress, 3),
        stage=job.stage,
        created=job.created,
        started=job.started,
        ended=job.ended,
        expires=job.expires,
        attempt=job.attempt,
        error=job.error,
        error_type=job.error_type,
    )
