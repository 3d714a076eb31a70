"""
What /docs and /openapi.json say of answers: every status that a route may give, with its body.

Only words about routes; what they are about is written where it happens. A test asks every route
with thousands of inputs and compares.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from backends.errors import (
    BadInput,
    Conflict,
    Denied,
    NotFound,
    Overloaded,
    QuartetError,
    SignInNeeded,
    TimedOut,
    TooLarge,
    Unavailable,
)
from backends.routes.answers import PLAIN, Wording

Answers = dict[int | str, dict[str, Any]]


class ErrorAnswer(BaseModel):
    """How every error is told."""

    error: str = Field(description="One sentence that says what to do.")
    error_type: str = Field(description="The kind of error, such as BadInput.")
    request_id: str = Field(description="Under which the log knows more.")
    message: str | None = Field(None, description="The sentence again, where clients look for it.")
    detail: str | None = Field(None, description="The sentence again, where clients look for it.")


_SAID: Mapping[type[QuartetError], str] = {
    BadInput: "Something in the request is wrong; the sentence names the field.",
    TooLarge: "The body is too large.",
    SignInNeeded: "An API key or a sign-in is needed and missing, or it is wrong.",
    Denied: "The API key lacks a scope, or the account a role.",
    NotFound: "There is no such thing, or it is somebody else's.",
    Conflict: "A true request at the wrong moment.",
    Overloaded: "Busy: Retry-After says when to come back.",
    Unavailable: "It cannot be served now.",
    TimedOut: "Not done in the time that was asked for.",
}

GATED = (SignInNeeded, Denied)
"""What the gate may answer for any route for programs (`backends.routes.gate`)."""

ASKING = (*GATED, BadInput, TooLarge, Overloaded, Unavailable, TimedOut)
"""What may become of a request that asks a model."""

TIMEOUT = {
    "name": "x-timeout",
    "in": "header",
    "description": "Seconds the answer may take, where the body does not say.",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}


def errors(*kinds: type[QuartetError], wording: Wording = PLAIN) -> Answers:
    """The answers of a route that may fail in these ways. The first of a status describes it."""
    told: Answers = {}
    for kind in kinds:
        answer: dict[str, Any] = {"model": ErrorAnswer, "description": _SAID[kind]}
        if kind is Overloaded:
            whole = {"type": "integer", "minimum": 1}
            answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": whole}}
        told.setdefault(wording.status_of(kind), answer)
    return told


def file(media_type: str, description: str) -> dict[str, Any]:
    """An answer that is no JSON."""
    return {"description": description, "content": {media_type: {}}}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema with what it refers to written out: a reference would be to this page."""
    schema = model.model_json_schema()
    known = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return whole(known[node["$ref"].rpartition("/")[2]])
        return {name: whole(each) for name, each in node.items()}

    written: dict[str, Any] = whole(schema)
    return written


def tell_only_our_errors(app: FastAPI) -> None:
    """FastAPI's own answer to a bad input is never given: our routes read for themselves."""
    made: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        described = made()
        for path in described.get("paths", {}).values():
            for operation in path.values():
                answers = operation.get("responses", {})
                if "HTTPValidationError" in str(answers.get("422")):
                    del answers["422"]
        for name in ("HTTPValidationError", "ValidationError"):
            described.get("components", {}).get("schemas", {}).pop(name, None)
        return described

    app.openapi = openapi  # type: ignore[method-assign]
