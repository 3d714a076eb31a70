"""
Errors as JSON, in one shape for every route: {"error", "error_type", "request_id"}; a portal
that asks hears more.

A QuartetError's text is for the caller; anything else is a bug, whose text stays in the log.
A route for other programs' clients names its `Wording` in `request.state.wording`: more fields
that hold the sentence, other statuses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

import orjson
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from backends.errors import BadInput, QuartetError
from backends.serving.wire.exact import exact_error, is_wanted

PREFIXES = ("/v1/", "/v2/", "/internal/")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
SORRY = "Something went wrong on our side; the log knows more under this request id."


def json_response(value: object, status: int = 200, **headers: str) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


class Served(Protocol):
    """Who answered: an answer says so, and so does a job that is done."""

    @property
    def model(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def pod(self) -> str: ...


def served_headers(served: Served) -> dict[str, str]:
    """`x-pod` only where another process answered."""
    told = {"x-model": served.model, "x-model-revision": str(served.revision)}
    return told | ({"x-pod": served.pod} if served.pod else {})


@dataclass(frozen=True, slots=True)
class Wording:
    """
    How a route tells an error: `also` are fields that repeat the sentence, because a client
    looks for it there; `statuses` are told instead of a class's own. The nearest class counts.
    """

    also: tuple[str, ...] = ()
    statuses: Mapping[type[QuartetError], int] = field(default_factory=dict)

    def status_of(self, kind: type[Exception]) -> int:
        if not issubclass(kind, QuartetError):
            return 500
        told = (self.statuses[base] for base in kind.__mro__ if base in self.statuses)
        return next(told, kind.status)


PLAIN = Wording()


def error_response(
    error: Exception, request_id: str, wording: Wording = PLAIN, to_portal: bool = False
) -> Response:
    status = wording.status_of(type(error))
    headers = {}
    if isinstance(error, QuartetError) and error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_response(error_body(error, request_id, wording, to_portal), status, **headers)


def error_body(
    error: Exception, request_id: str, wording: Wording = PLAIN, to_portal: bool = False
) -> dict[str, str]:
    known = isinstance(error, QuartetError)
    sentence = error.text if isinstance(error, QuartetError) else SORRY
    if isinstance(error, BadInput):
        sentence = error.for_programs()
    return {
        "error": sentence,
        "error_type": type(error).__name__ if known else "InternalError",
        "request_id": request_id,
        **dict.fromkeys(wording.also, sentence),
        **(exact_error(error) if to_portal and isinstance(error, QuartetError) else {}),
    }


def on_purpose(error: Exception) -> bool:
    """Is it on purpose, so that no trace belongs into the log?"""
    return isinstance(error, QuartetError)


def add_error_answers(app: FastAPI) -> None:
    """Every error of our own routes in our shape, unknown paths and methods too."""

    async def known(request: Request, error: Exception) -> Response:
        to_portal = is_wanted(request.headers.get("accept", ""))
        wording = PLAIN if to_portal else getattr(request.state, "wording", PLAIN)
        return error_response(error, request.state.request_id, wording, to_portal)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        told = "no such route" if error.status_code == 404 else phrase.lower()
        body = {
            "error": f"{request.method} {request.url.path}: {told}; /docs lists them all.",
            "error_type": phrase.title().replace(" ", ""),
            "request_id": request.state.request_id,
        }
        return json_response(body, error.status_code, **dict(error.headers or {}))

    app.add_exception_handler(QuartetError, known)
    app.add_exception_handler(HTTPException, unknown)


def add_unknown_routes(app: FastAPI) -> None:
    """
    Nothing of ours is the page's, which takes every path that is left: below our prefixes what
    no route took is 404, and a path of ours with another method is 405 with Allow.
    """
    ours = list(app.router.routes)

    async def nowhere(request: Request) -> Response:
        allowed: set[str] = set()
        for route in ours:
            match, _ = route.matches(request.scope)
            if match is Match.PARTIAL:
                allowed |= getattr(route, "methods", None) or set()
        if allowed:
            raise HTTPException(405, headers={"allow": ", ".join(sorted(allowed))})
        raise HTTPException(404)

    alone = {r.path for r in ours if isinstance(r, APIRoute) and not r.path.startswith(PREFIXES)}
    for path in (*(f"{prefix}{{path:path}}" for prefix in PREFIXES), *sorted(alone)):
        app.add_route(path, nowhere, methods=METHODS, include_in_schema=False)
