"""
`/v1/admin`: all that the Admin page shows and does, for programs.

Signed in by the page's cookie, or by a key with an admin scope. The first line of every handler
asks for the role; what a change does lies in `ops`, once for the page and for this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from backends.errors import BadInput, Conflict, NotFound, Overloaded, TooLarge, Unavailable
from backends.portal import Portal
from backends.routes.admin import shapes
from backends.routes.admin.chronicle import Chronicle
from backends.routes.admin.fleet import Fleet
from backends.routes.admin.jobs import EveryonesJobs
from backends.routes.admin.people import People
from backends.routes.described import GATED, Answers, errors, file, schema_of


@dataclass(frozen=True, slots=True)
class Route:
    """
    `gives` is the answer's shape, None where it has none; `takes` the body's; `asks` says what
    the whole numbers of the query mean; `file` is the kind of an answer that is no JSON.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    gives: type[BaseModel] | None = None
    takes: type[BaseModel] | None = None
    status: int = 200
    asks: tuple[tuple[str, str], ...] = ()
    file: str = ""


def add_admin_routes(app: FastAPI, portal: Portal) -> None:
    for route in _routes(portal):
        app.add_api_route(
            f"/v1/admin/{route.path}",
            route.handler,
            methods=[route.method],
            tags=["admin"],
            status_code=route.status,
            responses=_responses(route),
            openapi_extra=_body(route) | _query(route),
        )


def _routes(portal: Portal) -> list[Route]:
    fleet, chronicle, people = Fleet(portal), Chronicle(portal), People(portal)
    one = "services/{service}"
    routes = [
        Route("GET", "services", fleet.services, shapes.Services),
        Route("GET", "models", fleet.models, shapes.Models),
        Route("POST", f"{one}/plan", fleet.plan, shapes.Plan, shapes.PlanRequest),
        Route("POST", f"{one}/swap", fleet.swap, shapes.Receipt, shapes.SwapRequest),
        Route("POST", f"{one}/undo", fleet.undo, shapes.Receipt, shapes.UndoRequest),
        Route("POST", f"{one}/stop", fleet.stop, shapes.Stopped),
        Route("GET", "figures/{name}", fleet.figures, shapes.Curves, asks=_MINUTES),
        Route("GET", "audit", chronicle.lines, shapes.Lines, asks=_PAGE),
        Route("GET", "audit.jsonl", chronicle.download, file="application/jsonl"),
        Route("GET", "audit/verify", chronicle.verify, shapes.Chain),
        Route("GET", "accounts", people.accounts, shapes.Accounts),
        Route("POST", "accounts", people.add_account, shapes.Account, shapes.AccountRequest, 201),
        Route("DELETE", "accounts/{name}", people.remove_account, status=204),
        Route("GET", "keys", people.keys, shapes.Keys),
        Route("POST", "keys", people.make_key, shapes.MadeKey, shapes.KeyRequest, 201),
        Route("DELETE", "keys/{id}", people.revoke_key, shapes.Key),
    ]
    if portal.oversight is not None:
        jobs = EveryonesJobs(portal.oversight)
        routes += [
            Route("GET", "jobs", jobs.jobs, shapes.Jobs),
            Route("POST", "jobs/{job}/cancel", jobs.cancel, shapes.Job),
            Route("DELETE", "jobs/{job}", jobs.delete, status=204),
        ]
    return routes


_MINUTES = (("minutes", "How far back, at most 60; 15 by default."),)
_PAGE = (
    ("limit", "Lines of a page, at most 1000; 100 by default."),
    ("before", "Only lines before this number: the `next` of the page before."),
)
_MAY_FAIL = (*GATED, BadInput, TooLarge, NotFound, Conflict, Overloaded, Unavailable)


def _responses(route: Route) -> Answers:
    good: dict[str, Any] = {"model": route.gives} if route.gives else {"description": "Done."}
    if route.file:
        good = file(route.file, "The file.")
    return {route.status: good, **errors(*_MAY_FAIL)}


def _body(route: Route) -> dict[str, Any]:
    if route.takes is None:
        return {}
    schema = {"schema": schema_of(route.takes)}
    return {"requestBody": {"required": True, "content": {"application/json": schema}}}


def _query(route: Route) -> dict[str, Any]:
    whole = {"type": "integer", "minimum": 1}
    return {
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": whole}
            for name, text in route.asks
        ]
    }
