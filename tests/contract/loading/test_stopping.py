"""A download that somebody watches, stops, takes up again or leaves."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import Parts
from backends.engines.download import Download
from backends.errors import ModelLoadError, Unavailable
from backends.identity import Ask
from backends.serving import State, Status
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Internal, Models, Settings
from backends.telemetry import Instruments
from tests import echo, remote, stubs
from tests.checkpoints import (
    FILES,
    HUBS,
    LARGE,
    SMALL,
    checkpoint,
    fetching,
    group,
    place,
    safetensors,
    serving,
    told,
)
from tests.hub import Hub, hub
from tests.running import in_thread

pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")
pytest.importorskip("huggingface_hub", reason="Install what real models need: make models")


async def started(service: LocalService, stage: str) -> Status:
    while (status := await service.status()).progress.stage != stage or not status.progress.done:
        await asyncio.sleep(0.01)
    return status


@pytest.fixture
def held() -> Iterator[tuple[Hub, threading.Event]]:
    """A hub that sends the first 12 MB, then waits for the event."""
    gate = threading.Event()
    with hub(o__n={**SMALL, "model.safetensors": safetensors(LARGE)}) as served:
        served.faults.hold = lambda path, sent: sent < 12_000_000 or bool(gate.wait(60)) or None
        yield served, gate
        gate.set()


@pytest.mark.parametrize("name", HUBS)
async def test_how_far_a_download_is_can_be_seen_while_the_old_model_serves(
    tmp_path: Path, held: tuple[Hub, threading.Event], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, gate = held
    caplog.set_level("INFO")
    async with serving(tmp_path, group(tmp_path, served, name), checkpoint()) as service:
        swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
        status = await started(service, "downloading")
        while status.progress.done < 10_000_000:
            await asyncio.sleep(0.01)
            status = await service.status()
        total = sum(len(data) for data in served.repos["o/n"].values())
        assert status.progress.done < status.progress.total == total
        assert status.loading == "real"
        assert (await service.predict(["a"], Ask())).model == "old"
        gate.set()
        await swap
        assert (await service.status()).progress.stage == ""
    told = [record for record in caplog.records if record.message == "downloading"]
    assert told
    assert told[0].model == "real"  # type: ignore[attr-defined]


async def test_a_download_that_is_stopped_is_taken_up_again(
    tmp_path: Path, held: tuple[Hub, threading.Event]
) -> None:
    served, gate = held
    models = group(tmp_path, served, "modelscope")
    async with serving(tmp_path, models, checkpoint()) as service:
        swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
        while (await service.status()).progress.done < 10_000_000:
            await asyncio.sleep(0.01)
        await service.stop_loading("ada stopped the download")
        with pytest.raises(ModelLoadError, match="ada stopped the download, and what was fetched"):
            await swap
        gate.set()
        before = served.sent["model.safetensors"]
        await service.swap(ModelRecord(2, "real"))
        assert served.sent["model.safetensors"] - before <= LARGE - 9_000_000


@pytest.mark.parametrize("name", HUBS)
async def test_a_download_is_stopped_before_the_hub_has_said_a_word(
    tmp_path: Path, small: Hub, name: str
) -> None:
    small.faults.silence = threading.Event()
    async with serving(tmp_path, group(tmp_path, small, name), checkpoint()) as service:
        swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
        while not small.asked:
            await asyncio.sleep(0.01)
        await service.stop_loading("ada stopped the download")
        with pytest.raises(ModelLoadError, match="ada stopped the download") as said:
            await swap
        assert "下载已停止（ada stopped the download）" in said.value.zh
        assert (await service.predict(["a"], Ask())).model == "old"


async def test_a_stop_before_it_has_begun_fetches_nothing(tmp_path: Path, small: Hub) -> None:
    download = Download(checkpoint(), group(tmp_path, small, "modelscope"))
    download.stop("ada stopped the download")
    with pytest.raises(ModelLoadError, match="ada stopped the download"):
        download.run(lambda done, total: None)
    assert small.asked == []


async def test_what_is_read_already_is_not_stopped_and_serves(tmp_path: Path) -> None:
    """Nothing is fetched any more, so there is nothing to stop: it goes on to its end."""
    gate, models = threading.Event(), Models(folder=tmp_path / "models", hub="off")

    def load(settings: Settings) -> Any:
        assert gate.wait(60)
        return stubs.Recorder("real")

    place(tmp_path / "models", SMALL)
    model = stubs.model(load, "real", source="o/n", files=FILES)
    async with serving(tmp_path, models, model) as service:
        swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
        while (await service.status()).progress.stage != "reading":
            await asyncio.sleep(0.01)
        await service.stop_loading("ada stopped the download")
        gate.set()
        await swap
        assert (await service.predict(["a"], Ask())).model == "real"


async def test_a_portal_stops_the_download_in_its_pod_and_hears_how_far_it_is(
    tmp_path: Path, held: tuple[Hub, threading.Event]
) -> None:
    served, _ = held
    family = echo.exact(stubs.model(echo.Exact("old")), checkpoint())
    settings = Settings(
        state_dir=tmp_path,
        models=group(tmp_path, served, "modelscope"),
        internal=Internal(token=SecretStr(remote.TOKEN)),
    )
    parts = Parts(settings, {"rerank": family}, may_ask=False)
    app = parts.application()
    parts.dress(app, identity=None)
    with in_thread(app) as pod:
        async with remote.asking(pod, family=family) as service:
            swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
            while (await service.status()).progress.done < 10_000_000:
                await asyncio.sleep(0.05)
            await service.stop_loading("ada stopped the download")
            with pytest.raises(Unavailable, match="ada stopped the download"):
                await swap
            assert (await service.predict(echo.pairs("a"), remote.ask())).model == "old"


async def test_a_newer_choice_ends_a_download_and_so_does_closing(
    tmp_path: Path, held: tuple[Hub, threading.Event]
) -> None:
    served, _ = held
    models = group(tmp_path, served, "modelscope")
    async with serving(tmp_path, models, checkpoint()) as service:
        swap = asyncio.create_task(service.swap(ModelRecord(1, "real")))
        await started(service, "downloading")
        await service.swap(ModelRecord(2, "old"))
        with pytest.raises(Exception, match="old was asked for instead"):
            await swap
        again = asyncio.create_task(service.swap(ModelRecord(3, "real")))
        await started(service, "downloading")
    with pytest.raises(ModelLoadError, match="the service is shutting down"):
        await again


async def test_a_model_that_a_setting_names_is_fetched_at_the_start_and_closing_ends_it(
    tmp_path: Path, held: tuple[Hub, threading.Event]
) -> None:
    served, _ = held
    settings = Settings(state_dir=tmp_path, models=group(tmp_path, served, "modelscope"))
    records = Records(tmp_path / "records")
    service = LocalService(stubs.family(checkpoint()), settings, Instruments(), records, 60)
    await service.start()
    status = await started(service, "downloading")
    assert status.state is State.LOADING
    with pytest.raises(ModelLoadError, match="still loading"):
        await service.predict(["a"], Ask())
    await service.close()
    assert (await service.status()).state is State.CLOSED


def test_the_process_that_fetches_ends_with_the_one_who_asked(
    tmp_path: Path, held: tuple[Hub, threading.Event]
) -> None:
    served, _ = held
    with fetching(tmp_path, served.url) as process:
        while told(process)["done"] < 10_000_000:
            pass
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
    assert (tmp_path / "o" / "n.part" / "model.safetensors.incomplete").stat().st_size > 9_000_000
