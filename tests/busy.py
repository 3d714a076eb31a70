"""A server whose queue is full, for as long as a test wants: its engine waits at a gate."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from app import build_service
from backends.engines import Emit, Engine
from backends.families import FAMILIES
from backends.settings import Settings
from tests import running


class Held:
    """The engine it is given; while the gate is closed no run of it ends."""

    def __init__(self, engine: Engine[Any, Any], gate: threading.Event) -> None:
        self.model = engine.model
        self.tokens = engine.tokens
        self._engine = engine
        self._gate = gate

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        self._gate.wait(running.PATIENCE)
        return self._engine.run(batch, emit)

    def close(self) -> None:
        self._engine.close()


@contextmanager
def held(name: str, folder: Path, **batching: float) -> Iterator[str]:
    """One family's service under a real uvicorn, whose engine ends no run until the end."""
    gate = threading.Event()
    gate.set()
    family = FAMILIES[name]
    settings = Settings(state_dir=folder)
    changed = settings.batching.model_copy(update=batching)
    settings = settings.model_copy(update={"batching": changed})
    model = family.models[family.default(settings)]
    assert model.load is not None
    load = model.load
    stuck = replace(model, load=lambda given: Held(load(given), gate))
    families = {name: replace(family, models={**family.models, stuck.name: stuck})}
    with running.in_thread(build_service(settings, name, families)[0]) as url:
        gate.clear()
        try:
            yield url
        finally:
            gate.set()


@contextmanager
def busy(name: str, body: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """A held service whose queue `body`, sent to `/v1/<name>`, has filled: one more is refused."""
    with held(name, folder, max_queue_seconds=1e-6) as url, ExitStack() as sent:
        for _ in range(64):  # as many as its threads take at once, and one more
            sent.enter_context(_sent(url, f"/v1/{name}", body))
            running.wait_until(lambda: in_flight(url, name) > 0, "it took nothing")
            with suppress(AssertionError):
                running.wait_until(lambda: _waiting(url, name) > 0, "nothing waits yet", 1.0)
                break
        assert _waiting(url, name) > 0, "its queue never filled"
        yield url


def in_flight(url: str, name: str) -> int:
    return int(httpx.get(f"{url}/readyz").json()["services"][name]["in_flight"])


def _waiting(url: str, name: str) -> int:
    return int(httpx.get(f"{url}/readyz").json()["services"][name]["waiting"])


@contextmanager
def _sent(url: str, path: str, body: Mapping[str, Any]) -> Iterator[None]:
    host, port = url.removeprefix("http://").split(":")
    data = json.dumps({**body, "timeout": 600}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + data)
        yield
