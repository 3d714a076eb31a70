"""The whole portal in a thread of this process, within reach of a test: its parts and its loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from app import build_portal  # sets what must stand before Gradio is imported
from backends.families import FAMILIES, Family
from backends.portal import Portal
from backends.settings import Settings
from tests.running import in_thread, wait_until


@dataclass(frozen=True, slots=True)
class Site:
    """`url` has no slash at its end. `token` signs in to Admin, once."""

    url: str
    portal: Portal
    token: str
    loop: asyncio.AbstractEventLoop

    def do(self, act: Callable[[Portal], Awaitable[Any]]) -> Any:
        """Run `act(portal)` where the services live, and wait for it."""

        async def acted() -> Any:
            return await act(self.portal)

        return asyncio.run_coroutine_threadsafe(acted(), self.loop).result(30)


@contextmanager
def site(
    folder: Path, families: Mapping[str, Family] = FAMILIES, ready: bool = True, **given: Any
) -> Iterator[Site]:
    """
    `given` are settings, such as `server=Server(root_path="/q")`, served below that path.
    With `ready=False` it does not wait for the models.
    """
    settings = Settings(state_dir=folder, **given)

    async def built() -> tuple[Any, Any, Portal]:
        return build_portal(settings, families)

    # Where no loop runs, Gradio makes one for each of its locks and closes none of them.
    with ThreadPoolExecutor(1) as thread:
        app, _, portal = thread.submit(asyncio.run, built()).result()
    loops: list[asyncio.AbstractEventLoop] = []

    async def reachable(scope: Scope, receive: Receive, send: Send) -> None:
        if not loops:
            loops.append(asyncio.get_running_loop())
        if scope["type"] == "http":  # as uvicorn says it, behind a proxy that took the path off
            scope["root_path"] = settings.server.root_path
        await app(scope, receive, send)

    with in_thread(reachable, ready) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").is_success and loops, "it does not answer")
        token = portal.identity.token or ""
        yield Site(f"{url}{settings.server.root_path}", portal, token, loops[0])
