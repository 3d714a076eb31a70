"""The pages over real services, in a thread with a loop of its own, on a free port."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI

from backends.families import FAMILIES, Family
from backends.identity import ANONYMOUS
from backends.serving.local import LocalService
from backends.serving.record import Records
from backends.settings import Settings
from backends.telemetry import Instruments
from ui import pages


class Site:
    """`with Site(folder) as site:` serves until the end of the block; `site.url` has no slash."""

    def __init__(
        self,
        folder: Path,
        families: Mapping[str, Family] = FAMILIES,
        settings: Settings | None = None,
        add: Callable[[FastAPI, Any], None] = lambda app, portal: None,
    ) -> None:
        self._settings = settings or Settings(state_dir=folder)
        self._families = families
        self._add = add
        self._serving = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.portal: Any = None

    @contextlib.asynccontextmanager
    async def _life(self, app: FastAPI) -> AsyncIterator[None]:
        for service in self.portal.services.values():
            await service.start()
            while not (await service.status()).is_ready:
                await asyncio.sleep(0.02)
        yield
        for service in self.portal.services.values():
            await service.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        instruments = Instruments()
        records = Records(self._settings.state_dir)
        self.portal = SimpleNamespace(
            settings=self._settings,
            families=self._families,
            services={
                name: LocalService(family, self._settings, instruments, records)
                for name, family in self._families.items()
            },
            instruments=instruments,
            identity=SimpleNamespace(principal=lambda cookie: ANONYMOUS),
        )
        app = FastAPI(lifespan=self._life, docs_url=None, openapi_url=None)
        self._add(app, self.portal)
        pages.mount(app, self.portal)
        config = uvicorn.Config(
            app, port=0, log_level="warning", timeout_graceful_shutdown=1, access_log=False
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.02)
        if self._server.started:
            port = self._server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
        self._serving.set()
        await serving

    def do(self, act: Callable[[Any], Awaitable[Any]]) -> Any:
        """Run `act(portal)` where the services live, and wait for it."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(act(self.portal), self._loop).result(30)

    def __enter__(self) -> "Site":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._serving.wait(60), "the site did not start"
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
