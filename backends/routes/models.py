"""
The routes that ask a model: `/v1/<family>` of each family that is served here, and its dialects.

Admission before the body is read; then principal, deadline, items, answer. One log line and one
count for each request, whatever became of it. Every dialect goes this one way.
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
from backends.routes.answers import json_response, served_headers
from backends.routes.body import CLIENT_CLOSED_REQUEST, CallerLeft, read_sent, unless_left
from backends.routes.described import ASKING, TIMEOUT, Answers, errors, file, schema_of
from backends.routes.dialects import DIALECTS, LOOKUPS, READINGS
from backends.routes.dialects.dialect import Dialect
from backends.routes.facts import FactsOf, add_lookup, add_reading
from backends.routes.tally import Tally, events, outcome_of, value_of
from backends.serving import Answer, ModelService
from backends.serving.wire import Shape
from backends.serving.wire.exact import Heard, exactly, is_wanted, widened
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent
from backends.settings import Limits, Settings
from backends.telemetry import Instruments


def add_model_routes(
    app: FastAPI,
    families: Mapping[str, Family],
    services: Mapping[str, ModelService],
    settings: Settings,
    instruments: Instruments,
    dialects: Mapping[str, tuple[Dialect, ...]] = DIALECTS,
) -> None:
    for name, service in services.items():
        for dialect in dialects.get(name, ()):
            route = _Route(dialect, families[name], service, settings, instruments)
            _add(app, name, dialect, route)
        facts = FactsOf(app, families[name], service, settings)
        for reading in READINGS.get(name, ()):
            add_reading(app, reading, facts, instruments)
        for lookup in LOOKUPS.get(name, ()):
            add_lookup(app, lookup, facts)


def _add(app: FastAPI, name: str, dialect: Dialect, route: "_Route") -> None:
    for path in dialect.paths:
        app.add_api_route(
            path,
            route.answer,
            methods=["POST"],
            tags=[name],
            summary=dialect.title,
            description=dialect.shape.story,
            responses=_responses(dialect),
            openapi_extra=_request_body(dialect.shape),
        )


class _Route:
    def __init__(
        self,
        dialect: Dialect,
        family: Family,
        service: ModelService,
        settings: Settings,
        instruments: Instruments,
    ) -> None:
        self._wording = dialect.wording
        self._shape = dialect.shape
        self._family = family
        self._service = service
        self._limits = settings.limits
        self._aliases = settings.server.aliases
        self._provider = settings.translate.provider
        self._instruments = instruments

    async def answer(self, request: Request) -> Response:
        request.state.wording = self._wording
        tally = Tally(self._service.name, self._instruments, request)
        try:
            self._service.admit()
            question = await self._question(request)
            tally.facts["items"] = len(question.items)
            ask = self._ask(request, question)
            if question.part is not None:
                return await self._stream(question, ask, tally)
            answer = await unless_left(request, self._predict(question, ask))
            response = await _written(question, answer)
        except CallerLeft:
            tally.end("CallerLeft")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            tally.end(outcome_of(error))
            raise
        tally.answered(answer)
        return response

    async def _predict(self, question: Question, ask: Ask) -> Answer:
        try:
            return await self._service.predict(question.items, ask)
        except BadInput as error:
            error.field = question.names.get(error.field, error.field)
            raise

    async def _stream(self, question: Question, ask: Ask, tally: Tally) -> Response:
        """Server-sent events. What fails before the first is still a plain error."""
        parts = self._service.stream(question.items[0], ask)
        first = await anext(parts)
        rest = events(question, first, parts, tally)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(rest, media_type="text/event-stream", headers=headers)

    async def _question(self, request: Request) -> Question:
        """What is asked; a portal's is answered exactly, and its pictures come as base64."""
        limits = self._limits
        if isinstance(self._shape, Heard) and is_wanted(request.headers.get("accept", "")):
            limits = widened(limits)
            sent = await read_sent(request, limits.body_bytes)
            return exactly(await self._read(sent, limits), self._shape)
        return await self._read(await read_sent(request, limits.body_bytes), limits)

    async def _read(self, sent: Sent, limits: Limits) -> Question:
        status = await self._service.status()
        if not status.model:
            loading = f"The {self._service.name} model is still loading."
            raise Unavailable(status.reason or loading, zh=status.reason_zh, retry_after=1)
        terms = Terms(limits, self._family, status.model, self._aliases, self._provider)
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


async def _written(question: Question, answer: Answer) -> Response:
    if question.file is None:
        return json_response(await value_of(question, answer), 200, **_headers(answer))
    data, kind = await asyncio.to_thread(question.file, answer)
    return Response(data, 200, _headers(answer), media_type=kind)


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
    timing = f"queue;dur={answer.queued * 1e3:.1f}, run;dur={answer.ran * 1e3:.1f}"
    return {**served_headers(answer), "server-timing": timing}


def _request_body(shape: Shape) -> dict[str, Any]:
    schema = {"schema": schema_of(shape.request)}
    kinds = ["application/json", *(["multipart/form-data"] if shape.takes_forms else [])]
    content = dict.fromkeys(kinds, schema)
    return {"parameters": [TIMEOUT], "requestBody": {"required": True, "content": content}}


def _responses(dialect: Dialect) -> Answers:
    shape = dialect.shape
    good: dict[str, Any] = (
        {"model": shape.response} if shape.response else file("image/png", "The picture.")
    )
    if "stream" in shape.request.model_fields:
        good = {**good, "content": {**good.get("content", {}), "text/event-stream": {}}}
    return {200: good, **errors(*ASKING, wording=dialect.wording)}
