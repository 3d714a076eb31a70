"""The service in this process: start, swap, drain, stream. Engines are exact stubs."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.engines import Capabilities
from backends.errors import BadInput, ModelLoadError, Unavailable
from backends.families import configured
from backends.identity import Ask
from backends.serving import Answer, State
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Batching, Server, Settings
from backends.telemetry import Instruments, request_id
from tests import stubs

ASK = Ask()


@asynccontextmanager
async def serving(
    *models: Any, state: Path, watch: float = 60.0, sample: Any = ("sample",), wait: bool = True
) -> AsyncIterator[LocalService]:
    settings = Settings(state_dir=state, batching=Batching(engine_threads=2))
    service = LocalService(
        stubs.family(*models, sample=sample), settings, Instruments(), Records(state), watch
    )
    await service.start()
    if wait:
        await settled(service)
    try:
        yield service
    finally:
        await service.close()


async def settled(service: LocalService) -> None:
    for _ in range(1000):
        if (await service.status()).state is not State.LOADING:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it is still loading")


async def test_a_request_before_the_model_is_there_is_told_to_come_back(tmp_path: Path) -> None:
    gate = threading.Event()
    engine = stubs.Recorder()

    def slow(settings: Settings) -> Any:
        gate.wait(20)
        return engine

    async with serving(stubs.model(slow, "slow"), state=tmp_path, wait=False) as service:
        with pytest.raises(ModelLoadError, match="still loading") as refused:
            await service.predict(["a"], ASK)
        assert refused.value.retry_after == 2
        assert not (await service.status()).is_ready
        gate.set()
        await settled(service)
        assert list(await service.predict(["a"], ASK)) == [("stub", "a")]


async def test_a_model_serves_only_after_it_answered_the_sample(tmp_path: Path) -> None:
    engine = stubs.Recorder()
    async with serving(stubs.model(engine), state=tmp_path, sample=("one", "two")) as service:
        assert engine.batches == [["one", "two"]] * 2  # warmed, then timed
        assert (await service.status()).state is State.READY


async def test_a_model_that_loses_outputs_of_the_sample_never_serves(tmp_path: Path) -> None:
    class Loses(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            return super().run(batch, emit)[1:]

    engine = Loses()
    async with serving(stubs.model(engine), state=tmp_path) as service:
        status = await service.status()
        assert status.state is State.FAILED
        assert "0 outputs for 1 items" in status.reason
        assert engine.closed == 1
        with pytest.raises(ModelLoadError, match="0 outputs"):
            await service.predict(["a"], ASK)


async def test_a_swap_loads_beside_and_the_old_engine_closes_once(tmp_path: Path) -> None:
    one, two = stubs.Recorder("one"), stubs.Recorder("two")
    async with serving(stubs.model(one), stubs.model(two), state=tmp_path) as service:
        before = await service.predict(["a"], ASK)
        await service.swap(ModelRecord(1, "two"))
        after = await service.predict(["a"], ASK)
        assert [(a.model, a.revision) for a in (before, after)] == [("one", 0), ("two", 1)]
    assert (one.closed, two.closed) == (1, 1)


async def test_an_engine_that_was_swapped_away_is_held_by_nobody(tmp_path: Path) -> None:
    two = stubs.Recorder("two")
    made: list[weakref.ref[Any]] = []

    def load(settings: Settings) -> Any:
        engine = stubs.Recorder("one")
        made.append(weakref.ref(engine))
        return engine

    models = (stubs.model(load, "one"), stubs.model(two))
    async with serving(*models, state=tmp_path) as service:
        await service.predict(["a"], ASK)
        await service.swap(ModelRecord(1, "two"))
        await asyncio.sleep(0.1)
        gc.collect()
        assert made[0]() is None


async def test_a_failed_load_changes_nothing_and_says_who_still_serves(tmp_path: Path) -> None:
    one = stubs.Recorder("one")

    def breaks(settings: Settings) -> Any:
        raise ModelLoadError("disk full", zh="磁盘已满")

    models = (stubs.model(one), stubs.model(breaks, "broken"))
    async with serving(*models, state=tmp_path) as service:
        with pytest.raises(ModelLoadError) as said:
            await service.swap(ModelRecord(1, "broken"))
        assert said.value.text == "broken could not be loaded: disk full; one still serves."
        assert said.value.zh == "无法加载 broken：磁盘已满；仍由 one 提供服务。"
        answer = await service.predict(["a"], ASK)
        assert (answer.model, answer.revision) == ("one", 0)
        assert one.closed == 0
        assert (await service.status()).loading == ""


SECRET = "/srv/weights/private.bin"


def crashes(settings: Settings) -> Any:
    """As a library does with a file that nobody thought of."""
    raise RuntimeError(f"{SECRET}: no such tensor\nand a second line")


async def test_an_error_that_nobody_foresaw_is_a_number_for_visitors_and_all_of_it_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, broken = stubs.model(stubs.Recorder("one")), stubs.model(crashes, "broken")
    async with serving(one, broken, state=tmp_path) as service:
        number = request_id.set("f00d" * 8)
        with pytest.raises(ModelLoadError) as said:
            await service.swap(ModelRecord(1, "broken"))
        request_id.reset(number)
        assert (await service.predict(["a"], ASK)).model == "one"
    assert said.value.text == (
        "broken could not be loaded: an error stopped it that was not foreseen (RuntimeError); "
        f"whoever runs this portal finds it in the log under {'f00d' * 8}; one still serves."
    )
    assert SECRET not in said.value.text + said.value.zh
    assert "编号 " + "f00d" * 8 in said.value.zh
    assert SECRET in said.value.detail
    assert "second line" not in said.value.detail
    (record,) = [each for each in caplog.records if each.message == "loader failed"]
    assert vars(record)["request_id"] == "f00d" * 8
    assert SECRET in caplog.text


async def test_a_service_that_never_loaded_tells_why_in_both_languages_and_no_path(
    tmp_path: Path,
) -> None:
    async with serving(stubs.model(crashes, "broken"), state=tmp_path) as service:
        status = await service.status()
        with pytest.raises(ModelLoadError) as said:
            await service.predict(["a"], ASK)
    assert status.state is State.FAILED
    assert (said.value.text, said.value.zh) == (status.reason, status.reason_zh)
    assert status.reason.startswith("broken could not be loaded: an error stopped it")
    assert status.reason.endswith("; nothing serves.")
    assert status.reason_zh.startswith("无法加载 broken：出现了意料之外的错误（RuntimeError）")
    assert status.reason_zh.endswith("；当前没有模型提供服务。")
    assert SECRET not in status.reason + status.reason_zh


async def test_an_old_revision_does_nothing(tmp_path: Path) -> None:
    one, two = stubs.Recorder("one"), stubs.Recorder("two")
    async with serving(stubs.model(one), stubs.model(two), state=tmp_path) as service:
        await service.swap(ModelRecord(5, "two"))
        await service.swap(ModelRecord(5, "one"))
        await service.swap(ModelRecord(4, "one"))
        assert (await service.status()).revision == 5
        assert (await service.predict(["a"], ASK)).model == "two"


async def test_a_model_that_cannot_be_loaded_here_is_refused_by_name(tmp_path: Path) -> None:
    one = stubs.Recorder("one")
    known = stubs.model(one)
    absent = stubs.Model(name="huge", title="Huge", load=None, licence="", about=("", ""))
    async with serving(known, absent, state=tmp_path) as service:
        for name in ("huge", "nonsense"):
            with pytest.raises(BadInput, match=f"'{name}' can be loaded here; there are one"):
                await service.swap(ModelRecord(1, name))


async def test_a_restart_comes_back_with_the_record(tmp_path: Path) -> None:
    one, two = stubs.Recorder("one"), stubs.Recorder("two")
    Records(tmp_path).write("stub", ModelRecord(3, "two"), seen=0)
    async with serving(stubs.model(one), stubs.model(two), state=tmp_path) as service:
        status = await service.status()
        assert (status.model, status.revision) == ("two", 3)
    assert one.batches == []


async def test_a_record_written_by_another_is_converged_to(tmp_path: Path) -> None:
    one, two = stubs.Recorder("one"), stubs.Recorder("two")
    models = (stubs.model(one), stubs.model(two))
    async with serving(*models, state=tmp_path, watch=0.01) as service:
        Records(tmp_path).write("stub", ModelRecord(1, "one", way="rolling"), seen=0)
        await asyncio.sleep(0.1)
        assert (await service.status()).revision == 0  # not this process's to change
        Records(tmp_path).write("stub", ModelRecord(2, "two"), seen=1)
        for _ in range(1000):
            if (await service.status()).revision == 2:
                break
            await asyncio.sleep(0.005)
        assert (await service.predict(["a"], ASK)).model == "two"


async def test_a_record_that_cannot_be_loaded_is_tried_once(tmp_path: Path) -> None:
    tries: list[int] = []

    def breaks(settings: Settings) -> Any:
        tries.append(1)
        raise OSError("no")

    models = (stubs.model(stubs.Recorder("one")), stubs.model(breaks, "broken"))
    async with serving(*models, state=tmp_path, watch=0.01) as service:
        Records(tmp_path).write("stub", ModelRecord(1, "broken"), seen=0)
        while not tries:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert tries == [1]
        assert (await service.predict(["a"], ASK)).model == "one"


async def test_draining_refuses_new_work_and_finishes_the_old(tmp_path: Path) -> None:
    gate = threading.Event()
    engine = stubs.Recorder()
    async with serving(stubs.model(engine), state=tmp_path) as service:
        engine.gate = gate
        while engine.entered.acquire(blocking=False):
            pass
        accepted = asyncio.create_task(service.predict(["accepted"], ASK))
        assert await asyncio.to_thread(engine.entered.acquire, timeout=20)
        draining = asyncio.create_task(service.drain(20))
        await asyncio.sleep(0.02)
        with pytest.raises(Unavailable, match="leaving"):
            await service.predict(["new"], ASK)
        assert (await service.status()).state is State.DRAINING
        assert not draining.done()
        gate.set()
        assert list(await accepted) == [("stub", "accepted")]
        await draining


async def test_what_an_engine_learnt_at_load_goes_before_its_models_word(tmp_path: Path) -> None:
    class Learns(stubs.Recorder):
        capabilities = Capabilities(languages=("en", "pt"))
        device = "two GPUs"

    declared = Capabilities(languages=("en",), streaming=True)
    async with serving(stubs.model(Learns(), capabilities=declared), state=tmp_path) as service:
        status = await service.status()
        assert status.capabilities == Capabilities(languages=("en", "pt"))
        assert status.device == "two GPUs"


async def test_a_stream_gives_its_parts_and_then_the_answer(tmp_path: Path) -> None:
    class Speaks(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            for index, item in enumerate(batch):
                for word in str(item).split():
                    emit(index, word)
            return super().run(batch, emit)

    async with serving(stubs.model(Speaks()), state=tmp_path) as service:
        parts = [part async for part in service.stream("a b c", ASK)]
        assert parts[:-1] == ["a", "b", "c"]
        assert isinstance(parts[-1], Answer)


async def test_a_reader_that_stops_takes_its_stream_along(tmp_path: Path) -> None:
    heard: list[bool] = []
    more = threading.Event()

    class Speaks(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            if batch[0] != "sample":
                emit(0, "first")
                assert more.wait(20)
                heard.append(emit(0, "second"))
            return super().run(batch, emit)

    async with serving(stubs.model(Speaks()), state=tmp_path) as service:
        stream = service.stream("a b c", ASK)
        assert await anext(stream) == "first"
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.02)
        more.set()
        for _ in range(1000):
            if heard:
                break
            await asyncio.sleep(0.005)
        assert heard == [False]
        assert (await service.status()).in_flight == 0


async def test_a_row_that_settings_make_is_there_only_with_them(tmp_path: Path) -> None:
    def made(model: Any, settings: Settings) -> Any:
        return replace(model, title=settings.server.host) if settings.server.host else None

    known, other = (stubs.model(stubs.Recorder(name)) for name in ("known", "other"))
    families = {"stub": stubs.family(known, replace(other, configure=made))}
    there = configured(families, Settings(server=Server(host="here")))["stub"].models
    assert {name: model.title for name, model in there.items()} == {"known": "", "other": "here"}
    assert list(configured(families, Settings(server=Server(host="")))["stub"].models) == ["known"]
