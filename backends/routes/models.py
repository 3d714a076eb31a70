"""
`/v1/<family>`: one route for each family that is served here.

Admission before the body is read; then principal, deadline, items, answer. One log line and one
count for each request, whatever became of it.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backends.errors import BadInput, Unavailable
from backends.families import Family
from backends.identity import Ask
from backends.routes.answers import json_response
from backends.routes.body import CallerLeft, read_sent, unless_left
from backends.routes.tally import Tally, events, outcome_of
from backends.serving import Answer, ModelService
from backends.serving.wire import SHAPES, Shape
from backends.serving.wire.exact import Exact, exactly, is_wanted
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent
from backends.settings import Limits, Settings
from backends.telemetry import Instruments

CLIENT_CLOSED_REQUEST = 499


def add_model_routes(
    app: FastAPI,
    families: Mapping[str, Family],
    services: Mapping[str, ModelService],
    settings: Settings,
    instruments: Instruments,
    shapes: Mapping[str, Shape] = SHAPES,
) -> None:
    for name, shape in shapes.items():
        if name in services:
            route = _Route(shape, families[name], services[name], settings.limits, instruments)
            app.add_api_route(
                f"/v1/{name}",
                route.answer,
                methods=["POST"],
                name=name,
                summary=families[name].title[0],
                description=shape.story,
                responses=_responses(shape),
                openapi_extra=_request_body(shape),
            )


class _Route:
    def __init__(
        self,
        shape: Shape,
        family: Family,
        service: ModelService,
        limits: Limits,
        instruments: Instruments,
    ) -> None:
        self._shape = shape
        self._family = family
        self._service = service
        self._limits = limits
        self._instruments = instruments

    async def answer(self, request: Request) -> Response:
        tally = Tally(self._service.name, self._instruments)
        try:
            self._service.admit()
            question = await self._question(request)
            tally.facts["items"] = len(question.items)
            ask = self._ask(request, question)
            if question.part is not None:
                return await self._stream(question, ask, tally)
            answer = await unless_left(request, self._service.predict(question.items, ask))
        except CallerLeft:
            tally.end("CallerLeft")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            tally.end(outcome_of(error))
            raise
        tally.answered(answer)
        if question.file is not None:
            data, kind = await asyncio.to_thread(question.file, answer)
            return Response(data, 200, _headers(answer), media_type=kind)
        return json_response(question.write(answer), 200, **_headers(answer))

    async def _stream(self, question: Question, ask: Ask, tally: Tally) -> Response:
        """Server-sent events. What fails before the first is still a plain error."""
        parts = self._service.stream(question.items[0], ask)
        first = await anext(parts)
        rest = events(question, first, parts, tally)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(rest, media_type="text/event-stream", headers=headers)

    async def _question(self, request: Request) -> Question:
        """What is asked; a portal's is answered exactly, and its pictures come as base64."""
        if isinstance(self._shape, Exact) and is_wanted(request.headers.get("accept", "")):
            sent = await read_sent(request, self._limits.body_bytes * 4 // 3)
            return exactly(await self._read(sent), self._shape)
        return await self._read(await read_sent(request, self._limits.body_bytes))

    async def _read(self, sent: Sent) -> Question:
        status = await self._service.status()
        if not status.model:
            raise Unavailable(status.reason or f"No {self._service.name} model is loaded yet.")
        terms = Terms(self._limits, self._family, status.model)
        if self._shape.is_heavy(sent):
            return await asyncio.to_thread(self._shape.read, sent, terms)
        return self._shape.read(sent, terms)

    def _ask(self, request: Request, question: Question) -> Ask:
        timeout = question.timeout or _header_timeout(request) or self._limits.deadline_seconds
        return Ask(
            principal=request.state.principal,
            deadline=time.monotonic() + min(timeout, self._limits.longest_deadline_seconds),
            trace=request.headers.get("traceparent", ""),
            request_id=request.state.request_id,
        )


def _header_timeout(request: Request) -> float | None:
    given = request.headers.get("x-timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInput("x-timeout must be a number of seconds above 0.", field="x-timeout")
    return seconds


def _headers(answer: Answer) -> dict[str, str]:
    return {
        "x-model": answer.model,
        "x-model-revision": str(answer.revision),
        "server-timing": f"queue;dur={answer.queued * 1e3:.1f}, run;dur={answer.ran * 1e3:.1f}",
        **({"x-pod": answer.pod} if answer.pod else {}),
    }


def _request_body(shape: Shape) -> dict[str, Any]:
    schema = {"schema": shape.request.model_json_schema()}
    kinds = ["application/json", *(["multipart/form-data"] if shape.takes_forms else [])]
    return {"requestBody": {"required": True, "content": dict.fromkeys(kinds, schema)}}


def _responses(shape: Shape) -> dict[int | str, dict[str, Any]]:
    said = {
        422: "Something in the request is wrong; the sentence names the field.",
        429: "Busy: Retry-After says when to come back.",
        503: "The model cannot serve now.",
        504: "Not done in the time that was asked for.",
    }
    good: dict[str, Any] = (
        {"model": shape.response}
        if shape.response
        else {"description": "The picture.", "content": {"image/png": {}}}
    )
    return {200: good, **{s: {"description": t} for s, t in said.items()}}
