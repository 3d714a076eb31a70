"""
The services of this one process, as Admin sees a cluster.

`LocalCluster` shows each service as a workload, with one pod or with those that it asks elsewhere,
and writes the model records of the state folder. `LocalMetrics` samples this process's own
instruments and keeps an hour of them. A service is known by its protocol alone.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from backends import settings
from backends.engines.download import hub_of
from backends.engines.weights import is_on_disk
from backends.errors import Conflict, NotFound, QuartetError
from backends.families import Family
from backends.ops import figures
from backends.ops.cluster import Pod, Reading, Ref, Series, Workload
from backends.ops.figures import Counts
from backends.serving import ModelService, State, Status
from backends.serving.record import ModelRecord, Records
from backends.telemetry import Instruments

CONTEXT = "this process"

_PHASES = {
    State.LOADING: "Pending",
    State.READY: "Running",
    State.FAILED: "Failed",
    State.DRAINING: "Terminating",
    State.CLOSED: "Terminating",
}
_HOUR = 3600.0
_WINDOW = 60.0  # seconds that a rate, a share or a p95 looks back


class LocalCluster:
    def __init__(
        self,
        services: Mapping[str, ModelService],
        families: Mapping[str, Family],
        records: Records,
        models: settings.Models,
    ) -> None:
        self._models = models
        self._services = services
        self._families = families
        self._records = records
        self._writing = asyncio.Lock()

    async def workloads(self) -> Reading[Sequence[Workload]]:
        warnings: list[str] = []
        found = [
            await self._workload(name, service, warnings)
            for name, service in self._services.items()
        ]
        return Reading(tuple(found), time.time(), tuple(warnings))

    async def write_record(self, ref: Ref, record: ModelRecord, *, seen: int) -> None:
        service = self._service(ref)
        async with self._writing:  # reading, comparing and replacing are one step
            written = await asyncio.to_thread(self._records.read, ref.name)
            revision = written.revision if written else 0
            if (running := (await service.status()).revision) > revision:
                # nobody wrote here what runs: it was deleted, or written elsewhere
                seen = revision if seen == running else -1
            await asyncio.to_thread(self._records.write, ref.name, record, seen=seen)

    async def roll(self, ref: Ref, revision: int) -> None:
        service = self._service(ref)
        record = await asyncio.to_thread(self._records.read, ref.name)
        if record is None or record.revision != revision:
            now = record.revision if record else 0
            raise Conflict(
                f"The record of {ref.name} moved on: now revision {now}, not {revision}.",
                zh=f"{ref.name} 的记录已变化：现在是修订 {now}，而不是 {revision}。",
            )
        await service.swap(record)

    async def stop_loading(self, ref: Ref, why: str) -> None:
        await self._service(ref).stop_loading(why)

    async def _workload(self, name: str, service: ModelService, warnings: list[str]) -> Workload:
        status = await service.status()
        record = ModelRecord(status.revision, status.model)
        try:
            written = await asyncio.to_thread(self._records.read, name)
            if written is not None and written.revision >= record.revision:
                record = written
        except QuartetError as error:
            warnings.append(error.text)
        pods = status.pods or (status,)
        return Workload(
            ref=Ref(CONTEXT, "", name),
            wanted=len(pods),
            ready=sum(pod.is_ready for pod in pods),
            pods=tuple(_pod(pod) for pod in pods),
            record=record,
            models=tuple(m.name for m in self._families[name].models.values() if m.load),
            capabilities=status.capabilities,
            in_flight=status.in_flight,
            loading=status.loading,
            progress=status.progress,
            fetches=() if status.pods else await asyncio.to_thread(self._fetches, name),
            elsewhere=bool(status.pods),
        )

    def _fetches(self, name: str) -> tuple[tuple[str, str], ...]:
        group = self._models
        models = [m for m in self._families[name].models.values() if hub_of(m, group)]
        return tuple((m.name, hub_of(m, group)) for m in models if not is_on_disk(m, group))

    def _service(self, ref: Ref) -> ModelService:
        if ref.context != CONTEXT or ref.name not in self._services:
            raise NotFound(f"There is no service {ref.name} in this process.")
        return self._services[ref.name]


def _pod(status: Status) -> Pod:
    name = status.pod or CONTEXT
    return Pod(name, _PHASES[status.state], status.model, status.revision, status.reason)


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    counts: Mapping[str, Counts]


Figure = Callable[[Counts, Counts, float], float | None]

_FIGURES: dict[str, Figure] = {
    "rps": figures.per_second,
    "p95": lambda old, new, seconds: figures.quantile(old, new, 0.95),
    "errors": lambda old, new, seconds: figures.error_share(old, new),
    "waiting": lambda old, new, seconds: new.waiting,
}


class LocalMetrics:
    """An hour of samples of this process's instruments; `start` and `close` the sampling."""

    def __init__(
        self,
        instruments: Instruments,
        *,
        interval: float = 5.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._registry = instruments.registry
        self._interval = interval
        self._clock = clock
        self._sleep = sleep
        self._samples: deque[_Sample] = deque(maxlen=int((_HOUR + _WINDOW) / interval) + 1)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="metrics")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def sample(self) -> None:
        """Take one sample now."""
        self._samples.append(_Sample(self._clock(), figures.read_counts(self._registry)))

    async def series(self, name: str, minutes: int) -> Reading[Sequence[Series]]:
        """The figure of every service: rps, p95 (seconds), errors (a share), waiting (items)."""
        figure = _FIGURES.get(name)
        if figure is None:
            raise NotFound(f"There is no figure {name}; there are {', '.join(_FIGURES)}.")
        samples = tuple(self._samples)
        if not samples:
            return Reading((), self._clock(), ("No sample was taken yet.",))
        since = samples[-1].at - minutes * 60
        services = sorted({service for sample in samples for service in sample.counts})
        lines = tuple(
            Series(name, (("service", service),), _points(samples, service, figure, since))
            for service in services
        )
        return Reading(lines, samples[-1].at)

    async def _run(self) -> None:
        while True:
            self.sample()
            await self._sleep(self._interval)


def _points(
    samples: tuple[_Sample, ...], service: str, figure: Figure, since: float
) -> tuple[tuple[float, float], ...]:
    """One point a sample, each over the time since the oldest sample of its window."""
    points = []
    first = 0
    for new in samples[1:]:
        while samples[first].at < new.at - _WINDOW:
            first += 1
        old = samples[first]
        value = figure(_of(old, service), _of(new, service), new.at - old.at)
        if value is not None and new.at >= since:
            points.append((new.at, value))
    return tuple(points)


def _of(sample: _Sample, service: str) -> Counts:
    return sample.counts.get(service, Counts())
