"""
The door of Admin: our own page for a guest at /admin, sign-in, and sign-out.

A browser that arrives at /admin without the role viewer gets a page to sign in; whatever lies
below is refused as JSON. Which role a change needs is asked again by every handler, first line.
Never imports gradio.
"""

import json
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, parse_qsl, urlencode

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.errors import BadInput, Denied, QuartetError, SignInNeeded
from backends.identity import ANONYMOUS, COOKIE, Identity, Role
from backends.routes.answers import error_response
from backends.routes.paths import below_root
from backends.routes.same_site import refuse_other_sites
from backends.settings import Settings
from backends.telemetry import request_id

SIGN_IN, SIGN_OUT = "/admin/sign-in", "/admin/sign-out"

_PAGE = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
_MAX_BODY_BYTES = 16_384
_NO_STORE = {"Cache-Control": "no-store", "Vary": "Cookie"}
_ACCOUNT_ADD = "<code>python app.py account add NAME --role viewer</code>"


def add_sign_in(app: FastAPI, identity: Identity, settings: Settings) -> None:
    """Register the door and its two routes; before anything is mounted at /admin."""
    desk = Desk(identity, settings)
    app.add_middleware(AdminDoor, desk=desk)
    for path, handler in ((SIGN_IN, desk.sign_in), (SIGN_OUT, desk.sign_out)):
        app.add_api_route(path, handler, methods=["POST"], include_in_schema=False)


class AdminDoor:
    """ASGI middleware: nobody without the role viewer gets past /admin."""

    def __init__(self, app: ASGIApp, desk: "Desk") -> None:
        self._app = app
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http":
            answer = await self._answer(below_root(scope), Request(scope, receive))
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, place: str, request: Request) -> Response | None:
        """What the door says; None lets the request pass."""
        if place != "/admin" and not place.startswith("/admin/"):
            return None
        looks = request.method in ("GET", "HEAD")
        if place in ("/admin", "/admin/") and looks:
            return await self._desk.arrive(request)
        if place in (SIGN_IN, SIGN_OUT):
            return _to_admin(request, 303) if looks else None
        return self._desk.refuse(request)


class Desk:
    """What the door answers with. Every answer says where to go, or what was wrong."""

    def __init__(self, identity: Identity, settings: Settings) -> None:
        self._identity = identity
        self._secure = settings.identity.secure_cookie
        self._seconds = int(settings.identity.session_hours * 3600)

    async def arrive(self, request: Request) -> Response | None:
        """The answer to a browser at /admin; None lets it in."""
        who = self._identity.principal(request.cookies.get(COOKIE))
        token = request.query_params.get("token")
        if who.may(Role.VIEWER):
            wants_slash = not request.scope["path"].endswith("/")
            return _to_admin(request, 303 if token else 307) if token or wants_slash else None
        if token and request.method == "GET":  # HEAD is a look: it uses nothing up
            try:
                cookie = await self._identity.sign_in_with_token(token, _address(request))
            except QuartetError as error:
                return self._page(request, error)
            return self._enter(request, cookie)
        if who != ANONYMOUS:
            return self._page(request, _lacks_viewer(who.subject))
        return self._page(request, None)

    def refuse(self, request: Request) -> Response | None:
        """The answer to whatever else is asked below /admin; None lets it pass."""
        who = self._identity.principal(request.cookies.get(COOKIE))
        if who.may(Role.VIEWER):
            return None
        guest = SignInNeeded("Sign in to Admin first.", zh="请先登录运维页面。")
        error = guest if who == ANONYMOUS else _lacks_viewer(who.subject)
        return error_response(error, request_id.get())

    async def sign_in(self, request: Request) -> Response:
        """POST /admin/sign-in: `name` and `password`, or `token`, as a form or as JSON."""
        fields: dict[str, str] = {}
        try:
            refuse_other_sites(request)
            fields = await _read_fields(request)
            if "token" in fields:
                opened = self._identity.sign_in_with_token(fields["token"], _address(request))
            else:
                opened = self._identity.sign_in(
                    fields.get("name", ""), fields.get("password", ""), _address(request)
                )
            cookie = await opened
        except QuartetError as error:
            if _is_json(request):
                raise  # a program gets the shape that every error has
            return self._page(request, error, fields.get("name", ""))
        self._identity.sign_out(request.cookies.get(COOKIE))
        return self._enter(request, cookie)

    async def sign_out(self, request: Request) -> Response:
        """POST /admin/sign-out: ends the session, forgets the cookie, goes to the portal."""
        refuse_other_sites(request)
        self._identity.sign_out(request.cookies.get(COOKIE))
        root = request.scope.get("root_path", "")
        answer = RedirectResponse(f"{root}/", status_code=303, headers=_NO_STORE)
        answer.delete_cookie(COOKIE, path=root or "/", httponly=True, samesite="lax")
        return answer

    def _enter(self, request: Request, cookie: str) -> Response:
        answer = _to_admin(request, 303)
        answer.set_cookie(
            COOKIE,
            cookie,
            max_age=self._seconds,
            path=request.scope.get("root_path") or "/",
            secure=self._secure or request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return answer

    def _page(self, request: Request, error: QuartetError | None, name: str = "") -> Response:
        headers = dict(_NO_STORE)
        if error is not None and error.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(error.retry_after)))
        text = _PAGE.substitute(
            root=escape(request.scope.get("root_path", "")),
            error="" if error is None else _error_html(error),
            fields=_TOKEN_FIELD if self._identity.token else _account_fields(name),
            help=_TOKEN_HELP if self._identity.token else _ACCOUNT_HELP,
        )
        status = SignInNeeded.status if error is None else error.status
        return HTMLResponse(text, status_code=status, headers=headers)


