"""
The routes of the dialects that ask no model: lookups, and readings of what was sent.

Neither waits in a queue, so neither is refused while one is full.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backends.errors import BadInput, Overloaded, TooLarge
from backends.families import Family
from backends.routes.answers import json_response
from backends.routes.body import CLIENT_CLOSED_REQUEST, CallerLeft, read_query, read_sent
from backends.routes.described import GATED, Answers, errors, schema_of
from backends.routes.dialects.dialect import Facts, Lookup, Reading
from backends.routes.tally import Tally, outcome_of
from backends.serving import ModelService
from backends.settings import Settings
from backends.telemetry import Instruments


@dataclass(frozen=True, slots=True)
class FactsOf:
    """Where the facts of one family come from; called for each request."""

    app: FastAPI
    family: Family
    service: ModelService
    settings: Settings

    async def __call__(self, query: Mapping[str, str]) -> Facts:
        status = await self.service.status()
        return Facts(status, self.family, self.settings, self.app.version, query)


def add_lookup(app: FastAPI, lookup: Lookup, facts: FactsOf) -> None:
    async def tell(request: Request) -> Response:
        request.state.wording = lookup.wording
        try:
            query = await read_query(request)
        except CallerLeft:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return json_response(lookup.tell(await facts(query)))

    tags = [facts.family.name]
    app.add_api_route(
        lookup.path,
        tell,
        methods=["GET"],
        tags=[*tags],
        summary=lookup.title,
        responses=errors(*GATED, BadInput, TooLarge, wording=lookup.wording),
    )


def add_reading(app: FastAPI, reading: Reading, facts: FactsOf, instruments: Instruments) -> None:
    async def tell(request: Request) -> Response:
        request.state.wording = reading.wording
        tally = Tally(facts.service.name, instruments, request)
        try:
            sent = await read_sent(request, facts.settings.limits.body_bytes)
            value = await asyncio.to_thread(reading.tell, sent, await facts({}))
        except CallerLeft:
            tally.end("CallerLeft")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            tally.end(outcome_of(error))
            raise
        tally.end("ok")
        return json_response(value)

    schema = {"schema": schema_of(reading.request)}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    told: Answers = errors(*GATED, BadInput, TooLarge, Overloaded, wording=reading.wording)
    app.add_api_route(
        reading.path,
        tell,
        methods=["POST"],
        tags=[facts.family.name],
        summary=reading.title,
        responses={200: {"model": reading.response}, **told},
        openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(kinds, schema)}},
    )
