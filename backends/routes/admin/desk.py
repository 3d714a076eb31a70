"""What every route of `/v1/admin` does first, and how it reads and answers."""

from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from backends.errors import BadInput, Denied, SignInNeeded
from backends.identity import Principal, Role
from backends.identity.keys import METHOD
from backends.routes.answers import json_response
from backends.routes.body import read_body
from backends.routes.same_site import refuse_other_sites
from backends.serving.wire.text import read_object, validated

M = TypeVar("M", bound=BaseModel)

_LARGEST = 20_000  # bytes of a body here
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def allow(request: Request, role: Role) -> Principal:
    """
    The caller, who has the role; else SignInNeeded or Denied. First line of every handler.
    A change that a cookie vouches for, and no key, must come from our own page.
    """
    who: Principal = request.state.principal
    if not who.method:
        raise SignInNeeded("Sign in to Admin, or send a key that may do this.")
    if not who.may(role):
        raise Denied(f"{who.subject} lacks the role {role.value}, which this needs.")
    if request.method in _CHANGES and who.method != METHOD:  # a key is nothing a browser sends
        refuse_other_sites(request)
    return who


async def read(request: Request, model: type[M]) -> M:
    """The body, which is one JSON object."""
    return validated(model, read_object(await read_body(request, _LARGEST)))


def number(request: Request, name: str, default: int, most: int) -> int:
    """A whole number of the query, 1 to `most`."""
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= most):
        raise BadInput(f"{name} must be a whole number from 1 to {most}.", field=name)
    return int(given)


def answer(value: BaseModel, status: int = 200) -> Response:
    return json_response(value.model_dump(), status, **{"cache-control": "no-store"})
