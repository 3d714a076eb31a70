"""
Checkpoints from a hub: what is fetched, what goes on where it was cut, and one sentence a fault.

The hubs' own libraries speak to a small hub on loopback; the engine is a stand-in that only needs
its files to be there.
"""

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import Parts
from backends.engines import Model, weights
from backends.engines.download import ENVIRONMENT, Download
from backends.errors import ModelLoadError, Unavailable
from backends.identity import Ask
from backends.serving import State, Status
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Internal, Models, Settings
from backends.telemetry import Instruments
from tests import echo, remote, stubs
from tests.hub import Hub, hub
from tests.running import ROOT, in_thread, wait_until

pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")
pytest.importorskip("huggingface_hub", reason="Install what real models need: make models")

HUBS = ("modelscope", "huggingface")
TITLES = {"modelscope": "ModelScope", "huggingface": "Hugging Face"}
FILES = ("config.json", "*.safetensors")
LARGE = 24_000_000  # Hugging Face's library hands on what it reads in pieces of 10 MB


def safetensors(size: int, seed: int = 1) -> bytes:
    """A whole file of weights: `size` bytes of one tensor."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(head)) + head + random.Random(seed).randbytes(size)


SMALL = {"config.json": b'{"architectures": ["Small"]}', "model.safetensors": safetensors(40_000)}


def checkpoint(**more: Any) -> Model:
    """A model whose loader wants its files; its engine is a stub."""

    def load(settings: Settings) -> Any:
        weights.find("o/n", FILES, settings.models)
        return stubs.Recorder("real")

    given = {"source": "o/n", "files": FILES, "hubs": tuple((name, "o/n") for name in HUBS)}
    return stubs.model(load, "real", **{**given, **more})


@asynccontextmanager
async def serving(folder: Path, models: Models, *rows: Model) -> AsyncIterator[LocalService]:
    old = stubs.model(lambda settings: stubs.Recorder("old"), "old")
    settings = Settings(state_dir=folder, models=models)
    family = stubs.family(old, *rows)
    service = LocalService(family, settings, Instruments(), Records(folder / "records"), 60)
    await service.start()
    while (await service.status()).state is State.LOADING:
        await asyncio.sleep(0.01)
    try:
        yield service
    finally:
        await service.close()


async def refused(folder: Path, models: Models, model: Model) -> str:
    """The sentence with which a swap to the model fails; the old one must still answer."""
    async with serving(folder, models, model) as service:
        with pytest.raises(ModelLoadError) as said:
            await service.swap(ModelRecord(1, "real"))
        assert (await service.predict(["a"], Ask())).model == "old"
        text = said.value.text
        assert said.value.zh.startswith("无法加载 real：")
        assert not said.value.detail  # foreseen: the sentence has all there is to say
        assert text.startswith("real could not be loaded: "), text
        assert text.endswith("; old still serves."), text
        return text.removeprefix("real could not be loaded: ").removesuffix("; old still serves.")


def place(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / "o" / "n").mkdir(parents=True, exist_ok=True)
        (folder / "o" / "n" / name).write_bytes(data)


@pytest.fixture
def small() -> Iterator[Hub]:
    with hub(o__n=SMALL) as served:
        yield served


def group(folder: Path, served: Hub, name: str, **more: Any) -> Models:
    return Models(folder=folder / "models", hub=name, endpoint=served.url, **more)


@pytest.mark.parametrize("name", HUBS)
async def test_a_swap_fetches_what_is_not_here_and_the_next_one_asks_no_hub(
    tmp_path: Path, small: Hub, name: str
) -> None:
    models = group(tmp_path, small, name, token="hidden")
    async with serving(tmp_path, models, checkpoint()) as service:
        await service.swap(ModelRecord(1, "real"))
        assert (await service.predict(["a"], Ask())).model == "real"
        asked = len(small.asked)
        await service.swap(ModelRecord(2, "old"))
        await service.swap(ModelRecord(3, "real"))
    folder = tmp_path / "models" / "o" / "n"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == SMALL
    assert [p.name for p in folder.parent.iterdir()] == ["n"]  # nothing half is left beside it
    assert len(small.asked) == asked
    assert any("hidden" in token for token in small.tokens)


@pytest.mark.parametrize("name", HUBS)
async def test_a_download_goes_on_where_it_was_cut(tmp_path: Path, name: str) -> None:
    with hub(o__n={**SMALL, "model.safetensors": safetensors(LARGE)}) as served:
        served.faults.cut_after, served.faults.cuts = 11_000_000, 1
        async with serving(tmp_path, group(tmp_path, served, name), checkpoint()) as service:
            await service.swap(ModelRecord(1, "real"))
        sent, whole = (
            served.sent["model.safetensors"],
            len(served.repos["o/n"]["model.safetensors"]),
        )
        assert whole <= sent <= whole + 1_000_000  # of 11 MB, 10 at least were not sent again


@pytest.mark.parametrize("name", HUBS)
async def test_a_connection_that_keeps_breaking_is_given_up_and_taken_up_by_the_next_load(
    tmp_path: Path, name: str
) -> None:
    with hub(o__n={**SMALL, "model.safetensors": safetensors(LARGE)}) as served:
        models = group(tmp_path, served, name)
        whole = len(served.repos["o/n"]["model.safetensors"])
        served.faults.hold = breaks_off(served, "model.safetensors", at=12_000_000)
        assert await refused(tmp_path / "1", models, checkpoint()) == (
            f"the connection to {served.url} broke off in model.safetensors (24.0 MB); load it "
            "again to go on from there"
        )
        assert not (tmp_path / "models" / "o" / "n").exists()
        served.faults.hold = lambda path, sent: None
        served.faults.status = 0
        before = served.sent["model.safetensors"]
        async with serving(tmp_path / "2", models, checkpoint()) as service:
            await service.swap(ModelRecord(1, "real"))
        assert served.sent["model.safetensors"] - before <= whole - 10_000_000


def breaks_off(served: Hub, name: str, at: int) -> Callable[[str, int], None]:
    """From that byte on the hub breaks every connection, at once."""
    broken = threading.Event()

    def hold(path: str, sent: int) -> None:
        if path == name and (sent >= at or broken.is_set()):
            broken.set()
            raise ConnectionAbortedError

    return hold


@pytest.mark.parametrize("name", HUBS)
async def test_a_file_with_another_hash_than_published_is_thrown_away(
    tmp_path: Path, small: Hub, name: str
) -> None:
    for file in SMALL if name == "huggingface" else list(SMALL)[1:]:  # it hashes small ones its way
        small.faults.spoil = {file}
        assert await refused(tmp_path / file, group(tmp_path, small, name), checkpoint()) == (
            f"{file} came from {TITLES[name]} with another hash than the one published there, "
            "and was thrown away"
        )
        assert not list((tmp_path / "models").rglob(file))


@pytest.mark.parametrize("name", HUBS)
async def test_a_file_that_the_hub_exchanged_is_not_even_fetched(
    tmp_path: Path, small: Hub, name: str
) -> None:
    pinned = checkpoint(sha256=(("model.safetensors", "0" * 64),))
    text = await refused(tmp_path, group(tmp_path, small, name), pinned)
    assert text.startswith(f"model.safetensors on {TITLES[name]} is not the file that this version")
    assert small.sent == {}


@pytest.mark.parametrize("name", HUBS)
async def test_what_a_hub_does_not_have_is_said(tmp_path: Path, small: Hub, name: str) -> None:
    models, title = group(tmp_path, small, name), TITLES[name]
    nowhere = checkpoint(hubs=((name, "o/nowhere"),))
    assert await refused(tmp_path / "1", models, nowhere) == (
        f"{title} has no repository o/nowhere, or shows it to members only"
    )
    assert await refused(tmp_path / "2", models, checkpoint(files=(*FILES, "vocab.txt"))) == (
        f"o/n on {title} has no vocab.txt"
    )
    small.faults.lacking = {"model.safetensors"}
    assert await refused(tmp_path / "3", models, checkpoint()) == (
        f"{title} lists model.safetensors of o/n and does not have it"
    )


@pytest.mark.parametrize("name", HUBS)
async def test_a_hub_that_refuses_is_quoted(tmp_path: Path, small: Hub, name: str) -> None:
    models, title = group(tmp_path, small, name), TITLES[name]
    small.faults.status, small.faults.retry_after = 429, "1"
    assert await refused(tmp_path / "1", models, checkpoint()) == (
        f"{title} is asked too often; load it again in 1 s"
    )
    small.faults.status = 403
    assert await refused(tmp_path / "2", models, checkpoint()) == (
        f"{title} does not give o/n to everyone: accept its terms there, and set "
        "QUARTET_MODELS__TOKEN"
    )


async def test_a_hub_that_says_wait_an_hour_is_not_waited_for(tmp_path: Path, small: Hub) -> None:
    """Its library sleeps as long as it is told, five times; ModelScope's waits a minute at most."""
    small.faults.status, small.faults.retry_after = 429, "3600"
    assert await refused(tmp_path, group(tmp_path, small, "huggingface"), checkpoint()) == (
        "Hugging Face is asked too often; load it again in 3600 s"
    )
    assert len(small.asked) == 1


