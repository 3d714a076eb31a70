"""A full memory: the halves of a batch once, then that batch alone fails, and nothing is kept."""

import asyncio
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from backends.engines import Emit
from backends.errors import OutOfMemory, Overloaded, TimedOut, Unavailable
from backends.identity import Ask
from backends.serving.batcher import Batcher
from backends.serving.grouping import Cost
from backends.serving.queueing import Slot
from backends.settings import Batching
from backends.telemetry import Instruments
from tests import stubs

ASK = Ask()


class Weights:
    """What a run holds while it runs."""


class Small(stubs.Recorder):
    """Has room for `room` items at once; remembers how much of earlier runs was still held."""

    def __init__(self, room: int, **more: Any) -> None:
        super().__init__(gate=threading.Event(), **more)
        self.room = room
        self.held: list[int] = []
        self._alive: weakref.WeakSet[Weights] = weakref.WeakSet()

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        outputs = super().run(batch, emit)
        self.held.append(len(self._alive))
        weights = Weights()
        self._alive.add(weights)
        if len(batch) > self.room:
            raise OutOfMemory("full")
        return outputs


async def asked(engine: Small, items: Sequence[Any]) -> tuple[list[Any], Batcher]:
    """What each item, a request of its own, got after all had waited for one batch."""
    batcher = Batcher("stub", Batching(max_batch=len(items)), Instruments(), 1, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine), revision=1))
    first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
    assert await asyncio.to_thread(engine.entered.acquire, timeout=20)
    tasks = [asyncio.create_task(batcher.submit([item], [1], ASK)) for item in items]
    while batcher.waiting < len(items):
        await asyncio.sleep(0.005)
    assert engine.gate is not None
    engine.gate.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True), batcher


def sizes(engine: Small) -> list[int]:
    return [len(batch) for batch in engine.batches[1:]]


async def test_a_batch_that_does_not_fit_is_answered_by_its_halves() -> None:
    engine = Small(room=4)
    answers, batcher = await asked(engine, range(8))
    assert [answer[0] for answer in answers] == [("stub", n) for n in range(8)]
    assert sizes(engine) == [8, 4, 4]
    await batcher.close()


async def test_halves_that_do_not_fit_fail_their_batch_alone() -> None:
    engine = Small(room=3)
    answers, batcher = await asked(engine, range(8))
    assert all(isinstance(answer, OutOfMemory) for answer in answers)
    assert sizes(engine) == [8, 4, 4]
    assert batcher.breaker_state == "closed"
    assert list(await batcher.submit(["next"], [1], ASK)) == [("stub", "next")]
    await batcher.close()


async def test_one_item_that_does_not_fit_is_not_tried_twice() -> None:
    engine = Small(room=1)
    engine.fails = lambda item: OutOfMemory("full") if item == "large" else None
    answers, batcher = await asked(engine, ["large"])
    assert isinstance(answers[0], OutOfMemory)
    assert sizes(engine) == [1]
    await batcher.close()


async def test_a_bad_item_in_a_half_still_fails_alone() -> None:
    engine = Small(room=4)

    def poison(item: Any) -> Exception | None:
        is_looked_at = len(engine.batches[-1]) <= engine.room
        return ValueError("poison") if item == 6 and is_looked_at else None

    engine.fails = poison
    answers, batcher = await asked(engine, range(8))
    assert [n for n, answer in enumerate(answers) if isinstance(answer, Exception)] == [6]
    assert sizes(engine) == [8, 4, 4, 2, 2, 1, 1]
    await batcher.close()


@pytest.mark.parametrize("error", [Unavailable("away"), TimedOut("late"), Overloaded("busy")])
async def test_what_a_server_elsewhere_did_is_not_tried_on_the_halves(error: Exception) -> None:
    engine = Small(room=8)
    engine.fails = lambda item: error if item == 3 else None
    answers, batcher = await asked(engine, range(8))
    assert answers == [error] * 8
    assert sizes(engine) == [8]
    await batcher.close()


async def test_what_a_failed_run_held_is_gone_before_its_halves_run() -> None:
    engine = Small(room=2)
    _, batcher = await asked(engine, range(4))
    assert sizes(engine) == [4, 2, 2]
    assert engine.held == [0] * 4
    await batcher.close()


async def test_asking_whether_a_caller_is_there_passes_nothing_on() -> None:
    class Asks(stubs.Recorder):
        def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
            assert emit(0, None)
            assert emit(0, "part")
            return super().run(batch, emit)

    parts: asyncio.Queue[Any] = asyncio.Queue()
    engine = Asks()
    batcher = Batcher("stub", Batching(), Instruments(), 1, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine), revision=1))
    await batcher.submit(["a"], [1], ASK, parts)
    assert [parts.get_nowait() for _ in range(parts.qsize())] == ["part"]
    await batcher.close()


@pytest.mark.parametrize(("own", "expected"), [({}, (4, "CPU")), ({"threads": 1}, (1, "CPU"))])
def test_an_engine_that_knows_its_threads_goes_before_its_model(
    own: dict[str, Any], expected: tuple[int, str]
) -> None:
    engine = stubs.Recorder()
    vars(engine).update(own)
    slot = Slot(engine, stubs.model(engine, threads=4), revision=1)
    assert (slot.threads, slot.device) == expected
    vars(engine)["device"] = "GPU"
    assert slot.device == "GPU"
