"""
The web server: bound before anything is loaded, and drained before it leaves.

Which application it runs is `app.py`'s; what happens on the way out is `routes/lifecycle.py`'s.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from backends.routes.lifecycle import Lifecycle
from backends.settings import Server


class QuartetServer(uvicorn.Server):
    """uvicorn that drains before it leaves, and leaves with 0."""

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Instead of uvicorn's own, which ends the process by the signal it was sent."""
        loop = asyncio.get_running_loop()
        self._lifecycle.on_left = lambda: setattr(self, "should_exit", True)
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, self._leave)
        yield

    def _leave(self) -> None:
        if self._lifecycle.is_draining:  # a second Ctrl+C is meant
            self.should_exit = self.force_exit = True
        self._lifecycle.leave()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(
    app: FastAPI, lifecycle: Lifecycle, server: Server, listening: socket.socket, ready: str
) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        workers=1,
        timeout_graceful_shutdown=server.stream_seconds,
        timeout_keep_alive=75,  # longer than a proxy's, so that the proxy closes first
        proxy_headers=True,
        forwarded_allow_ips=server.trusted_proxies,
        server_header=False,
    )
    QuartetServer(config, lifecycle, lambda: print(ready, flush=True)).run(sockets=[listening])


def listen(server: Server) -> socket.socket:
    """Bound before anything is loaded, so that a taken port is one sentence, at once."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        return socket.create_server((server.host, server.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise SystemExit(
            f"Cannot listen on {server.host}:{server.port}: {error}. "
            "Choose another address with --host and --port."
        ) from error


def address_of(listening: socket.socket, server: Server) -> str:
    host, port = listening.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}{server.root_path}"