SOON = {  # the libraries' own limits in seconds, which are a minute and more
    "HF_HUB_DOWNLOAD_TIMEOUT": "1",
    "MODELSCOPE_DOWNLOAD_TIMEOUT": "1",
    "MODELSCOPE_API_TIMEOUT": "1",
    "MODELSCOPE_REPO_TREE_PAGE_TIMEOUT_SECONDS": "1",
    "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "1",
}


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_that_takes_the_question_and_never_answers_is_not_waited_for(
    tmp_path: Path, small: Hub, name: str
) -> None:
    small.faults.silence = threading.Event()
    with fetching(tmp_path, small.url, name=name, env=SOON) as process:
        wait_until(lambda: len(small.asked) > 1, "it waits for its first question for ever")
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_that_stops_sending_in_a_file_is_given_up(
    tmp_path: Path, small: Hub, name: str
) -> None:
    gate = threading.Event()
    small.faults.hold = lambda path, sent: gate.wait() and None
    with fetching(tmp_path, small.url, name=name, env=SOON) as process:
        broke = f"the connection to {small.url} broke off in config.json (28 B); load it again to "
        assert last_of(process)["failed"].startswith(broke)
    gate.set()


async def test_without_a_network_it_says_which_files_to_put_where(
    tmp_path: Path, free_port: int
) -> None:
    models = Models(folder=tmp_path / "models", endpoint=f"http://127.0.0.1:{free_port}")
    assert await refused(tmp_path, models, checkpoint()) == (
        f"http://127.0.0.1:{free_port} cannot be reached; without a network, put config.json, "
        f"*.safetensors of o/n into {tmp_path}/models/o/n"
    )


