"""
One job from its packed item to its finished file: unpack, ask the service, finish.

Knows nothing of stores and owners. A busy or loading service is asked again for a while; a
caller who is cancelled takes the service's work along.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backends.engines.fusion import Progress
from backends.errors import Overloaded, TimedOut, Unavailable
from backends.identity import Ask
from backends.jobs import Packing
from backends.serving import Answer, ModelService

_LONGEST_PAUSE = 10.0  # seconds between two tries of a busy service

Told = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """The finished file, what to say beside it, and who made it."""

    file: bytes
    notes: tuple[tuple[str, str], ...]
    model: str
    revision: int
    pod: str


class Runner:
    """`patience` is how many seconds a job waits in all for a service that refuses it."""

    def __init__(self, service: ModelService, packing: Packing, patience: float) -> None:
        self._service = service
        self._packing = packing
        self._patience = patience

    async def pack(self, item: Any) -> bytes:
        return await asyncio.to_thread(self._packing.pack, item)

    async def run(self, packed: bytes, ask: Ask, told: Told) -> Made:
        """Raises what the service raises."""
        item = await asyncio.to_thread(self._packing.unpack, packed)
        answer = await self._answer(item, ask, told)
        file, notes = await asyncio.to_thread(self._packing.finish, answer[0])
        return Made(file, notes, answer.model, answer.revision, answer.pod)

    async def _answer(self, item: Any, ask: Ask, told: Told) -> Answer:
        patience = self._patience
        while True:
            try:
                return await self._ask(item, ask, told)
            except (Overloaded, Unavailable) as error:
                pause = _LONGEST_PAUSE if error.retry_after is None else error.retry_after
                pause = min(pause, _LONGEST_PAUSE)
                if isinstance(error, TimedOut) or pause > patience:
                    raise
                patience -= pause
                await asyncio.sleep(pause)

    async def _ask(self, item: Any, ask: Ask, told: Told) -> Answer:
        answer: Answer | None = None
        async for part in self._service.stream(item, ask):
            if isinstance(part, Answer):
                answer = part
            elif isinstance(part, Progress):
                told(part.share, part.stage)
        if answer is None:
            raise RuntimeError("a stream ended without its answer")
        return answer
