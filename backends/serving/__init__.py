"""
A service: one family being served. Screens and routes know only this page.

`LocalService` (this process) and `RemoteService` (pods elsewhere) fit the same protocol.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from backends.engines import Capabilities
from backends.engines.picture import Note
from backends.identity import Ask
from backends.serving.record import ModelRecord


class State(StrEnum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # nothing serves; `Status.reason` says why
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Any]):
    """
    The outputs of one request, in the order of its items, and who gave them. One model and
    revision gave them all, whatever was swapped meanwhile. Times are seconds. `pod` is the
    address that answered, or "" for this process.
    """

    outputs: tuple[Any, ...]
    model: str
    revision: int
    tokens: int
    queued: float
    ran: float
    pod: str = ""

    def __getitem__(self, index: Any) -> Any:
        return self.outputs[index]

    def __len__(self) -> int:
        return len(self.outputs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.outputs)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is. `stage`: downloading, reading or trying; bytes while downloading."""

    stage: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """
    A service as it is now. `loading` names a model on its way beside the one that serves;
    `running_seconds` is how long the oldest running batch runs already. `pods` are the services
    elsewhere that this one asks, each with its address as `pod`. `remarks` are what the engine
    says of itself: its files, or a GPU that it does not get.
    """

    service: str
    state: State
    model: str
    revision: int
    capabilities: Capabilities
    embedded: bool
    device: str
    reason: str = ""
    reason_zh: str = ""
    loading: str = ""
    waiting: int = 0
    in_flight: int = 0
    predicted_wait: float = 0.0
    breaker: str = "closed"
    remarks: tuple[Note, ...] = ()
    pod: str = ""
    pods: "tuple[Status, ...]" = ()
    progress: Progress = Progress()
    running_seconds: float = 0.0

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY


class ModelService(Protocol):
    """`predict` admits a request whole or not at all, and answers every caller."""

    name: str

    def admit(self) -> None:
        """Raise Overloaded or Unavailable now if a request would be refused."""
        ...

    async def predict(self, items: Sequence[Any], ask: Ask) -> Answer: ...

    def stream(self, item: Any, ask: Ask) -> AsyncIterator[Any]:
        """The parts of one item's answer as they come, then an `Answer` with the whole."""
        ...

    async def swap(self, record: ModelRecord) -> None:
        """Load, prove, exchange. An old revision does nothing; a failed load changes nothing."""
        ...

    async def stop_loading(self, why: str) -> None:
        """End a download; the swap that waits for it fails with `why`. Else nothing happens."""
        ...

    async def status(self) -> Status: ...

    async def drain(self, seconds: float) -> None:
        """Refuse new work at once; return when accepted work is done or time is up."""
        ...

    async def close(self) -> None: ...