async def test_with_the_hub_off_nothing_is_asked_and_files_put_there_are_served(
    tmp_path: Path, small: Hub
) -> None:
    models = group(tmp_path, small, "off")
    wanted = f"put config.json, *.safetensors of o/n into {tmp_path}/models/o/n"
    assert await refused(tmp_path / "1", models, checkpoint()) == wanted
    forbidden = checkpoint(may_download=False)
    models = group(tmp_path, small, "modelscope")
    assert await refused(tmp_path / "2", models, forbidden) == wanted
    place(tmp_path / "models", SMALL)
    async with serving(tmp_path / "3", models, forbidden) as service:
        await service.swap(ModelRecord(1, "real"))
        assert (await service.predict(["a"], Ask())).model == "real"
    assert small.asked == []


@pytest.mark.parametrize("name", HUBS)
async def test_what_was_put_there_by_hand_is_hashed_when_the_hub_is_asked_for_the_rest(
    tmp_path: Path, small: Hub, name: str
) -> None:
    """Of the same length, and another file: it is fetched anew; what is right is left alone."""
    place(tmp_path / "1" / "models", {"model.safetensors": safetensors(40_000, seed=2)})
    place(tmp_path / "2" / "models", {"model.safetensors": SMALL["model.safetensors"]})
    for folder in (tmp_path / "1", tmp_path / "2"):
        small.sent.clear()
        async with serving(folder, group(folder, small, name), checkpoint()) as service:
            await service.swap(ModelRecord(1, "real"))
        there = {p.name: p.read_bytes() for p in (folder / "models" / "o" / "n").iterdir()}
        assert there == SMALL
        assert ("model.safetensors" in small.sent) == (folder.name == "1")


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("A small disk is mounted for this: run the tests as root.")
    at.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("A small disk is mounted for this: allow mount (CAP_SYS_ADMIN).")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.mark.parametrize("name", HUBS)
async def test_a_disk_too_small_is_told_before_and_a_full_one_while_fetching(
    tmp_path: Path, name: str
) -> None:
    data = safetensors(LARGE)
    with small_disk(tmp_path / "disk", 32_000_000) as disk, hub(o__n=SMALL) as served:
        models = Models(folder=disk, hub=name, endpoint=served.url)
        served.repos["o/n"] = {**SMALL, "model.safetensors": safetensors(40_000_000)}
        told = await refused(tmp_path / "1", models, checkpoint())
        assert told.startswith(f"40.0 MB must still be fetched, and the disk of {disk}/o has 3")
        assert served.sent == {}

        served.repos["o/n"] = {**SMALL, "model.safetensors": data}
        served.faults.hold = lambda path, sent: fills_up(disk) if sent > 20_000_000 else None
        assert await refused(tmp_path / "2", models, checkpoint()) == (
            f"the disk of {disk}/o is full; make room and load it again to go on from what was "
            "fetched"
        )
        assert not (disk / "o" / "n").exists()
        served.faults.hold = lambda path, sent: None
        (disk / "filler").unlink()
        before = served.sent["model.safetensors"]
        async with serving(tmp_path / "3", models, checkpoint()) as service:
            await service.swap(ModelRecord(1, "real"))
        assert served.sent["model.safetensors"] - before <= len(data) - 10_000_000


