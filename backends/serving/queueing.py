"""What stands in the queue: requests with their entries, and the slot of a loaded engine."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.engines import Capabilities, Engine, Model
from backends.engines.picture import Note
from backends.identity import Ask
from backends.serving import Answer

_REMEMBERED_SECONDS = 2.0


@dataclass(eq=False, slots=True)
class Slot:
    """
    A loaded engine in its service. `pinned` counts requests that it has begun; it closes once,
    when it is retired and nothing of it runs or is pinned. All but `close` under the lock.
    """

    engine: Engine[Any, Any]
    model: Model
    revision: int
    rate: float = 0.0  # tokens a second of one thread; 0 until known
    running: int = 0
    pinned: int = 0
    retired: bool = False
    _closed: bool = False

    @property
    def threads(self) -> int:
        own: int = getattr(self.engine, "threads", self.model.threads)
        return own

    @property
    def capabilities(self) -> Capabilities:
        """The engine's own, if it learnt them at load; else its model's."""
        own: Capabilities = getattr(self.engine, "capabilities", self.model.capabilities)
        return own

    @property
    def device(self) -> str:
        """Where the engine says it runs, if it learnt that at load; else its model's."""
        own: str = getattr(self.engine, "device", self.model.device)
        return own

    @property
    def remarks(self) -> tuple[Note, ...]:
        """What the engine says of itself on this machine."""
        own: tuple[Note, ...] = getattr(self.engine, "remarks", ())
        return own

    def learn(self, tokens: int, seconds: float) -> None:
        """
        The rate over the last seconds of running. By seconds, not by batches: a hundred batches
        whose documents an engine remembered took no time and say nothing of new ones.
        """
        seen = tokens / seconds
        share = 1 - math.exp(-seconds / _REMEMBERED_SECONDS)
        self.rate = self.rate + share * (seen - self.rate) if self.rate else seen

    def is_done(self) -> bool:
        """True once: whoever hears it closes the engine."""
        if not self.retired or self.running or self.pinned or self._closed:
            return False
        self._closed = True
        return True

    def close(self) -> None:
        self.engine.close()


@dataclass(eq=False, slots=True)
class Entry:
    """An item in the queue."""

    item: Any
    tokens: int
    index: int
    request: "Request"
    claimed: bool = False
    emitted: bool = False  # part of its answer has reached the caller


@dataclass(eq=False, slots=True)
class Request:
    """Entries that are admitted and answered together."""

    items: Sequence[Any]
    lengths: Sequence[int]
    ask: Ask
    future: "asyncio.Future[Answer]"
    parts: "asyncio.Queue[Any] | None" = None
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    slot: Slot | None = None
    left: bool = False  # nobody waits for it any more
    error: Exception | None = None
    tokens: int = field(init=False)
    entries: list[Entry] = field(init=False)
    pending: list[Entry] = field(init=False)
    outputs: list[Any] = field(init=False)
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = sum(self.lengths)
        self.entries = [
            Entry(item, tokens, index, self)
            for index, (item, tokens) in enumerate(zip(self.items, self.lengths, strict=True))
        ]
        self.pending = list(self.entries)
        self.outputs = [None] * len(self.entries)
        self.missing = len(self.entries)

    @property
    def key(self) -> float:
        """Its place in the queue: a step of priority is worth a second of having come earlier."""
        return self.arrived - self.ask.priority

    @property
    def patience(self) -> float | None:
        """Seconds until its deadline; None where it has none."""
        left = self.ask.seconds_left()
        return None if left == float("inf") else max(0.0, left)

    def pin(self, slot: Slot) -> None:
        """From its first batch on, this engine answers all of it."""
        if self.slot is None:
            self.slot = slot
            self.started = time.monotonic()
            slot.pinned += 1

    def unpin(self) -> Slot | None:
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.pinned -= 1
        return slot

    def keep(self, entry: Entry, outcome: Any) -> bool:
        """Note an entry's outcome; True once, when the request can be answered."""
        if self.error is not None:
            return False
        if isinstance(outcome, Exception):
            self.error = outcome
            return True
        self.outputs[entry.index] = outcome
        self.missing -= 1
        return self.missing == 0

    def answer(self, model: str, revision: int) -> None:
        """On the event loop."""
        if self.error is not None:
            self.refuse(self.error)
        elif not self.future.done():
            now, started = time.monotonic(), self.started or self.arrived
            self.future.set_result(
                Answer(
                    tuple(self.outputs),
                    model=model,
                    revision=revision,
                    tokens=self.tokens,
                    queued=started - self.arrived,
                    ran=now - started,
                )
            )

    def refuse(self, error: Exception) -> None:
        """On the event loop."""
        if not self.future.done():
            self.future.set_exception(error)
