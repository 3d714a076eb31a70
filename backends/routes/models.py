"""
`/v1/<family>`: one route for each family that is served here.

Admission before the body is read; then principal, deadline, items, answer. One log line and one
count for each request, whatever became of it.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backends.errors import BadInput, QuartetError
from backends.families import Family
from backends.identity import Ask
from backends.routes.answers import json_response
from backends.routes.body import CallerLeft, read_body, unless_left
from backends.serving import Answer, ModelService
from backends.serving.wire import SHAPES, Shape
from backends.serving.wire.question import Question, Terms
from backends.settings import Limits, Settings
from backends.telemetry import Instruments

log = logging.getLogger(__name__)

LARGE = 256_000  # bytes of a body that is parsed in a thread, so that probes and streams go on
CLIENT_CLOSED_REQUEST = 499


def add_model_routes(
    app: FastAPI,
    families: Mapping[str, Family],
    services: Mapping[str, ModelService],
    settings: Settings,
    instruments: Instruments,
) -> None:
    for name, shape in SHAPES.items():
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
        facts: dict[str, Any] = {}
        with self._counted(facts):
            try:
                self._service.admit()
                body = await read_body(request, self._limits.body_bytes)
                question = await self._read(body)
                facts["items"] = len(question.items)
                ask = self._ask(request, question)
                answer = await unless_left(request, self._service.predict(question.items, ask))
            except CallerLeft:
                facts["outcome"] = "CallerLeft"
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            facts |= {"model": answer.model, "revision": answer.revision}
            facts |= {"queued": round(answer.queued, 4), "ran": round(answer.ran, 4)}
            return json_response(question.write(answer), 200, **_headers(answer))

    async def _read(self, body: bytes) -> Question:
        status = await self._service.status()
        terms = Terms(self._limits, self._family, status.model)
        if len(body) > LARGE:
            return await asyncio.to_thread(self._shape.read, body, terms)
        return self._shape.read(body, terms)

    def _ask(self, request: Request, question: Question) -> Ask:
        timeout = question.timeout or _header_timeout(request) or self._limits.deadline_seconds
        return Ask(
            principal=request.state.principal,
            deadline=time.monotonic() + min(timeout, self._limits.longest_deadline_seconds),
            trace=request.headers.get("traceparent", ""),
            request_id=request.state.request_id,
        )

    @contextmanager
    def _counted(self, facts: dict[str, Any]) -> Iterator[None]:
        name = self._service.name
        began = time.perf_counter()
        facts |= {"service": name, "outcome": "ok"}
        try:
            yield
        except Exception as error:
            known = isinstance(error, QuartetError)
            facts["outcome"] = type(error).__name__ if known else "InternalError"
            raise
        finally:
            seconds = time.perf_counter() - began
            self._instruments.requests.labels(name, facts["outcome"]).inc()
            self._instruments.request_seconds.labels(name).observe(seconds)
            event = "answered" if facts["outcome"] == "ok" else "refused"
            log.info(event, extra={**facts, "seconds": round(seconds, 4)})


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
    }


def _request_body(shape: Shape) -> dict[str, Any]:
    schema = shape.request.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _responses(shape: Shape) -> dict[int | str, dict[str, Any]]:
    said = {
        422: "Something in the request is wrong; the sentence names the field.",
        429: "Busy: Retry-After says when to come back.",
        503: "The model cannot serve now.",
        504: "Not done in the time that was asked for.",
    }
    return {200: {"model": shape.response}, **{s: {"description": t} for s, t in said.items()}}
