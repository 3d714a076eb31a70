"""Small exact engines: what they saw is the proof, never the clock."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from backends.engines import Emit, Model
from backends.families import Family


class Recorder:
    """
    Answers `(model, item)`, remembers each batch. `gate` holds every run until it is set;
    `fails` decides which item an engine chokes on.
    """

    def __init__(
        self,
        model: str = "stub",
        gate: threading.Event | None = None,
        fails: Callable[[Any], Exception | None] = lambda item: None,
        length: Callable[[Any], int] = lambda item: 1,
    ) -> None:
        self.model = model
        self.gate = gate
        self.fails = fails
        self.length = length
        self.batches: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self.closed = 0
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def tokens(self, item: Any) -> int:
        return self.length(item)

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        assert not self.closed, "an engine ran after it was closed"
        with self._lock:
            self.batches.append(list(batch))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.entered.release()
        try:
            if self.gate is not None:
                assert self.gate.wait(20), "the test never opened the gate"
            for item in batch:
                if (error := self.fails(item)) is not None:
                    raise error
            return [(self.model, item) for item in batch]
        finally:
            with self._lock:
                self.running -= 1

    def close(self) -> None:
        assert not self.running, "an engine was closed while it ran"
        self.closed += 1

    @property
    def seen(self) -> list[Any]:
        return [item for batch in self.batches for item in batch]


def model(engine: Any, name: str = "", threads: int = 4, **more: Any) -> Model:
    """A `Model` whose loader hands out this engine, or calls it if it is a function."""
    load = engine if callable(engine) else lambda settings: engine
    return Model(
        name=name or engine.model,
        title=name,
        load=load,
        licence="none",
        about=("A stub", "替身"),
        threads=threads,
        embedded=True,
        **more,
    )


def family(*models: Model, name: str = "stub", sample: Sequence[Any] = ("sample",)) -> Family:
    return Family(
        name=name,
        title=("Stub", "替身"),
        item=str,
        models={m.name: m for m in models},
        sample=lambda: tuple(sample),
        default=lambda settings: models[0].name,
    )
