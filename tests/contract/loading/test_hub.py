"""Checkpoints from a hub: what is fetched, what goes on where it was cut, a sentence a fault."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends.identity import Ask
from backends.serving.record import ModelRecord
from backends.settings import Models
from tests.checkpoints import (
    FILES,
    HUBS,
    LARGE,
    SMALL,
    TITLES,
    checkpoint,
    fetching,
    group,
    last_of,
    place,
    refused,
    safetensors,
    serving,
)
from tests.hub import Hub, hub
from tests.running import wait_until

pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")
pytest.importorskip("huggingface_hub", reason="Install what real models need: make models")


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
