"""The six promises of the batcher, and what section "must-have tests" of its design asks."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.errors import BadInput, Overloaded, TimedOut, Unavailable
from backends.identity import Ask
from backends.serving.batcher import Batcher
from backends.serving.grouping import Cost
from backends.serving.queueing import Slot
from backends.settings import Batching
from backends.telemetry import Instruments
from tests import stubs

ASK = Ask()


@asynccontextmanager
async def batching(
    engine: stubs.Recorder, threads: int = 1, rate: float = 0.0, **knobs: Any
) -> AsyncIterator[Batcher]:
    batcher = Batcher("stub", Batching(**knobs), Instruments(), threads, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine), revision=1, rate=rate))
    try:
        yield batcher
    finally:
        if engine.gate is not None:
            engine.gate.set()
        await batcher.close()


async def entered(engine: stubs.Recorder, times: int = 1) -> None:
    for _ in range(times):
        assert await asyncio.to_thread(engine.entered.acquire, timeout=20)


async def until(claim: Callable[[], bool]) -> None:
    for _ in range(2000):
        if claim():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


def ask_in(seconds: float, priority: int = 0) -> Ask:
    return Ask(deadline=time.monotonic() + seconds, priority=priority)


async def test_it_gathers_what_waits_up_to_the_budget() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine, max_batch=4) as batcher:
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        rest = [asyncio.create_task(batcher.submit([n], [1], ASK)) for n in range(9)]
        await until(lambda: batcher.waiting == 9)
        assert engine.gate is not None
        engine.gate.set()
        answers = await asyncio.gather(first, *rest)
        assert [len(batch) for batch in engine.batches] == [1, 4, 4, 1]
        assert [answer[0] for answer in answers[1:]] == [("stub", n) for n in range(9)]


async def test_a_full_queue_refuses_at_once_and_names_its_true_length() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine, rate=10.0, max_queue_seconds=1.0) as batcher:
        tasks = [asyncio.create_task(batcher.submit(["a"], [1], ASK))]
        await entered(engine)
        tasks += [asyncio.create_task(batcher.submit([n] * 10, [1] * 10, ASK)) for n in range(3)]
        await until(lambda: batcher.waiting > 0)
        await asyncio.sleep(0.05)
        # 10 tokens are 1.0 s of work: not above the limit; 20 are. The third is refused whole.
        assert batcher.waiting == 20
        with pytest.raises(Overloaded, match=r"20 items wait, about 2\.0 s") as refused:
            batcher.admit()
        assert refused.value.retry_after == 2  # 2.0 - 1.0 / 2, rounded
        assert engine.gate is not None
        engine.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["Answer"] * 3 + ["Overloaded"]
        assert len(engine.seen) == 21


async def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    engine = stubs.Recorder()
    async with batching(engine, rate=1.0, max_queue_seconds=0.5) as batcher:
        answer = await batcher.submit(list(range(600)), [1] * 600, ASK)
        assert list(answer) == [("stub", n) for n in range(600)]


async def test_two_large_requests_are_each_answered_whole_or_refused_whole() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine, rate=100.0, max_queue_seconds=1.0) as batcher:
        two = [asyncio.create_task(batcher.submit(list(range(600)), [1] * 600, ASK)) for _ in "12"]
        await entered(engine)
        small = asyncio.create_task(batcher.submit(["small"], [1], ASK))
        await asyncio.sleep(0.05)
        assert engine.gate is not None
        engine.gate.set()
        results = await asyncio.gather(*two, small, return_exceptions=True)
        assert len(results[0]) == 600
        assert isinstance(results[1], Overloaded)
        assert isinstance(results[2], Overloaded)
        assert sorted(engine.seen) == list(range(600))


async def test_a_caller_who_left_is_skipped() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine) as batcher:
        stays = asyncio.create_task(batcher.submit(["runs"], [1], ASK))
        await entered(engine)
        leaves = asyncio.create_task(batcher.submit(["gone"] * 5, [1] * 5, ASK))
        later = asyncio.create_task(batcher.submit(["later"], [1], ASK))
        await until(lambda: batcher.waiting == 6)
        leaves.cancel()
        await until(lambda: batcher.waiting == 1)
        assert engine.gate is not None
        engine.gate.set()
        await asyncio.gather(stays, later)
        assert engine.seen == ["runs", "later"]
        assert batcher.in_flight == 0


async def test_a_caller_who_leaves_while_running_is_told_to_the_engine() -> None:
    told: list[bool] = []

    class Streams(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            outputs = super().run(batch, emit)
            told.append(emit(0, "part"))
            return outputs

    engine = Streams(gate=threading.Event())
    async with batching(engine) as batcher:
        task = asyncio.create_task(batcher.submit(["a"], [1], ASK))
        await entered(engine)
        task.cancel()
        await until(lambda: batcher.in_flight == 0)
        assert engine.gate is not None
        engine.gate.set()
        await until(lambda: bool(told))
        assert told == [False]


async def test_a_deadline_that_passed_in_the_queue_never_reaches_the_engine() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine) as batcher:
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        with pytest.raises(TimedOut, match="did not answer in the time"):
            await batcher.submit(["late"], [1], ask_in(0.05))
        assert batcher.waiting == 0
        assert engine.gate is not None
        engine.gate.set()
        await first
        assert engine.seen == ["first"]


async def test_a_deadline_ends_the_wait_for_an_engine_that_hangs() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine) as batcher:
        with pytest.raises(TimedOut):
            await batcher.submit(["hangs"], [1], ask_in(0.05))


async def test_the_engine_thread_itself_drops_what_is_late() -> None:
    engine = stubs.Recorder(gate=threading.Event())
    async with batching(engine) as batcher:
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        late = asyncio.create_task(batcher.submit(["late"], [1], ask_in(0.1)))
        await until(lambda: batcher.waiting == 1)
        assert engine.gate is not None
        time.sleep(0.15)  # the event loop is blocked: only the engine thread can notice
        engine.gate.set()
        time.sleep(0.1)
        with pytest.raises(TimedOut):
            await late
        await first
        assert engine.seen == ["first"]


async def test_too_few_outputs_are_an_error_and_nobody_gets_anothers_answer() -> None:
    class Loses(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            outputs = list(super().run(batch, emit))
            return outputs[1:] if len(outputs) > 1 else outputs

    engine = Loses()
    async with batching(engine, breaker_failures=99) as batcher:
        answer = await batcher.submit(list(range(5)), [1] * 5, ASK)
        # the counts never matched until each ran alone
        assert list(answer) == [("stub", n) for n in range(5)]
        assert [len(batch) for batch in engine.batches if len(batch) == 1] == [1] * 5


async def test_no_output_at_all_is_an_error_for_the_caller() -> None:
    class Silent(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            return []

    async with batching(Silent()) as batcher:
        with pytest.raises(RuntimeError, match="0 outputs of 1"):
            await batcher.submit(["a"], [1], ASK)


@pytest.mark.parametrize("place", [0, 1, 7, 15, 16, 30, 31])
async def test_a_bad_input_fails_alone_at_every_place(place: int) -> None:
    gate = threading.Event()
    engine = stubs.Recorder(
        gate=gate, fails=lambda item: ValueError("poison") if item == "bad" else None
    )
    async with batching(engine, max_batch=32) as batcher:
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        items = ["bad" if n == place else n for n in range(32)]
        tasks = [asyncio.create_task(batcher.submit([item], [1], ASK)) for item in items]
        await until(lambda: batcher.waiting == 32)
        gate.set()
        results = await asyncio.gather(first, *tasks, return_exceptions=True)
        failed = [n for n, result in enumerate(results[1:]) if isinstance(result, Exception)]
        assert failed == [place]
        assert batcher.breaker_state == "closed"
        assert len(engine.batches) <= 1 + 1 + 10  # ten extra runs find one among 32


@pytest.mark.parametrize("error", [Unavailable("gone"), TimedOut("silent"), Overloaded("busy")])
async def test_what_no_input_is_to_blame_for_fails_the_batch_without_a_search(
    error: Exception,
) -> None:
    engine = stubs.Recorder(fails=lambda item: error)
    async with batching(engine, max_batch=32) as batcher:
        with pytest.raises(type(error), match=str(error)):
            await batcher.submit(list(range(32)), [1] * 32, ASK)
        assert len(engine.batches) == 1


async def test_a_busy_model_server_does_not_stop_a_service(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = stubs.Recorder(fails=lambda item: Overloaded("busy", retry_after=1))
    async with batching(engine, breaker_failures=2) as batcher:
        for _ in range(5):
            with pytest.raises(Overloaded):
                await batcher.submit(["a"], [1], ASK)
        assert batcher.breaker_state == "closed"
    assert "engine failed" not in caplog.text


async def test_an_error_drops_the_rest_of_its_own_request_only() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate, fails=lambda i: BadInput("no") if i == "bad" else None)
    async with batching(engine, max_batch=4) as batcher:
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        bad = asyncio.create_task(batcher.submit(["bad"] + ["rest"] * 20, [1] * 21, ASK))
        good = asyncio.create_task(batcher.submit(["good"], [1], ASK))
        await until(lambda: batcher.waiting == 22)
        gate.set()
        with pytest.raises(BadInput):
            await bad
        await asyncio.gather(first, good)
        assert engine.seen.count("rest") < 20
        assert batcher.waiting == 0
        assert batcher.in_flight == 0


async def test_everyone_is_answered_when_it_closes() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate)
    async with batching(engine) as batcher:
        running = asyncio.create_task(batcher.submit(["runs"], [1], ASK))
        await entered(engine)
        waiting = [asyncio.create_task(batcher.submit([n], [1], ASK)) for n in range(40)]
        await until(lambda: batcher.waiting == 40)
        closing = asyncio.create_task(batcher.close())
        await until(lambda: all(task.done() for task in waiting))  # while the engine still runs
        gate.set()
        await closing
        assert list(await running) == [("stub", "runs")]
        for task in waiting:
            with pytest.raises(Unavailable, match="shutting down"):
                await task
        assert engine.closed == 1
        with pytest.raises(Unavailable):
            await batcher.submit(["after"], [1], ASK)


async def test_an_engine_that_never_returns_does_not_keep_its_callers() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate)
    async with batching(engine) as batcher:
        stuck = asyncio.create_task(batcher.submit(["stuck"], [1], ASK))
        await entered(engine)
        await batcher.close(seconds=0.1)
        with pytest.raises(Unavailable):
            await stuck
        gate.set()


async def test_the_breaker_opens_answers_all_who_wait_and_closes_after_a_good_probe() -> None:
    broken = [True]
    gate = threading.Event()
    gate.set()
    engine = stubs.Recorder(gate=gate, fails=lambda i: ValueError("down") if broken[0] else None)
    async with batching(engine, breaker_failures=3, breaker_seconds=0.3) as batcher:
        for _ in range(2):
            with pytest.raises(ValueError, match="down"):
                await batcher.submit(["a"], [1], ASK)
        gate.clear()
        third = asyncio.create_task(batcher.submit(["third"], [1], ASK))
        await entered(engine, 3)
        waiting = asyncio.create_task(batcher.submit(["waits"], [1], ASK))
        await until(lambda: batcher.waiting == 1)
        gate.set()
        results = await asyncio.gather(third, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, Unavailable]
        with pytest.raises(Unavailable, match="failed 3 times in a row") as refused:
            batcher.admit()
        assert refused.value.retry_after == 1
        ran = len(engine.batches)
        await asyncio.sleep(0.35)
        with pytest.raises(ValueError, match="down"):  # the probe, and it fails
            await batcher.submit(["probe"], [1], ASK)
        assert len(engine.batches) == ran + 1
        with pytest.raises(Unavailable):
            await batcher.submit(["refused"], [1], ASK)
        await asyncio.sleep(0.35)
        broken[0] = False
        assert list(await batcher.submit(["well"], [1], ASK)) == [("stub", "well")]
        assert batcher.breaker_state == "closed"


async def test_only_one_batch_is_tried_while_the_breaker_is_half_open() -> None:
    gate = threading.Event()
    gate.set()
    engine = stubs.Recorder(gate=gate, fails=lambda item: ValueError("down"))
    knobs = {"breaker_failures": 1, "breaker_seconds": 0.2, "max_batch": 1}
    async with batching(engine, threads=2, **knobs) as batcher:
        with pytest.raises(ValueError, match="down"):
            await batcher.submit(["a"], [1], ASK)
        await asyncio.sleep(0.25)
        gate.clear()
        tasks = [asyncio.create_task(batcher.submit([n], [1], ASK)) for n in range(4)]
        await entered(engine, 2)  # the first failure, and the probe
        await asyncio.sleep(0.1)
        assert engine.running == 1
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(r) for r in results] == [ValueError, Unavailable, Unavailable, Unavailable]


async def test_bad_input_never_opens_the_breaker() -> None:
    engine = stubs.Recorder(fails=lambda item: BadInput("not that"))
    async with batching(engine, breaker_failures=2) as batcher:
        for _ in range(5):
            with pytest.raises(BadInput):
                await batcher.submit(["a"], [1], ASK)
        assert batcher.breaker_state == "closed"


async def test_a_request_is_answered_by_one_engine_across_an_exchange() -> None:
    gate = threading.Event()
    old, new = stubs.Recorder("old", gate=gate), stubs.Recorder("new")
    async with batching(old, max_batch=4) as batcher:
        large = asyncio.create_task(batcher.submit(list(range(10)), [1] * 10, ASK))
        await entered(old)
        untouched = asyncio.create_task(batcher.submit(["untouched"], [1], ASK))
        await until(lambda: batcher.waiting == 7)
        batcher.exchange(Slot(new, stubs.model(new), revision=2))
        fresh = asyncio.create_task(batcher.submit(["fresh"], [1], ASK))
        gate.set()
        answers = await asyncio.gather(large, untouched, fresh)
        assert [(a.model, a.revision) for a in answers] == [("old", 1), ("new", 2), ("new", 2)]
        assert list(answers[0]) == [("old", n) for n in range(10)]
        await until(lambda: old.closed == 1)
        assert new.closed == 0
    assert (old.closed, new.closed) == (1, 1)


async def test_several_threads_share_one_queue_and_a_swap_replaces_all_of_them() -> None:
    gate = threading.Event()
    old, new = stubs.Recorder("old", gate=gate), stubs.Recorder("new")
    async with batching(old, threads=3, max_batch=1) as batcher:
        tasks = [asyncio.create_task(batcher.submit([n], [1], ASK)) for n in range(6)]
        await entered(old, 3)
        assert old.most_running == 3
        batcher.exchange(Slot(new, stubs.model(new), revision=2))
        await until(lambda: len(new.seen) == 0)
        gate.set()
        answers = await asyncio.gather(*tasks)
        assert [a.model for a in answers] == ["old"] * 3 + ["new"] * 3
        await until(lambda: old.closed == 1)


async def test_a_model_for_one_thread_is_run_by_one_at_a_time() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate)
    batcher = Batcher("stub", Batching(max_batch=1), Instruments(), 3, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine, threads=1), revision=1))
    tasks = [asyncio.create_task(batcher.submit([n], [1], ASK)) for n in range(5)]
    await entered(engine)
    gate.set()
    await asyncio.gather(*tasks)
    assert engine.most_running == 1
    await batcher.close()


async def test_parts_arrive_in_order_before_the_answer_and_are_never_run_twice() -> None:
    class Streams(stubs.Recorder):
        def run(self, batch: Any, emit: Any) -> Any:
            super().run(batch, emit)
            for index, item in enumerate(batch):
                emit(index, f"{item}-1")
                assert emit(index, None)  # only asks
                emit(index, f"{item}-2")
            if "bad" in batch:
                raise ValueError("poison")
            return [str(item) for item in batch]

    gate = threading.Event()
    engine = Streams(gate=gate)
    async with batching(engine) as batcher:
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in range(2)]
        first = asyncio.create_task(batcher.submit(["first"], [1], ASK))
        await entered(engine)
        good = asyncio.create_task(batcher.submit(["good"], [1], ASK, queues[0]))
        bad = asyncio.create_task(batcher.submit(["bad"], [1], ASK, queues[1]))
        await until(lambda: batcher.waiting == 2)
        gate.set()
        await asyncio.gather(first, good, bad, return_exceptions=True)
        assert [queues[0].get_nowait() for _ in range(queues[0].qsize())] == ["good-1", "good-2"]
        # it had spoken before its neighbour failed: saying it again would be worse
        assert isinstance(good.exception(), ValueError)
        assert engine.seen.count("good") == 1


async def test_priority_is_a_head_start_and_not_a_lock_out() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate)
    async with batching(engine, max_batch=1) as batcher:
        tasks = [asyncio.create_task(batcher.submit(["first"], [1], ASK))]
        await entered(engine)
        for name, priority in (("plain", 0), ("urgent", 5), ("lazy", -5)):
            ask = Ask(priority=priority)
            tasks.append(asyncio.create_task(batcher.submit([name], [1], ask)))
            await until(lambda: batcher.waiting == len(tasks) - 1)
        gate.set()
        await asyncio.gather(*tasks)
        assert engine.seen == ["first", "urgent", "plain", "lazy"]


async def test_the_counts_come_back_to_zero_after_a_storm() -> None:
    engine = stubs.Recorder(fails=lambda i: ValueError("odd") if i % 7 == 3 else None)
    instruments = Instruments()
    batcher = Batcher("stub", Batching(max_batch=4), instruments, 3, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine), revision=1))
    tasks = [asyncio.create_task(batcher.submit([n, n + 1], [1, 2], ASK)) for n in range(300)]
    for task in tasks[::5]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is not None for result in results)
    assert (batcher.waiting, batcher.in_flight) == (0, 0)
    for name in ("waiting", "queue_tokens", "in_flight"):
        assert instruments.registry.get_sample_value(f"quartet_{name}", {"service": "stub"}) == 0
    await batcher.close()
    assert engine.closed == 1


async def test_idle_waits_for_accepted_work_and_gives_up_in_time() -> None:
    gate = threading.Event()
    engine = stubs.Recorder(gate=gate)
    async with batching(engine) as batcher:
        assert await batcher.idle(0.01)
        task = asyncio.create_task(batcher.submit(["a"], [1], ASK))
        await entered(engine)
        assert not await batcher.idle(0.05)
        gate.set()
        assert await batcher.idle(20)
        await task
