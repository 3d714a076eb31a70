"""Probes, metrics, and the routes that only the cluster may call."""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backends.engines import headroom
from backends.errors import ModelLoadError, NotFound, SignInNeeded
from backends.routes.answers import json_response
from backends.routes.body import read_body
from backends.routes.lifecycle import Lifecycle
from backends.serving import ModelService
from backends.serving.record import ModelRecord, Records
from backends.serving.watchdog import Watchdog
from backends.serving.wire.text import read_object, validated
from backends.settings import Settings
from backends.telemetry import Instruments


class SwapRequest(BaseModel):
    """Which model to run; a revision that is not newer changes nothing."""

    model_config = ConfigDict(strict=True, extra="forbid")

    service: str
    revision: int = Field(ge=1)
    model: str


class StopRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    service: str
    why: str = Field(max_length=500)


def add_health_routes(
    app: FastAPI,
    services: Mapping[str, ModelService],
    instruments: Instruments,
    lifecycle: Lifecycle,
    watchdog: Watchdog,
) -> None:
    async def alive(word: str) -> Response:
        reason = watchdog.reason([await service.status() for service in services.values()])
        if reason:
            return json_response({"status": "stuck", "reason": reason}, 503)
        return json_response({"status": word})

    replace: dict[int | str, dict[str, Any]] = {
        503: {
            "description": "Replace this process; the reason says why.",
            "content": {"application/json": {}},
        }
    }

    @app.get("/healthz", tags=["probes"], responses=replace)
    async def healthz() -> Response:
        """The process answers, and no batch hangs. Says nothing about models."""
        return await alive("ok")

    @app.get("/health", tags=["probes"], responses=replace)
    async def health() -> Response:
        """The same, in the words that some clients expect."""
        return await alive("healthy")

    @app.get(
        "/readyz",
        tags=["probes"],
        responses={503: {"description": "Not ready.", "content": {"application/json": {}}}},
    )
    async def readyz() -> Response:
        """
        200 when every service of this process can answer; else 503. Each says how it is, those
        too that this process only asks: with their pods gone the others must stay reachable.
        """
        each = await asyncio.gather(*(service.status() for service in services.values()))
        states = dict(zip(services, each, strict=True))
        own = [status for status in each if not status.pods]
        ready = not lifecycle.is_draining and all(status.is_ready for status in own)
        value = {
            "ready": ready,
            "services": {name: asdict(s) for name, s in states.items()},
            "memory_free_bytes": await asyncio.to_thread(headroom.free),
        }
        return json_response(value, 200 if ready else 503)

    @app.get("/metrics", tags=["probes"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus exposition."""
        for device, size in (await asyncio.to_thread(headroom.free)).items():
            instruments.memory_free.labels(device).set(size)
        return Response(instruments.text(), media_type=CONTENT_TYPE_LATEST)


def add_internal_routes(
    app: FastAPI,
    services: Mapping[str, ModelService],
    records: Records,
    settings: Settings,
    lifecycle: Lifecycle,
) -> None:
    """Bearer `QUARTET_INTERNAL__TOKEN`; unset means 401 for everyone."""
    token = settings.internal.token.get_secret_value()

    def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), token.encode())
        if not (token and scheme.lower() == "bearer" and same):
            raise SignInNeeded("Send the internal token: Authorization: Bearer …")

    @app.post("/internal/swap", include_in_schema=False)
    async def swap(request: Request) -> Response:
        """Load beside, prove, exchange; answered when it serves, with an error if it cannot."""
        check(request)
        asked = validated(SwapRequest, read_object(await read_body(request, 10_000)))
        service = _service(services, asked.service)
        record = ModelRecord(asked.revision, asked.model, by="internal")
        try:
            await service.swap(record)
        except ModelLoadError as error:  # only the cluster asks here: it hears all of it
            told = f"{error.text} {error.detail}".strip()
            raise ModelLoadError(told, zh=error.zh, detail=error.detail) from error
        _keep(records, asked.service, record)
        return json_response(asdict(await service.status()))

    @app.post("/internal/stop", include_in_schema=False)
    async def stop(request: Request) -> Response:
        """End a download; the swap that waits for it is answered with `why`."""
        check(request)
        asked = validated(StopRequest, read_object(await read_body(request, 10_000)))
        service = _service(services, asked.service)
        await service.stop_loading(asked.why)
        return json_response(asdict(await service.status()))

    @app.post("/internal/drain", include_in_schema=False)
    async def drain(request: Request) -> Response:
        """Refuse new work, finish what was accepted, leave with exit status 0."""
        check(request)
        lifecycle.leave()
        return json_response({"status": "draining"}, 202)


def _service(services: Mapping[str, ModelService], name: str) -> ModelService:
    if name not in services:
        raise NotFound(
            f"No service called {name[:80]!r} runs here; there is {', '.join(services)}."
        )
    return services[name]


def _keep(records: Records, service: str, record: ModelRecord) -> None:
    """So that a restart comes back with this model; a newer record stays."""
    now = records.read(service)
    if now is None or now.revision < record.revision:
        records.write(service, record, seen=now.revision if now else 0)
