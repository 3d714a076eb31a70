"""
`/v1/fusion/jobs`: fusion as a job that is never lost.

A job belongs to who asked: the one who signed in, else the visitor whose cookie we signed, else
whoever shows the secret token that the first answer carried, once. To anybody else it is not there.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backends.engines.fusion import Check, terms
from backends.errors import Conflict, NotFound, Overloaded, Unavailable
from backends.identity import ANONYMOUS, Ask, Principal
from backends.jobs import Job, Jobs
from backends.jobs.owners import COOKIE, TOKEN_PREFIX, Visitors, bearer
from backends.routes.answers import json_response, served_headers
from backends.routes.body import CallerLeft, read_sent, unless_left
from backends.routes.described import ASKING, GATED, Answers, errors, file, schema_of
from backends.routes.tally import Tally, outcome_of
from backends.serving import ModelService
from backends.serving.wire.fusion import NOTICE, PICTURE_TYPE, FusionRequest, read_blend
from backends.settings import Settings
from backends.telemetry import Instruments


class JobAnswer(BaseModel):
    """A job as it is now."""

    id: str
    state: str = Field(description="waiting, running, done, failed or cancelled.")
    progress: float = Field(ge=0, le=1)
    stage: str
    position: int | None = Field(description="How many run before it, while it waits.")
    created: float = Field(description="Seconds since 1970.")
    expires: float = Field(description="Seconds since 1970.")
    attempt: int
    notes: list[str]
    error: str | None = None
    error_type: str | None = None
    can_retry: bool | None = None
    model: str | None = Field(None, description="What made it, once it is done.")
    revision: int | None = None
    pod: str | None = Field(None, description="Where it was made, if in another process.")
    notice: str | None = Field(None, description=NOTICE)
    token: str | None = Field(None, description="Told once: the proof that the job is yours.")


class JobsAnswer(BaseModel):
    jobs: list[JobAnswer]


PING_SECONDS = 15.0  # between two signs of life on a silent stream of events


def add_job_routes(
    app: FastAPI,
    jobs: Jobs,
    visitors: Visitors,
    service: ModelService,
    settings: Settings,
    instruments: Instruments,
) -> None:
    desk = _Desk(jobs, visitors, service, settings, instruments)
    one = "/v1/fusion/jobs/{job}"
    gone = errors(*GATED, NotFound, Unavailable)
    busy = errors(*GATED, NotFound, Conflict, Overloaded, Unavailable)
    made: Answers = {202: {"model": JobAnswer}}
    mine: Answers = {200: {"model": JobsAnswer}}
    picture: Answers = {200: file(PICTURE_TYPE, "The picture.")}
    stream: Answers = {200: file("text/event-stream", "The job after each change.")}
    removed: Answers = {200: {"model": JobAnswer}, 204: {"description": "Removed."}}
    for path, handler, method, status, told in (
        ("/v1/fusion/jobs", desk.mine, "GET", 200, mine | errors(*GATED, Unavailable)),
        (one, desk.get, "GET", 200, {200: {"model": JobAnswer}} | gone),
        (one, desk.delete, "DELETE", 200, removed | gone | errors(Conflict)),
        (f"{one}/retry", desk.retry, "POST", 202, made | busy),
        (f"{one}/events", desk.events, "GET", 200, stream | gone),
        (f"{one}/result", desk.result, "GET", 200, picture | gone | errors(Conflict)),
    ):
        app.add_api_route(
            path, handler, methods=[method], tags=["jobs"], status_code=status, responses=told
        )
    schema = {"schema": schema_of(FusionRequest)}
    content = dict.fromkeys(("application/json", "multipart/form-data"), schema)
    app.add_api_route(
        "/v1/fusion/jobs",
        desk.submit,
        methods=["POST"],
        tags=["jobs"],
        status_code=202,
        responses=made | errors(*ASKING),
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )


class _Desk:
    def __init__(
        self,
        jobs: Jobs,
        visitors: Visitors,
        service: ModelService,
        settings: Settings,
        instruments: Instruments,
    ) -> None:
        self._jobs = jobs
        self._visitors = visitors
        self._service = service
        self._settings = settings
        self._instruments = instruments

    async def submit(self, request: Request) -> Response:
        """Check, record, answer 202 with the job; `token` is there if nothing else is proof."""
        tally = Tally(self._service.name, self._instruments, request)
        try:
            self._service.admit()
            limits = self._settings.limits
            sent = await read_sent(request, limits.body_bytes)
            asked, blend = await asyncio.to_thread(read_blend, sent, limits)
            ask = ask_of(request, self._who(request), self._settings, asked.options.priority)
            await unless_left(request, self._service.predict((Check(blend),), ask))
            job = await self._jobs.submit(blend, ask)
        except CallerLeft:
            tally.end("CallerLeft")
            return Response(status_code=499)
        except Exception as error:
            tally.end(outcome_of(error))
            raise
        tally.facts |= {"job": job.id}
        tally.end("ok")
        return json_response(job_json(job), 202, location=f"/v1/fusion/jobs/{job.id}")

    async def mine(self, request: Request) -> Response:
        """The caller's jobs that have not expired, the newest first."""
        jobs = await self._jobs.mine(self._who(request))
        return json_response({"jobs": [job_json(job) for job in jobs]})

    async def get(self, request: Request, job: str) -> Response:
        """How the job is."""
        return json_response(job_json(await self._jobs.get(job, self._who(request))))

    async def delete(self, request: Request, job: str) -> Response:
        """Cancel a job that has not ended; remove one that has, its pictures too."""
        who = self._who(request)
        if (await self._jobs.get(job, who)).state.is_final:
            await self._jobs.delete(job, who)
            return Response(status_code=204)
        return json_response(job_json(await self._jobs.cancel(job, who)))

    async def retry(self, request: Request, job: str) -> Response:
        """Queue a job again that failed through no fault of its pictures."""
        return json_response(job_json(await self._jobs.retry(job, self._who(request))), 202)

    async def result(self, request: Request, job: str) -> Response:
        """The finished picture, marked as AI-edited."""
        data = await self._jobs.result(job, self._who(request))
        made = await self._jobs.get(job, self._who(request))
        headers = {
            **(served_headers(made) if made.model else {}),
            "cache-control": "private, no-store",
            "content-disposition": f'inline; filename="quartet-{job}.png"',
        }
        return Response(data, 200, headers, media_type=PICTURE_TYPE)

    async def events(self, request: Request, job: str) -> Response:
        """The job now and after every change, as server-sent events, to its end."""
        who = self._who(request)
        await self._jobs.get(job, who)  # another's job is a plain 404, not a stream
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        told = _told(self._jobs.watch(job, who))
        return StreamingResponse(told, media_type="text/event-stream", headers=headers)

    def _who(self, request: Request) -> Principal:
        signed_in: Principal = request.state.principal
        if signed_in != ANONYMOUS:
            return signed_in
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and shown.strip().startswith(TOKEN_PREFIX):
            return bearer(shown.strip())
        return self._visitors.read(request.cookies.get(COOKIE)) or stranger(request)


