"""
A cookie for whoever opens the page without signing in, so that a job can be theirs alone.

It holds a random name and our signature, nothing about the person. A frame on another site may not
get it: there the page keeps its jobs' tokens instead.
"""

from http.cookies import SimpleCookie

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.jobs.owners import COOKIE, Visitors

_DAYS = 30


class VisitorCookie:
    """ASGI middleware: the public page at `/` welcomes who has no cookie of ours."""

    def __init__(self, app: ASGIApp, visitors: Visitors, secure: bool) -> None:
        self._app = app
        self._visitors = visitors
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        if scope["type"] != "http" or scope["path"].removeprefix(root) not in ("", "/"):
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"cookie", b"").decode("latin-1")
        known = self._visitors.read(cookie_parser(given).get(COOKIE)) is not None

        async def welcomed(message: Message) -> None:
            if message["type"] == "http.response.start" and not known:
                MutableHeaders(scope=message).append("set-cookie", self._cookie(root, scope))
            await send(message)

        await self._app(scope, receive, welcomed)

    def _cookie(self, root: str, scope: Scope) -> str:
        jar = SimpleCookie()
        jar[COOKIE] = self._visitors.welcome()[1]
        morsel = jar[COOKIE]
        morsel["path"] = f"{root}/"
        morsel["max-age"] = _DAYS * 86_400
        morsel["httponly"] = True
        morsel["samesite"] = "Lax"
        morsel["secure"] = self._secure or scope["scheme"] == "https"
        return morsel.OutputString()
