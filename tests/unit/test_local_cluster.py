"""The services of one process as a cluster, and its own figures, on a clock of ours."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.engines import Capabilities
from backends.errors import Conflict, ModelLoadError, NotFound
from backends.families import FAMILIES
from backends.ops.cluster import Ref, Workload
from backends.ops.local import CONTEXT, LocalCluster, LocalMetrics
from backends.serving import State, Status
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Models, Settings
from backends.telemetry import Instruments
from tests.stubs import Recorder, family, model

REF = Ref(CONTEXT, "", "stub")


def breaks(settings: Settings) -> Any:
    raise ModelLoadError("no memory", zh="内存不足")


class Bench:
    """One real service with three models, of which one breaks and one cannot be loaded."""

    def __init__(self, folder: Path) -> None:
        self.family = family(
            model(lambda settings: Recorder("small"), "small"),
            model(lambda settings: Recorder("large"), "large"),
            model(breaks, "broken"),
            replace(model(Recorder("known")), load=None),
        )
        self.instruments = Instruments()
        self.records = Records(folder / "records")
        self.service = LocalService(
            self.family, Settings(state_dir=folder), self.instruments, self.records, 3600
        )
        self.cluster = LocalCluster(
            {"stub": self.service}, {"stub": self.family}, self.records, Models()
        )

    async def started(self) -> None:
        await self.service.start()
        while (await self.service.status()).state is State.LOADING:
            await asyncio.sleep(0.001)

    async def workload(self) -> Workload:
        (only,) = (await self.cluster.workloads()).value
        return only


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.started()
    yield bench
    await bench.service.close()


class Asked:
    """A service that is only asked how it is."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def status(self) -> Status:
        return self._status


async def test_of_pods_elsewhere_it_claims_nothing_about_their_disks(tmp_path: Path) -> None:
    here = Status("rerank", State.READY, "bm25", 0, Capabilities(), embedded=True, device="CPU")
    afar = replace(here, pods=(replace(here, pod="http://pod:8001"),))
    seen = []
    for status in (here, afar):
        services: Any = {"rerank": Asked(status)}
        group = Models(folder=tmp_path / "models")
        cluster = LocalCluster(services, FAMILIES, Records(tmp_path / "records"), group)
        (workload,) = (await cluster.workloads()).value
        seen.append((workload.elsewhere, ("lychee-rerank-mm", "ModelScope") in workload.fetches))
    assert seen == [(False, True), (True, False)]


async def test_a_service_is_a_workload_with_one_pod(bench: Bench) -> None:
    workload = await bench.workload()
    assert workload.ref == REF
    assert (workload.wanted, workload.ready) == (1, 1)
    (pod,) = workload.pods
    assert (pod.phase, pod.model, pod.revision) == ("Running", "small", 0)
    assert workload.record == ModelRecord(0, "small")
    assert workload.models == ("small", "large", "broken")
    assert workload.bounds is None


async def test_a_service_that_cannot_load_is_a_failed_pod_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.records.write("stub", ModelRecord(3, "broken"), seen=0)
    await bench.started()
    workload = await bench.workload()
    await bench.service.close()
    assert (workload.ready, workload.pods[0].phase) == (0, "Failed")
    assert "no memory" in workload.pods[0].reason
    assert workload.record.model == "broken"


async def test_a_service_that_leaves_is_terminating(bench: Bench) -> None:
    await bench.service.drain(0)
    assert (await bench.workload()).pods[0].phase == "Terminating"


async def test_the_first_record_follows_the_default_that_nobody_wrote(bench: Bench) -> None:
    await bench.cluster.write_record(REF, ModelRecord(1, "large"), seen=0)
    await bench.cluster.roll(REF, 1)
    workload = await bench.workload()
    assert workload.record.model == workload.pods[0].model == "large"
    assert workload.pods[0].revision == 1


async def test_a_record_that_moved_on_is_a_conflict(bench: Bench) -> None:
    await bench.cluster.write_record(REF, ModelRecord(1, "large"), seen=0)
    for seen in (-1, 0, 2):
        with pytest.raises(Conflict, match="now large, revision 1"):
            await bench.cluster.write_record(REF, ModelRecord(9, "small"), seen=seen)


async def test_a_record_deleted_while_its_model_runs_can_be_written_anew(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.cluster.write_record(REF, ModelRecord(1, "large"), seen=0)
    await bench.cluster.roll(REF, 1)
    (tmp_path / "records" / "stub.json").unlink()
    with pytest.raises(Conflict):
        await bench.cluster.write_record(REF, ModelRecord(1, "small"), seen=0)
    await bench.cluster.write_record(REF, ModelRecord(2, "small"), seen=1)
    await bench.cluster.roll(REF, 2)
    assert (await bench.workload()).pods[0].model == "small"


async def test_of_two_writers_at_once_one_is_refused(bench: Bench) -> None:
    writes = [
        bench.cluster.write_record(REF, ModelRecord(1, name), seen=0) for name in ("small", "large")
    ]
    got = await asyncio.gather(*writes, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in got) == ["Conflict", "NoneType"]


async def test_rolling_to_a_revision_that_does_not_stand_is_a_conflict(bench: Bench) -> None:
    with pytest.raises(Conflict, match="now revision 0, not 1"):
        await bench.cluster.roll(REF, 1)
    await bench.cluster.write_record(REF, ModelRecord(2, "large"), seen=0)
    with pytest.raises(Conflict, match="now revision 2, not 1"):
        await bench.cluster.roll(REF, 1)


async def test_rolling_to_a_model_that_breaks_says_what_still_serves(bench: Bench) -> None:
    await bench.cluster.write_record(REF, ModelRecord(1, "broken"), seen=0)
    with pytest.raises(ModelLoadError, match="no memory; small still serves"):
        await bench.cluster.roll(REF, 1)


@pytest.mark.parametrize("ref", [Ref(CONTEXT, "", "other"), Ref("elsewhere", "", "stub")])
async def test_a_workload_of_another_place_is_not_found(bench: Bench, ref: Ref) -> None:
    with pytest.raises(NotFound):
        await bench.cluster.write_record(ref, ModelRecord(1, "large"), seen=0)


async def test_a_damaged_record_is_a_warning_beside_what_runs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "stub.json").write_text("{")
    reading = await bench.cluster.workloads()
    assert "damaged" in reading.warnings[0]
    assert reading.value[0].record == ModelRecord(0, "small")


