"""Leaving: refuse new work at once, finish what was accepted, answer the rest, go."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from backends.serving import ModelService

log = logging.getLogger(__name__)


class Drains(Protocol):
    async def drain(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class Lifecycle:
    """Shared by the signal handler, `/internal/drain`, readiness and the headers."""

    def __init__(self, services: Mapping[str, ModelService], drain_seconds: float) -> None:
        self._services = services
        self._seconds = drain_seconds
        self._first: list[Drains] = []
        self._leaving: asyncio.Task[None] | None = None
        self.is_draining = False
        self.on_left: Callable[[], None] = lambda: None

    def also(self, part: Drains) -> None:
        """Something that uses the services, and must therefore end before they do."""
        self._first.append(part)

    def leave(self) -> None:
        """Begin to leave; a second call changes nothing. On the event loop."""
        if self._leaving is None:
            self.is_draining = True
            self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        services = self._services.values()
        log.info("draining", extra={"seconds": self._seconds})
        parts = [*self._first, *services]
        await asyncio.gather(*(part.drain(self._seconds) for part in parts))
        await asyncio.gather(*(part.close() for part in self._first))
        await asyncio.gather(*(service.close() for service in services))
        log.info("stopped")
        self.on_left()
