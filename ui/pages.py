"""
Both pages, mounted on the parent application with every setting of Gradio's that matters.

Gradio's defaults are for a demo: they keep runs in the browser, look up hosts, leak errors and
never refuse. Each is set here, once, for both pages.
"""

import re
from collections.abc import Callable
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.identity import COOKIE, Role
from backends.portal import Portal
from ui import shell
from ui.admin import page as admin
from ui.tabs import TABS
from ui.texts import label, translations
from ui.theme import CSS, first_paint, theme

PREVIEWS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')


def public(portal: Portal) -> gr.Blocks:
    """The page at `/`: a tab for each family that has one."""
    with shell.page(portal, "public") as page, gr.Tabs(elem_id="q-tabs"):
        for name, tab in TABS.items():
            if name in portal.families:
                with gr.Tab(label(f"tab.{name}"), id=name, elem_id=f"tab-{name}"):
                    tab.build(portal, page)
    return page.blocks


def mount(app: FastAPI, portal: Portal) -> FastAPI:
    """Put the pages on the parent: Admin first, because `/` would swallow it."""
    _mount(app, admin.build(portal), "/admin", portal, auth_dependency=viewer(portal))
    _mount(app, public(portal), "/", portal)
    return app


def viewer(portal: Portal) -> Callable[[Request], str | None]:
    """Who may see Admin, for Gradio: the subject, or None, which it answers with 401."""

    def allowed(request: Request) -> str | None:
        who = portal.identity.principal(request.cookies.get(COOKIE))
        return who.subject if who.may(Role.VIEWER) else None

    return allowed


def _mount(app: FastAPI, blocks: gr.Blocks, path: str, portal: Portal, **given: Any) -> None:
    server, limits = portal.settings.server, portal.settings.limits
    blocks.queue(max_size=server.page_queue, default_concurrency_limit=8)
    blocks.state_session_capacity = server.page_sessions  # mounting has no argument for it
    gr.mount_gradio_app(
        app,
        blocks,
        path,
        root_path=f"{server.root_path.rstrip('/')}{path}".rstrip("/") or None,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,  # gr.Error still shows; True sends a bug's raw text
        max_file_size=limits.upload_bytes,
        pwa=False,
        ssr_mode=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
        i18n=translations(admin=path == "/admin"),
        app_kwargs={"middleware": [Middleware(FirstPaint, head=first_paint())]},
        **given,
    )


class FirstPaint:
    """
    Write `head` into every HTML document, right behind `<head>`, and take Gradio's own
    advertisement for link previews out.

    Gradio adds its `head` after the page has loaded, which is too late for a theme: a person who
    chose dark would see a white flash on every page.
    """

    def __init__(self, app: ASGIApp, head: bytes) -> None:
        self._app = app
        self._head = head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def forward(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    held.append(message)
                    return
            elif held:
                start = held.pop()
                message = {**message, "body": self._written(message["body"])}
                headers = MutableHeaders(scope=start)
                if "content-length" in headers and not message.get("more_body"):
                    headers["content-length"] = str(len(message["body"]))
                await send(start)
            await send(message)

        await self._app(scope, receive, forward)

    def _written(self, body: bytes) -> bytes:
        return PREVIEWS.sub(b"", body.replace(b"<head>", b"<head>" + self._head, 1))
