"""
The outermost layer of every request: its id, its principal, its headers, and what a bug answers.

Plain ASGI, so that streams pass through untouched.
"""

import logging
import re
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.identity import ANONYMOUS, COOKIE, Identity, Principal
from backends.routes.answers import PLAIN, error_response, on_purpose
from backends.routes.lifecycle import Lifecycle
from backends.routes.paths import below_root
from backends.settings import Server
from backends.telemetry import new_request_id, request_id

log = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FOREVER = "public, max-age=31536000, immutable"


class Skin:
    """Wraps the whole application. `identity` is None where nobody can sign in."""

    def __init__(
        self, app: ASGIApp, server: Server, lifecycle: Lifecycle, identity: Identity | None
    ) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._identity = identity
        self._frames = server.frame_ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        rid = given if _SANE_ID.fullmatch(given) else new_request_id()
        state = scope.setdefault("state", {})
        state["request_id"] = rid
        state["principal"] = self._principal(headers)
        token = request_id.set(rid)
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._dress(scope, message, rid)
            await send(message)

        try:
            await self._answer(scope, receive, dressed)
        except Exception as error:
            if not on_purpose(error):
                log.exception("failed", extra={"path": scope["path"]})
            if not started:
                await error_response(error, rid, state.get("wording", PLAIN))(
                    scope, receive, dressed
                )
        finally:
            request_id.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _fetches_an_address(scope["path"]):
            await Response(status_code=404)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _policy(self, scope: Scope) -> str:
        """A page in somebody's frame can be clicked unseen: Admin never is in one."""
        place = below_root(scope)
        is_admin = place == "/admin" or place.startswith("/admin/")
        frames = "'self'" if is_admin else self._frames
        return f"frame-ancestors {frames}; base-uri 'self'; connect-src 'self' data: blob:"

    def _principal(self, headers: Headers) -> Principal:
        if self._identity is None:
            return ANONYMOUS
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ANONYMOUS
        morsel = cookies.get(COOKIE)
        return self._identity.principal(morsel.value if morsel else None)

    def _dress(self, scope: Scope, message: Message, rid: str) -> None:
        headers = MutableHeaders(scope=message)
        headers["x-request-id"] = rid
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "same-origin"
        headers.setdefault("content-security-policy", self._policy(scope))
        path = scope["path"]
        if message["status"] == 200 and ("/assets/" in path or "/static/fonts/" in path):
            headers["cache-control"] = _FOREVER  # their names carry a hash of their content
        if self._lifecycle.is_draining:
            headers["connection"] = "close"


def _fetches_an_address(path: str) -> bool:
    """Gradio would fetch `/gradio_api/file=https://…` for anyone who asks."""
    _, found, rest = path.partition("file=")
    return (bool(found) and re.match(r"\s*[a-zA-Z][a-zA-Z0-9+.-]*:/", rest) is not None) or (
        "/proxy=" in path
    )
