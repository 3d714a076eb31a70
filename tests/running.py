"""Servers for tests: an application in a thread of this process, or the real start as a process."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 60.0  # seconds; a hang ends, with a sentence


@contextmanager
def in_thread(app: Any, ready: bool = True, port: int = 0) -> Iterator[str]:
    """The application under a real uvicorn; yields its address once it is ready."""
    config = uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = suppress  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server did not start")
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        if ready:
            wait_until(lambda: httpx.get(f"{address}/readyz").is_success, "it never got ready")
        yield address
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


class Process:
    """`python app.py …` with a clean environment; `address` is what it printed."""

    def __init__(
        self,
        *arguments: str,
        state_dir: Path,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("app.py",),
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUARTET_", "GRADIO_"))}
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env={**clean, "QUARTET_STATE_DIR": str(state_dir), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self.logged: list[str] = []
        for pipe, lines in ((self.process.stdout, self.said), (self.process.stderr, self.logged)):
            threading.Thread(target=lambda p=pipe, ls=lines: ls.extend(p), daemon=True).start()

    @property
    def address(self) -> str:
        def found() -> str:
            words = " ".join(self.said).split()
            return next((w.split("/v1")[0] for w in words if w.startswith("http://")), "")

        wait_until(lambda: found() or self.process.poll() is not None, "it printed no address")
        return found().rstrip("/")

    @property
    def token(self) -> str:
        return " ".join(self.said).rpartition("?token=")[2].split()[0]

    def ready(self) -> "Process":
        def is_ready() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{self.address}/readyz").is_success
            return False

        wait_until(is_ready, f"it never got ready: {self.logged[-3:]}")
        return self

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its JSON log lines of this event."""
        lines = [json.loads(line) for line in self.logged if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, for processes that must come back at the same address."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_until(claim: Any, sorry: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not claim():
        assert time.monotonic() < end, sorry
        time.sleep(0.02)