class Figures:
    """Metrics on a clock of ours: each `tick` is one sample, five seconds after the last."""

    def __init__(self) -> None:
        self.now = 10_000.0
        self.instruments = Instruments()
        self.metrics = LocalMetrics(self.instruments, clock=lambda: self.now)
        self.metrics.sample()

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 5
            self.metrics.sample()

    def request(self, outcome: str = "ok", seconds: float = 0.02, service: str = "rerank") -> None:
        self.instruments.requests.labels(service, outcome).inc()
        self.instruments.request_seconds.labels(service).observe(seconds)

    async def points(self, name: str, minutes: int = 60) -> list[tuple[float, float]]:
        reading = await self.metrics.series(name, minutes)
        return [point for line in reading.value for point in line.points]

    async def last(self, name: str) -> float | None:
        points = await self.points(name)
        return points[-1][1] if points and points[-1][0] == self.now else None


async def test_requests_are_counted_over_the_last_minute() -> None:
    figures = Figures()
    for _ in range(30):
        figures.request()
    figures.tick()
    assert await figures.last("rps") == 30 / 5
    figures.tick(11)
    assert await figures.last("rps") == 30 / 60
    figures.tick()
    assert await figures.last("rps") == 0


async def test_the_p95_is_interpolated_in_its_bucket_as_prometheus_does() -> None:
    figures = Figures()
    for _ in range(90):
        figures.request(seconds=0.02)  # bucket up to 0.025
    for _ in range(10):
        figures.request(seconds=0.2)  # bucket 0.1 to 0.25
    figures.tick()
    assert await figures.last("p95") == pytest.approx(0.1 + 0.15 * (95 - 90) / 10)


async def test_a_p95_above_the_last_bucket_is_the_last_bound() -> None:
    figures = Figures()
    figures.request(seconds=500)
    figures.tick()
    assert await figures.last("p95") == 120


async def test_without_traffic_there_is_no_p95_and_no_share_of_errors() -> None:
    figures = Figures()
    figures.request()
    figures.tick(13)
    assert len(await figures.points("p95")) == 12
    assert await figures.last("p95") is None
    assert await figures.last("errors") is None
    assert await figures.last("rps") == 0


async def test_a_callers_own_mistake_is_not_an_error() -> None:
    figures = Figures()
    for outcome in ("ok", "BadInput", "Conflict", "Denied"):
        figures.request(outcome)
    figures.tick()
    assert await figures.last("errors") == 0
    for outcome in ("ModelLoadError", "Overloaded", "KeyError", "CancelledError"):
        figures.request(outcome)
    figures.tick()
    assert await figures.last("errors") == 0.5


async def test_waiting_is_the_gauge_as_it_stands() -> None:
    figures = Figures()
    figures.instruments.waiting.labels("rerank").set(7)
    figures.tick()
    assert await figures.last("waiting") == 7


async def test_each_service_has_its_own_line_and_late_ones_start_at_nothing() -> None:
    figures = Figures()
    figures.tick()
    figures.request(service="translate")
    figures.request(service="rerank")
    figures.request(service="rerank")
    figures.tick()
    reading = await figures.metrics.series("rps", 5)
    assert [(dict(line.labels)["service"], line.points[-1][1]) for line in reading.value] == [
        ("rerank", 0.2),
        ("translate", 0.1),
    ]
    assert reading.at == figures.now


async def test_only_the_minutes_asked_for_are_given_and_an_hour_is_kept() -> None:
    figures = Figures()
    figures.request()
    figures.tick(2000)
    assert len(await figures.points("rps", 5)) == 61
    assert len(await figures.points("rps", 60)) == 721
    assert len(figures.metrics._samples) == 733


async def test_before_the_first_sample_there_is_a_warning_and_no_line() -> None:
    reading = await LocalMetrics(Instruments()).series("rps", 5)
    assert (reading.value, len(reading.warnings)) == ((), 1)


async def test_an_unknown_figure_is_not_found() -> None:
    with pytest.raises(NotFound, match="rps, p95, errors, waiting"):
        await LocalMetrics(Instruments()).series("gpu", 5)


async def test_the_sampler_samples_at_its_interval_until_it_is_closed() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    metrics = LocalMetrics(Instruments(), interval=5, sleep=sleep)
    metrics.start()
    while len(slept) < 3:
        await asyncio.sleep(0)
    await metrics.close()
    count = len(metrics._samples)
    assert set(slept) == {5}
    assert count == len(slept)
    await asyncio.sleep(0)
    assert len(metrics._samples) == count
    await metrics.close()
