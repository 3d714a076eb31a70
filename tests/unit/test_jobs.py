"""Jobs: recorded, run once, seen by their owner only, and gone from the disk in time."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.engines.fusion import Progress
from backends.errors import (
    BadInput,
    Conflict,
    JobsError,
    NotFound,
    Overloaded,
    QuartetError,
    Unavailable,
)
from backends.identity import ANONYMOUS, Ask, Principal
from backends.jobs import Job, JobState, Packing
from backends.jobs.embedded import EmbeddedJobs
from backends.jobs.owners import TOKEN_PREFIX, bearer
from backends.jobs.store import Row, Store
from backends.serving import Answer
from backends.settings import Jobs
from backends.telemetry import Instruments

ANNA = Principal("anna", tenant="one", method="account")
BERT = Principal("bert", tenant="two", method="account")
PLAIN = Packing(
    pack=lambda item: item.encode(),
    unpack=lambda packed: packed.decode(),
    finish=lambda output: (f"file of {output}".encode(), (("a note", "备注"),)),
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """
    A service that a test opens step by step. `hold` keeps every job at its first step until it
    is set; `fails` says what a job ends with instead of an answer.
    """

    name = "fusion"

    def __init__(self, fails: Callable[[str], Exception | None] = lambda item: None) -> None:
        self.hold = asyncio.Event()
        self.hold.set()
        self.fails = fails
        self.began: list[str] = []
        self.left: list[str] = []
        self.asks: list[Ask] = []
        self.running = 0
        self.most_running = 0

    async def stream(self, item: str, ask: Ask) -> AsyncIterator[Any]:
        self.began.append(item)
        self.asks.append(ask)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        finished = False
        try:
            yield Progress(0.25, "finding")
            await self.hold.wait()
            if (error := self.fails(item)) is not None:
                raise error
            yield Progress(0.75, "fusing")
            yield Answer((item.upper(),), "stub", 7, 1, 0.0, 0.0, "pod:1")
            finished = True
        finally:
            self.running -= 1
            if not finished:
                self.left.append(item)


class House:
    """A folder of jobs, and as many starts over it as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.service = Service()
        self.instruments = Instruments()
        self.opened: list[EmbeddedJobs] = []

    async def start(self, packing: Packing = PLAIN, **knobs: Any) -> EmbeddedJobs:
        jobs = EmbeddedJobs(
            Jobs(**knobs), self.folder, self.service, packing, self.instruments, self.clock
        )
        await jobs.start()
        self.opened.append(jobs)
        return jobs

    def files(self) -> list[str]:
        return sorted(path.suffix for path in (self.folder / "files").iterdir())

    def counted(self, outcome: str) -> float:
        value = self.instruments.registry.get_sample_value(
            "quartet_jobs_total", {"outcome": outcome}
        )
        return value or 0.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    house.service.hold.set()
    for jobs in house.opened:
        await jobs.close()


async def until(jobs: EmbeddedJobs, job: Job, state: JobState, who: Principal = ANNA) -> Job:
    """Watch until it is so; the whole test has a time limit of its own."""
    async with asyncio.timeout(20):
        async for now in jobs.watch(job.id, who):
            if now.state is state:
                return now
    raise AssertionError(f"it never was {state}")


async def submit(jobs: EmbeddedJobs, item: str, who: Principal = ANNA, priority: int = 0) -> Job:
    return await jobs.submit(item, Ask(who, priority=priority))


async def running(jobs: EmbeddedJobs, house: House, item: str = "held") -> Job:
    """A job that runs and will not end by itself."""
    house.service.hold.clear()
    job = await submit(jobs, item)
    async with asyncio.timeout(20):
        async for now in jobs.watch(job.id, ANNA):
            if now.progress:
                return now
    raise AssertionError("it never ran")


# ---- the way of a job


