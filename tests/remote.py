"""A remote service for tests: in this process, asking pods at these addresses; and real pods."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app import Parts
from backends.families import Family
from backends.identity import Ask
from backends.routes.dialects import DIALECTS
from backends.routes.dialects.dialect import Dialect
from backends.serving.record import Records
from backends.serving.remote import RemoteService
from backends.serving.wire import SHAPES
from backends.settings import Batching, Internal, Limits, Remote, Settings
from tests import echo
from tests.running import in_thread

TOKEN = "secret"


@asynccontextmanager
async def asking(
    *addresses: str,
    family: Family | None = None,
    shape: Any = None,
    state: Path = Path("absent"),
    watch: float = 3600.0,
    **remote: Any,
) -> AsyncIterator[RemoteService]:
    family = family or echo.exact()
    chosen: dict[str, Any] = {family.name: addresses, **remote}
    settings = Settings(remote=Remote(**chosen), internal=Internal(token=SecretStr(TOKEN)))
    service = RemoteService(family, shape or SHAPES[family.name], settings, Records(state), watch)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


def ask(seconds: float = 20.0, **more: Any) -> Ask:
    return Ask(deadline=time.monotonic() + seconds, **more)


def sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def threads() -> int:
    """But for the event loop's own pool, which the loop takes along."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """No socket and no thread more than before."""
    before = sockets(), threads()
    yield
    assert (sockets(), threads()) == before


async def until(claim: Any, sorry: str, seconds: float = 20.0) -> None:
    """Wait for something that happens by itself; `claim` may be a coroutine function."""
    end = time.monotonic() + seconds
    while True:
        found = claim()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < end, sorry
        await asyncio.sleep(0.01)


@contextmanager
def serving(
    family: Family,
    state: Path,
    *,
    remote: tuple[str, ...] = (),
    limits: Limits | None = None,
    **batching: Any,
) -> Iterator[str]:
    """The family's routes under uvicorn; with `remote` addresses a portal's, without its pages."""
    settings = Settings(
        state_dir=state,
        limits=limits or Limits(),
        batching=Batching(engine_threads=2, **batching),
        internal=Internal(token=SecretStr(TOKEN)),
        remote=Remote(**{family.name: remote}),  # type: ignore[arg-type]
    )
    dialects = {**DIALECTS, "translate": (Dialect("Echo", ("/v1/translate",), echo.EchoShape()),)}
    parts = Parts(settings, {family.name: family}, may_ask=bool(remote), dialects=dialects)
    app = parts.application()
    parts.dress(app, identity=None)
    with in_thread(app) as address:
        yield address
