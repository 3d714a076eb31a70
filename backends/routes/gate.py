"""
Before every route for programs: whose API key it is, whether they may, and how often.

Plain ASGI, and before a byte of the body is read. One dialect sends its key in the body: there the
same is asked as soon as the body is there (`backends.routes.body`). What is refused here is told in
the words of its route, counted and logged. What asks a model counts towards limits (POST); looking
things up does not. `/internal` has a token of its own, and pages have their guard.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.errors import QuartetError
from backends.identity import Access, Caller, Principal, Room, refusal
from backends.routes.answers import PLAIN, Wording, error_response
from backends.routes.dialects import DIALECTS, LOOKUPS, READINGS
from backends.routes.dialects.dialect import Lookup, Reading
from backends.routes.paths import below_root
from backends.telemetry import Instruments

log = logging.getLogger(__name__)

JOB_TOKEN = "qj_"  # a job's, and never an API key
RATE_HEADERS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
_BARE = "qk_"
_OTHERS = ("/v1/", "/v2/")  # what else may ask whose a key is, such as /v1/admin
_JOBS = "/v1/fusion/jobs"


@dataclass(frozen=True, slots=True)
class Place:
    """What a path asks: which family, how its errors are told, where its clients send a key."""

    family: str
    wording: Wording = PLAIN
    key_field: str = ""


class Visit:
    """One request at a place. `room` is what its caller has left, once that is known."""

    def __init__(
        self, access: Access, place: Place, caller: Caller, state: dict[str, Any], counts: bool
    ) -> None:
        self._access = access
        self._place = place
        self._caller = caller
        self._state = state
        self._counts = counts
        self._is_late = False
        self.room: Room | None = None

    def enter(self) -> None:
        """Raises what the caller lacks: a key, a scope, or patience."""
        self._access.check(self._caller, self._place.family)
        if self._counts:
            self.room = self._access.spend(self._caller)
            if self.room is not None and self.room.is_refused:
                raise refusal(self._caller, self.room)

    def wait_for_body(self) -> bool:
        """Whether a key may still come, in the body."""
        may_come = bool(self._place.key_field) and self._caller.key is None
        self._is_late = may_come and bool(self._access.keys.all())
        return self._is_late

    async def read(self, fields: Mapping[str, Any]) -> None:
        """The body is there: enter now, with the key in it or without."""
        if not self._is_late:
            return
        self._is_late = False
        given = fields.get(self._place.key_field)
        given = given[0] if isinstance(given, list) and given else given
        principal, address = self._caller.principal, self._caller.address
        secret = given if isinstance(given, str) else ""
        self._caller = await self._access.caller(principal, address, secret.strip())
        self._state["principal"] = self._caller.principal
        self.enter()


class Gate:
    """ASGI middleware, inside of what writes headers for other sites' pages."""

    def __init__(
        self, app: ASGIApp, access: Access, families: Iterable[str], instruments: Instruments
    ) -> None:
        self._app = app
        self._access = access
        self._places = places(families)
        self._instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = below_root(scope) if scope["type"] == "http" else ""
        place = self._place(path)
        if place is None and not path.startswith(_OTHERS):
            await self._app(scope, receive, send)
            return
        state = scope["state"]

        async def told(message: Message) -> None:
            visit: Visit | None = state.get("visit")
            if message["type"] == "http.response.start" and visit and visit.room:
                _tell(MutableHeaders(scope=message), visit.room)
            await send(message)

        try:
            await self._enter(scope, place)
        except QuartetError as error:
            wording = place.wording if place else PLAIN
            self._refused(error, place, state["principal"])
            await error_response(error, state["request_id"], wording)(scope, receive, told)
            return
        await self._app(scope, receive, told)

    async def _enter(self, scope: Scope, place: Place | None) -> None:
        state = scope["state"]
        address = scope["client"][0] if scope.get("client") else ""
        secret = key_of(Headers(scope=scope))
        caller = await self._access.caller(state["principal"], address, secret)
        state["principal"] = caller.principal
        if place is None:
            return
        state["wording"] = place.wording
        visit = Visit(self._access, place, caller, state, counts=scope["method"] == "POST")
        state["visit"] = visit
        if not visit.wait_for_body():
            visit.enter()

    def _place(self, path: str) -> Place | None:
        if path == _JOBS or path.startswith(f"{_JOBS}/"):
            path = _JOBS
        return self._places.get(path)

    def _refused(self, error: QuartetError, place: Place | None, who: Principal) -> None:
        facts = {"outcome": type(error).__name__, "user": who.subject, "tenant": who.tenant}
        if place is not None:
            facts["service"] = place.family
            self._instruments.requests.labels(place.family, facts["outcome"]).inc()
        log.info("refused", extra=facts)


def places(families: Iterable[str]) -> dict[str, Place]:
    """Every path that these families are asked by."""
    found: dict[str, Place] = {}
    for family in families:
        for dialect in DIALECTS.get(family, ()):
            place = Place(family, dialect.wording, dialect.key_field)
            found |= dict.fromkeys(dialect.paths, place)
        asked: tuple[Reading | Lookup, ...] = (*READINGS.get(family, ()), *LOOKUPS.get(family, ()))
        for each in asked:
            found[each.path] = Place(family, each.wording, each.key_field)
        if family == "fusion":
            found |= dict.fromkeys((_JOBS, "/v1/fusion/faces"), Place(family))
    return found


def key_of(headers: Headers) -> str:
    """
    The API key that these headers carry, or "". What a proxy asks a browser for (Basic) is no key,
    and neither is the token of a job.
    """
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() in ("bearer", "deepl-auth-key"):
        given = rest.strip()
        if given[:7].lower() == "bearer ":  # some write the scheme into the key's own field
            given = given[7:].strip()
    else:
        given = scheme if scheme.startswith(_BARE) else ""
    if not given or given.startswith(JOB_TOKEN):
        given = headers.get("x-api-key", "").strip()
    return "" if given.startswith(JOB_TOKEN) else given


def _tell(headers: MutableHeaders, room: Room) -> None:
    numbers = (room.limit, room.remaining, math.ceil(room.seconds))
    for name, number in zip(RATE_HEADERS, numbers, strict=True):
        headers[name] = str(number)