def _to_admin(request: Request, status: int) -> RedirectResponse:
    """To /admin/ with the query as it was, but never with the token."""
    kept = [pair for pair in parse_qsl(request.url.query) if pair[0] != "token"]
    query = f"?{urlencode(kept)}" if kept else ""
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/admin/{query}", status_code=status, headers=_NO_STORE)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _lacks_viewer(subject: str) -> Denied:
    return Denied(
        f"{subject} is signed in, without the role viewer. Sign in as someone who has it.",
        zh=f"{subject} 已登录，但没有 viewer 角色。请使用具有该角色的账号登录。",
    )


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").split(";")[0].strip() == "application/json"


async def _read_fields(request: Request) -> dict[str, str]:
    """The fields of a small form or a flat JSON object, all text."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise BadInput("This sign-in is too large.", zh="登录请求过大。")
    try:
        if not _is_json(request):
            form = parse_qs(body.decode(errors="replace"), True, max_num_fields=16)
            return {name: values[0] for name, values in form.items()}
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInput("This sign-in cannot be read.", zh="无法读取登录请求。") from error
    if not isinstance(fields, dict) or not all(isinstance(v, str) for v in fields.values()):
        raise BadInput('Send {"name": …, "password": …} or {"token": …}, all text.')
    # half of a surrogate pair is valid JSON and has no bytes
    return {name: value.encode(errors="replace").decode() for name, value in fields.items()}


def _both(english: str, chinese: str) -> str:
    """Both languages, as HTML; CSS shows one."""
    return f'<span class="l-en">{english}</span><span class="l-zh" lang="zh-CN">{chinese}</span>'


def _error_html(error: QuartetError) -> str:
    text = _both(escape(error.text), escape(error.zh or error.text))
    return f'<p class="error" id="error" role="alert">{text}</p>'


def _account_fields(name: str) -> str:
    on_name, on_password = ("", "autofocus") if name else ("autofocus", "")
    return (
        f"<label>{_both('Name', '用户名')}"
        f'<input name="name" autocomplete="username" autocapitalize="none" spellcheck="false" '
        f'maxlength="64" required value="{escape(name)}" {on_name}></label>'
        f"<label>{_both('Password', '密码')}"
        f'<input name="password" type="password" autocomplete="current-password" '
        f'maxlength="1024" required {on_password}></label>'
    )


_TOKEN_FIELD = (
    f"<label>{_both('One-time token', '一次性令牌')}"
    '<input name="token" type="password" autocomplete="one-time-code" maxlength="200" '
    "required autofocus></label>"
)
_TOKEN_HELP = (
    "<p>"
    + _both(
        "The token is printed where the portal was started, in its log. It signs in once; "
        "the next one is printed then.",
        "令牌会打印在启动本服务的终端（日志）中。每个令牌只能使用一次，使用后会打印新的令牌。",
    )
    + "</p><p>"
    + _both(
        f"To sign in with a name and a password, make an account there: {_ACCOUNT_ADD}",
        f"如需使用用户名和密码登录，请在该处创建账号：{_ACCOUNT_ADD}",
    )
    + "</p>"
)
_ACCOUNT_HELP = (
    "<p>"
    + _both(
        f"No account? Whoever runs this portal makes one: {_ACCOUNT_ADD}",
        f"没有账号？请由本服务的管理者创建：{_ACCOUNT_ADD}",
    )
    + "</p>"
)