def fills_up(disk: Path) -> None:
    with (disk / "filler").open("ab") as filler:
        try:
            while True:
                filler.write(bytes(65536))
                filler.flush()
        except OSError:
            return


async def test_a_checkpoint_that_is_not_whole_is_named(tmp_path: Path) -> None:
    models = Models(folder=tmp_path / "models", hub="off")
    whole = tmp_path / "models" / "o" / "n"
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    shards = {
        "config.json": SMALL["config.json"],
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1-of-2.safetensors": safetensors(1000),
    }
    place(tmp_path / "models", shards)
    assert await refused(tmp_path / "1", models, checkpoint()) == (
        f"put model-2-of-2.safetensors of o/n into {whole}"
    )
    place(tmp_path / "models", {"model-2-of-2.safetensors": safetensors(1000)[:-1]})
    assert await refused(tmp_path / "2", models, checkpoint()) == (
        f"model-2-of-2.safetensors in {whole} is cut short or damaged (1.1 kB); delete it and "
        "load the model again"
    )


async def test_a_shard_that_the_hub_lacks_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1-of-2.safetensors": safetensors(1000),
    }
    with hub(o__n=files) as served:
        models = group(tmp_path, served, "modelscope")
        assert await refused(tmp_path, models, checkpoint()) == (
            f"put model-2-of-2.safetensors of o/n into {tmp_path}/models/o/n"
        )


async def test_another_architecture_is_refused_before_it_is_read(
    tmp_path: Path, small: Hub
) -> None:
    model = checkpoint(architecture="Large")
    assert await refused(tmp_path, group(tmp_path, small, "modelscope"), model) == (
        f"{tmp_path}/models/o/n holds another model: its config.json names Small, not Large"
    )


async def test_weights_larger_than_the_memory_are_refused_before_they_are_read(
    tmp_path: Path,
) -> None:
    models = Models(folder=tmp_path / "models", hub="off", device="cpu")
    numbers = 10**12
    head = json.dumps(
        {"w": {"dtype": "F16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}}
    ).encode()
    place(tmp_path / "models", {**SMALL, "model.safetensors": struct.pack("<Q", len(head)) + head})
    os.truncate(tmp_path / "models/o/n/model.safetensors", 8 + len(head) + 2 * numbers)  # a hole
    told = await refused(tmp_path, models, checkpoint())
    assert told.startswith("its weights alone need 4000 GB of memory, and this machine has ")


async def test_a_loader_without_memory_is_one_sentence(tmp_path: Path) -> None:
    class OutOfMemoryError(RuntimeError):
        """Its name is torch's."""

    for error in (MemoryError(), OutOfMemoryError("CUDA out of memory.\nTried to allocate")):

        def load(settings: Settings, error: Exception = error) -> Any:
            raise error

        models = Models(folder=tmp_path, hub="off")
        assert await refused(
            tmp_path / type(error).__name__, models, stubs.model(load, "real")
        ) == ("there is not enough memory for it; free some, or choose a smaller model")


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


def request(folder: Path, endpoint: str, name: str) -> str:
    """A line for the process that fetches."""
    asked = {"hub": name, "endpoint": endpoint, "token": "", "repo": "o/n", "pins": {}}
    return json.dumps({**asked, "patterns": FILES, "folder": str(folder / "o" / "n")}) + "\n"


@contextmanager
def fetching(
    folder: Path,
    endpoint: str,
    *program: str,
    name: str = "modelscope",
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The process that fetches, asked for the checkpoint."""
    with subprocess.Popen(
        [sys.executable, *(program or ("-m", "backends.engines.hub"))],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(request(folder, endpoint, name))
        process.stdin.flush()
        yield process


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says next."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def last_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says last."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readlines()[-1]))


def test_a_missing_library_becomes_the_command_that_brings_it(tmp_path: Path) -> None:
    lacks = "import sys; sys.modules['modelscope_hub'] = None; import backends.engines.hub.__main__"
    with fetching(tmp_path, "", "-c", lacks) as process:
        assert told(process) == {"done": 0, "total": 0}
        assert told(process) == {
            "failed": "the library modelscope_hub is missing; `make models` installs it",
            "zh": "缺少库 modelscope_hub；可用 `make models` 安装",
        }


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
