"""
`/v1/fusion/jobs`: fusion as a job that is never lost; and `/v1/fusion/faces`, to choose a face.

A job belongs to who asked: the one who signed in, else the visitor whose cookie we signed, else
whoever shows the secret token that the first answer carried, once. To anybody else it is not there.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backends.engines.fusion import Check, Seen
from backends.engines.picture import Picture
from backends.identity import ANONYMOUS, Ask, Principal
from backends.jobs import Job, Jobs
from backends.jobs.owners import COOKIE, TOKEN_PREFIX, Visitors, bearer
from backends.routes.answers import json_response
from backends.routes.body import CallerLeft, read_sent, unless_left
from backends.routes.tally import Tally, outcome_of
from backends.serving import ModelService
from backends.serving.wire.fusion import PICTURE_TYPE, FacesRequest, read_blend, read_look
from backends.settings import Settings
from backends.telemetry import Instruments

PING_SECONDS = 15.0  # between two signs of life on a silent stream of events


def add_faces_route(
    app: FastAPI, service: ModelService, settings: Settings, instruments: Instruments
) -> None:
    """`service` is fusion's."""
    limits = settings.limits

    async def faces(request: Request) -> Response:
        """The faces of a picture, the largest first, with the reason where one cannot be used."""
        tally = Tally(service.name, instruments, request)
        try:
            service.admit()
            sent = await read_sent(request, limits.body_bytes)
            look = await asyncio.to_thread(read_look, sent, limits)
            ask = ask_of(request, request.state.principal, settings)
            answer = await unless_left(request, service.predict((look,), ask))
        except CallerLeft:
            tally.end("CallerLeft")
            return Response(status_code=499)
        except Exception as error:
            tally.end(outcome_of(error))
            raise
        tally.answered(answer)
        return json_response({"model": answer.model, "faces": faces_json(answer[0])})

    schema = {"schema": FacesRequest.model_json_schema()}
    content = dict.fromkeys(("application/json", "multipart/form-data"), schema)
    app.add_api_route(
        "/v1/fusion/faces",
        faces,
        methods=["POST"],
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )


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
    for path, handler, method in (
        ("/v1/fusion/jobs", desk.submit, "POST"),
        ("/v1/fusion/jobs", desk.mine, "GET"),
        (one, desk.get, "GET"),
        (one, desk.delete, "DELETE"),
        (f"{one}/retry", desk.retry, "POST"),
        (f"{one}/events", desk.events, "GET"),
        (f"{one}/result", desk.result, "GET"),
    ):
        app.add_api_route(path, handler, methods=[method], tags=["jobs"])


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
        headers = {
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
    if job.error:
        said |= {"error": job.error, "error_type": job.error_type, "can_retry": job.can_retry}
    if job.token:
        said["token"] = job.token
    return said


def faces_json(seen: Seen) -> list[dict[str, Any]]:
    return [
        {
            "index": face.index,
            "box": list(face.box),
            "score": round(face.score, 4),
            "yaw": round(face.yaw, 1),
            "presence": round(face.presence, 4),
            "thumbnail": _data_uri(face.thumbnail),
            **({"why_not": face.why_not.en} if face.why_not else {}),
        }
        for face in seen.faces
    ]


def _data_uri(picture: Picture) -> str:
    file = BytesIO()
    picture.image().save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