def stranger(request: Any) -> Principal:
    """Nobody we know: the cap on waiting jobs counts by address, and a token is the only proof."""
    host = request.client.host if request.client else "unknown"
    return Principal(f"address {host}", tenant="anonymous", method="address")


async def _told(jobs: AsyncIterator[Job]) -> AsyncIterator[bytes]:
    following = asyncio.ensure_future(anext(jobs, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=PING_SECONDS)
            if not done:
                yield b": still here\n\n"
                continue
            if (job := following.result()) is None:
                return
            yield b"data: " + orjson.dumps(job_json(job)) + b"\n\n"
            following = asyncio.ensure_future(anext(jobs, None))
    finally:
        following.cancel()


def ask_of(request: Request, who: Principal, settings: Settings, priority: int = 0) -> Ask:
    return Ask(
        principal=who,
        deadline=time.monotonic() + settings.limits.deadline_seconds,
        priority=priority,
        trace=request.headers.get("traceparent", ""),
        request_id=request.state.request_id,
    )


def job_json(job: Job) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": job.id,
        "state": job.state.value,
        "progress": round(job.progress, 3),
        "stage": job.stage,
        "position": job.position,
        "created": job.created,
        "expires": job.expires,
        "attempt": job.attempt,
        "notes": [english for english, _ in job.notes],
    }
    if job.model:
        said |= {"model": job.model, "revision": job.revision}
        said |= {"pod": job.pod} if job.pod else {}
        said |= {"notice": notice} if (notice := terms(job.model)) else {}
    if job.error:
        said |= {"error": job.error, "error_type": job.error_type, "can_retry": job.can_retry}
    if job.token:
        said["token"] = job.token
    return said