async def test_a_job_is_recorded_before_it_is_answered(house: House) -> None:
    house.service.hold.clear()
    jobs = await house.start()
    job = await submit(jobs, "pixels")
    with sqlite3.connect(house.folder / "jobs.db") as table:
        assert table.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]
    table.close()
    assert house.files() == [".item"]
    assert job.state is JobState.WAITING


async def test_a_job_ends_with_its_file_and_its_notes(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert await jobs.result(done.id, ANNA) == b"file of FACE"
    assert (done.progress, done.notes, done.error) == (1.0, (("a note", "备注"),), "")
    assert house.files() == [".result"]  # what was uploaded is gone as soon as it is not needed
    assert house.counted("ok") == 1


async def test_a_job_knows_who_made_its_picture_after_a_restart_too(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert (done.model, done.revision, done.pod) == ("stub", 7, "pod:1")
    await jobs.close()
    again = await (await house.start()).get(done.id, ANNA)
    assert (again.model, again.revision, again.pod) == ("stub", 7, "pod:1")


async def test_a_table_of_before_gains_what_it_lacks(house: House) -> None:
    jobs = await house.start()
    old = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    await jobs.close()
    with closing(sqlite3.connect(house.folder / "jobs.db", isolation_level=None)) as table:
        for column in ("model", "revision", "pod"):
            table.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    jobs = await house.start()
    found = await jobs.get(old.id, ANNA)
    assert (found.state, found.model, found.revision, found.pod) == (JobState.DONE, "", 0, "")
    assert await jobs.result(old.id, ANNA) == b"file of FACE"


async def test_a_watcher_sees_every_step_and_then_the_end(house: House) -> None:
    house.service.hold.clear()
    jobs = await house.start()
    job = await submit(jobs, "face")
    seen: list[Job] = []
    async with asyncio.timeout(20):
        async for now in jobs.watch(job.id, ANNA):
            seen.append(now)
            if now.progress == 0.25:
                await submit(jobs, "another's step is no change of this one", BERT)
                await asyncio.sleep(0.05)
                house.service.hold.set()
    states = list(dict.fromkeys(now.state for now in seen))
    assert states[-2:] == [JobState.RUNNING, JobState.DONE]
    assert (0.25, "finding") in [(now.progress, now.stage) for now in seen]
    assert len(set(seen)) == len(seen)
    assert not jobs._watchers


async def test_the_ask_travels_with_the_job(house: House) -> None:
    jobs = await house.start()
    ask = Ask(ANNA, priority=3, trace="00-abc-def-01", request_id="r1")
    await until(jobs, await jobs.submit("face", ask), JobState.DONE)
    (seen,) = house.service.asks
    assert (seen.principal.subject, seen.principal.tenant) == ("anna", "one")
    assert (seen.priority, seen.trace, seen.request_id) == (3, "00-abc-def-01", "r1")


async def test_a_waiting_job_says_its_place_and_moves_up(house: House) -> None:
    jobs = await house.start()
    await running(jobs, house)
    first, second = await submit(jobs, "first"), await submit(jobs, "second")
    assert [first.position, second.position] == [1, 2]
    await jobs.cancel(first.id, ANNA)
    assert (await jobs.get(second.id, ANNA)).position == 1
    assert house.instruments.registry.get_sample_value("quartet_jobs_waiting") == 1


async def test_as_many_jobs_run_at_once_as_there_are_workers(house: House) -> None:
    jobs = await house.start(workers=2)
    house.service.hold.clear()
    mine = [await submit(jobs, f"job {n}") for n in range(4)]
    for job in mine[:2]:
        await until(jobs, job, JobState.RUNNING)
    house.service.hold.set()
    for job in mine:
        await until(jobs, job, JobState.DONE)
    assert house.service.most_running == 2


async def test_mine_are_mine_newest_first(house: House) -> None:
    jobs = await house.start()
    first = await submit(jobs, "first")
    await submit(jobs, "bert's", BERT)
    house.clock.now += 1
    second = await submit(jobs, "second")
    assert [job.id for job in await jobs.mine(ANNA)] == [second.id, first.id]


# ---- cancelling, retrying, deleting


async def test_a_job_cancelled_while_it_waits_never_runs(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    waiting = await submit(jobs, "never")
    cancelled = await jobs.cancel(waiting.id, ANNA)
    house.service.hold.set()
    await until(jobs, held, JobState.DONE)
    assert cancelled.state is JobState.CANCELLED
    assert house.service.began == ["held"]
    assert house.files() == [".result"]
    assert house.counted("Cancelled") == 1


async def test_a_job_cancelled_while_it_runs_stops_and_makes_room(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    following = await submit(jobs, "following")
    assert (await jobs.cancel(held.id, ANNA)).state is JobState.CANCELLED
    house.service.hold.set()
    await until(jobs, following, JobState.DONE)
    assert house.service.left == ["held"]
    assert (await jobs.get(held.id, ANNA)).state is JobState.CANCELLED


async def test_a_job_that_has_ended_stays_as_it_is_when_cancelled(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert await jobs.cancel(done.id, ANNA) == done
    assert await jobs.result(done.id, ANNA)


async def test_a_deleted_job_is_gone_from_the_disk_at_once(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    held = await running(jobs, house)
    for job in (done, held):
        await jobs.delete(job.id, ANNA)
        with pytest.raises(NotFound):
            await jobs.get(job.id, ANNA)
    assert house.files() == []


async def test_a_result_that_is_not_there_yet_is_a_conflict(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    with pytest.raises(Conflict, match="it is running"):
        await jobs.result(held.id, ANNA)
    with pytest.raises(Conflict, match="can be retried"):
        await jobs.retry(held.id, ANNA)


async def test_whoever_is_too_late_changes_nothing(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    row = await jobs._do(Store.get, held.id)
    await jobs.cancel(held.id, ANNA)
    late = replace(row, state=JobState.DONE)
    assert not await jobs._do(Store.finish, row, late, b"a result that comes too late")
    assert not await jobs._do(Store.end, row, replace(row, state=JobState.FAILED))
    assert (await jobs.get(held.id, ANNA)).state is JobState.CANCELLED
    assert house.files() == []


# ---- failing


async def test_a_bad_picture_fails_with_its_sentence_and_cannot_be_retried(house: House) -> None:
    house.service.fails = lambda item: BadInput("No face was found.", zh="未找到人脸。")
    jobs = await house.start()
    failed = await until(jobs, await submit(jobs, "wall"), JobState.FAILED)
    assert (failed.error, failed.error_zh) == ("No face was found.", "未找到人脸。")
    assert (failed.error_type, failed.can_retry) == ("BadInput", False)
    assert house.files() == []
    with pytest.raises(Conflict, match="No face was found"):
        await jobs.result(failed.id, ANNA)
    with pytest.raises(Conflict, match="can be retried"):
        await jobs.retry(failed.id, ANNA)


async def test_a_bug_is_an_apology_to_the_owner_and_a_trace_to_us(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.service.fails = lambda item: ZeroDivisionError("ours")
    jobs = await house.start()
    failed = await until(jobs, await submit(jobs, "face"), JobState.FAILED)
    assert "Something went wrong here" in failed.error
    assert "ours" not in failed.error
    assert [r.exc_info is not None for r in caplog.records if r.message == "job failed"] == [True]
    assert house.counted("ZeroDivisionError") == 1
    house.service.fails = lambda item: None
    await jobs.retry(failed.id, ANNA)
    again = await until(jobs, failed, JobState.DONE)
    assert (again.attempt, again.error) == (2, "")


async def test_a_busy_service_is_asked_again(house: House) -> None:
    answers = iter([Overloaded("Busy.", retry_after=0), Unavailable("Loading.", retry_after=0)])
    house.service.fails = lambda item: next(answers, None)
    jobs = await house.start()
    await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert house.service.began == ["face"] * 3


@pytest.mark.parametrize("error", [Overloaded("Busy.", retry_after=1), Unavailable("Gone.")])
async def test_a_service_that_stays_busy_fails_the_job_when_patience_ends(
    house: House, error: QuartetError
) -> None:
    house.service.fails = lambda item: error
    jobs = await house.start(patience_seconds=0)
    failed = await until(jobs, await submit(jobs, "face"), JobState.FAILED)
    assert failed.error == error.text
    assert house.service.began == ["face"]


async def test_nothing_of_a_picture_is_logged(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    jobs = await house.start()
    await until(jobs, await submit(jobs, "secret-pixels"), JobState.DONE)
    house.service.fails = lambda item: RuntimeError("broken")
    await until(jobs, await submit(jobs, "secret-pixels"), JobState.FAILED)
    said = "".join(str(vars(record)) for record in caplog.records)
    assert "job ended" in said
    assert "pixels" not in said.lower()


# ---- owners


async def outcomes(jobs: EmbeddedJobs, job: str, who: Principal) -> list[str]:
    """What every method says to `who` about the job."""

    async def watched() -> None:
        async for _ in jobs.watch(job, who):
            return

    asked = [
        jobs.get(job, who),
        jobs.result(job, who),
        watched(),
        jobs.retry(job, who),
        jobs.cancel(job, who),
        jobs.delete(job, who),
    ]
    told = await asyncio.gather(*asked, return_exceptions=True)
    return sorted({type(one).__name__ for one in told})


async def test_to_everybody_else_a_job_does_not_exist(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    strangers = (
        BERT,
        ANONYMOUS,
        Principal("anna", tenant="two", method="account"),
        bearer("anna"),
        bearer("qj_guess"),
    )
    for stranger in strangers:
        assert await outcomes(jobs, done.id, stranger) == ["NotFound"]
        assert done.id not in [job.id for job in await jobs.mine(stranger)]
    assert await jobs.result(done.id, ANNA)
    with pytest.raises(NotFound) as unknown:
        await jobs.get("no-such-job", ANNA)
    with pytest.raises(NotFound) as anothers:
        await jobs.get(done.id, BERT)
    assert unknown.value.text == anothers.value.text


async def test_an_anonymous_caller_gets_a_token_once_and_it_is_not_on_the_disk(
    house: House,
) -> None:
    jobs = await house.start()
    job = await jobs.submit("face", Ask(ANONYMOUS))
    assert job.token.startswith(TOKEN_PREFIX)
    me = bearer(job.token)
    done = await until(jobs, job, JobState.DONE, me)
    assert done.token == ""
    assert await jobs.result(job.id, me) == b"file of FACE"
    assert await outcomes(jobs, job.id, ANONYMOUS) == ["NotFound"]
    assert await jobs.mine(ANONYMOUS) == []
    kept = b"".join(path.read_bytes() for path in house.folder.rglob("*") if path.is_file())
    assert job.token.encode() not in kept


async def test_who_can_prove_it_otherwise_gets_no_token(house: House) -> None:
    jobs = await house.start()
    assert (await submit(jobs, "face")).token == ""


# ---- expiry


async def test_a_result_is_gone_from_the_disk_after_its_expiry(house: House) -> None:
    jobs = await house.start(expiry_seconds=100)
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert done.expires == house.clock.now + 100
    house.clock.now += 99
    await jobs.sweep()
    assert await jobs.result(done.id, ANNA)
    house.clock.now += 1
    with pytest.raises(NotFound):  # even before the next sweep
        await jobs.result(done.id, ANNA)
    assert await jobs.mine(ANNA) == []
    await jobs.sweep()
    assert house.files() == []
    assert await jobs._do(Store.get, done.id) is None


async def test_a_job_that_waited_too_long_fails_and_then_goes(house: House) -> None:
    jobs = await house.start(expiry_seconds=100)
    held = await running(jobs, house)
    waiting = await submit(jobs, "waiting")
    house.clock.now += 100
    await jobs.sweep()
    failed = await jobs.get(waiting.id, ANNA)
    assert (failed.state, failed.error_type) == (JobState.FAILED, "TimedOut")
    assert "waited until its time was up" in failed.error
    assert (await jobs.get(held.id, ANNA)).state is JobState.RUNNING  # it began in time
    house.clock.now += 100
    await jobs.sweep()
    with pytest.raises(NotFound):
        await jobs.get(waiting.id, ANNA)
    assert house.files() == [".item"]


# ---- starting again


async def test_what_waited_runs_after_a_restart_and_what_ran_has_failed(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    waiting = await submit(jobs, "waiting")
    await jobs.close()
    house.service.hold.set()
    jobs = await house.start()
    await until(jobs, waiting, JobState.DONE)
    failed = await jobs.get(held.id, ANNA)
    assert (failed.state, failed.can_retry) == (JobState.FAILED, True)
    assert failed.error == "The server stopped while this job ran; retry it."
    assert house.service.began == ["held", "waiting"]
    await jobs.retry(held.id, ANNA)
    again = await until(jobs, held, JobState.DONE)
    assert again.attempt == 2
    assert await jobs.result(held.id, ANNA) == b"file of HELD"


async def test_half_written_files_are_removed_at_the_start(house: House) -> None:
    jobs = await house.start()
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    await jobs.close()
    for name in ("lost.item", "lost.part", f"{done.id}.item"):
        (house.folder / "files" / name).write_bytes(b"left behind")
    jobs = await house.start()
    assert house.files() == [".result"]
    assert await jobs.result(done.id, ANNA)


async def test_two_processes_cannot_keep_jobs_in_one_folder(house: House) -> None:
    await house.start()
    with pytest.raises(JobsError, match="Another process keeps its jobs"):
        await house.start()


async def test_a_drain_takes_and_starts_nothing_new(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    waiting = await submit(jobs, "waiting")
    drained = asyncio.create_task(jobs.drain(20))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="is leaving"):
        await submit(jobs, "late")
    house.service.hold.set()
    await drained
    assert (await jobs.get(held.id, ANNA)).state is JobState.DONE
    assert (await jobs.get(waiting.id, ANNA)).state is JobState.WAITING


async def test_watchers_are_let_go_when_the_store_closes(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    waiting = await submit(jobs, "waiting")

    async def watch(job: Job) -> list[JobState]:
        return [now.state async for now in jobs.watch(job.id, ANNA)]

    watching = [asyncio.create_task(watch(job)) for job in (held, waiting)]
    while len(jobs._watchers) < 2:
        await asyncio.sleep(0.01)
    await jobs.close()
    async with asyncio.timeout(20):
        for seen in await asyncio.gather(*watching):
            assert JobState.DONE not in seen


# ---- bounds


async def test_a_caller_may_have_ten_jobs_waiting_and_others_still_some(house: House) -> None:
    jobs = await house.start()
    await running(jobs, house)
    for n in range(10):
        await submit(jobs, f"job {n}")
    with pytest.raises(Overloaded, match="You have 10 jobs waiting") as refusal:
        await submit(jobs, "one more")
    assert refusal.value.retry_after
    await submit(jobs, "bert's", BERT)
    assert len(house.files()) == 12  # the refused one left nothing


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"waiting": 3}, "Too many jobs wait"),
        ({"waiting_per_tenant": 3}, "Too many jobs wait"),
        ({"disk_bytes": 32}, "no room for more pictures"),
    ],
)
async def test_the_queue_and_the_disk_are_bounded(
    house: House, knobs: dict[str, int], words: str
) -> None:
    jobs = await house.start(**knobs)
    await running(jobs, house)
    for n in range(3):
        await submit(jobs, f"a job {n}")
    with pytest.raises(Overloaded, match=words):
        await submit(jobs, "one more")
    assert len(house.files()) == 4


async def test_one_tenant_cannot_fill_the_queue_for_another(house: House) -> None:
    jobs = await house.start(waiting_per_tenant=2)
    await running(jobs, house)
    for n in range(2):
        await submit(jobs, f"job {n}")
    assert (await submit(jobs, "bert's", BERT)).state is JobState.WAITING


async def test_many_at_once_do_not_pass_the_bound_together(house: House) -> None:
    jobs = await house.start()
    await running(jobs, house)
    told = await asyncio.gather(
        *(submit(jobs, f"job {n}") for n in range(25)), return_exceptions=True
    )
    assert sum(isinstance(one, Job) for one in told) == 10
    assert sum(isinstance(one, Overloaded) for one in told) == 15


async def test_fifty_jobs_of_five_tenants_run_in_turns(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = await house.start()
    await running(jobs, house)
    mine: list[tuple[Principal, Job]] = []
    for tenant in "abcde":  # all of a's come first, all of e's last
        who = Principal("someone", tenant=tenant, method="account")
        for n in range(10):
            mine.append((who, await submit(jobs, f"{tenant}{n}", who)))
            house.clock.now += 1
    house.service.hold.set()
    for who, job in mine:
        await until(jobs, job, JobState.DONE, who)
    order = house.service.began[1:]
    print(" ".join(order))
    assert order == [f"{tenant}{n}" for n in range(10) for tenant in "abcde"]
    assert "a0 b0 c0 d0 e0 a1" in capsys.readouterr().out


async def test_priority_moves_a_callers_own_jobs(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    mine = []
    for name, priority in (("a", 0), ("b", 1), ("c", 2)):
        mine.append(await submit(jobs, name, priority=priority))
        house.clock.now += 1
    house.service.hold.set()
    for job in [held, *mine]:
        await until(jobs, job, JobState.DONE)
    assert house.service.began == ["held", "c", "b", "a"]


# ---- trouble with the disk


async def test_a_disk_that_refuses_is_one_sentence(house: House) -> None:
    jobs = await house.start()
    (house.folder / "files").rename(house.folder / "away")
    with pytest.raises(JobsError, match="The job store could not be used"):
        await submit(jobs, "face")
    (house.folder / "away").rename(house.folder / "files")
    await until(jobs, await submit(jobs, "face"), JobState.DONE)


async def test_a_job_that_cannot_be_recorded_leaves_nothing(house: House) -> None:
    jobs = await house.start()
    row = Row("id", "one", "anna", "", 0, "", "", JobState.WAITING, 0.0, 0.0, 9e9)
    with pytest.raises(JobsError):
        await jobs._do(Store.add, replace(row, priority="high"), b"pixels")
    assert house.files() == []


async def test_a_result_that_cannot_be_kept_fails_the_job(house: House) -> None:
    jobs = await house.start()
    held = await running(jobs, house)
    (house.folder / "files").rename(house.folder / "away")
    house.service.hold.set()
    failed = await until(jobs, held, JobState.FAILED)
    (house.folder / "away").rename(house.folder / "files")
    assert (failed.error_type, failed.can_retry) == ("JobsError", True)
    await jobs.retry(held.id, ANNA)
    await until(jobs, held, JobState.DONE)


async def test_packing_does_not_hold_the_event_loop(house: House) -> None:
    threads: list[tuple[str, str]] = []

    def noted(name: str, value: Any) -> Any:
        threads.append((name, threading.current_thread().name))
        return value

    packing = Packing(
        pack=lambda item: noted("pack", item.encode()),
        unpack=lambda packed: noted("unpack", packed.decode()),
        finish=lambda output: noted("finish", (output.encode(), ())),
    )
    jobs = await house.start(packing)
    await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert [name for name, _ in threads] == ["pack", "unpack", "finish"]
    assert threading.main_thread().name not in {thread for _, thread in threads}
