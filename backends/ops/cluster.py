"""
The cluster as Admin sees it: workloads, their readings, and the changes one may make.

Protocols and frozen values only. `LocalCluster` (the services of this process) implements them;
a Kubernetes cluster fits the same page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from backends.engines import Capabilities
from backends.serving import Progress
from backends.serving.record import ModelRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ref:
    """A workload's full name: a name alone never identifies one."""

    context: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """A value and when it was taken (`time.time()` seconds), with what must be said beside it."""

    value: T
    at: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lowest and highest replicas."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Pod:
    name: str
    phase: str  # Running, Pending, Failed, Terminating
    model: str
    revision: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """A service as the cluster sees it. `bounds` is None where nothing scales it."""

    ref: Ref
    wanted: int
    ready: int
    pods: tuple[Pod, ...]
    record: ModelRecord
    bounds: Bounds | None = None
    models: tuple[str, ...] = ()  # that it can be swapped to
    capabilities: Capabilities = field(default_factory=Capabilities)
    in_flight: int = 0
    loading: str = ""
    progress: Progress = field(default_factory=Progress)
    fetches: tuple[tuple[str, str], ...] = ()  # (model not on disk, the hub it would come from)
    elsewhere: bool = False  # its pods are other processes, whose disks are not seen from here


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: `points` are (`time.time()` seconds, value), oldest first."""

    name: str
    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


class Cluster(Protocol):
    async def workloads(self) -> Reading[Sequence[Workload]]: ...

    async def write_record(self, ref: Ref, record: ModelRecord, *, seen: int) -> None:
        """Write which model the workload must run; Conflict if its revision is not `seen`."""
        ...

    async def stop_loading(self, ref: Ref, why: str) -> None:
        """End a download that a swap waits for; nothing where none is under way."""
        ...

    async def roll(self, ref: Ref, revision: int) -> None:
        """Make what runs converge to the record of that revision; ModelLoadError if it cannot."""
        ...


class Metrics(Protocol):
    async def series(self, name: str, minutes: int) -> Reading[Sequence[Series]]:
        """The named figure of every service: rps, p95, errors or waiting."""
        ...
