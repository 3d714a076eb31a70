"""Everybody's jobs for who runs the portal: listed, ended, removed, audited, never looked into."""

from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import pytest

from backends.errors import NotFound
from backends.identity import ANONYMOUS, Principal, Role
from backends.jobs import EveryJob, Job, JobState
from backends.ops.audit import Audit
from backends.ops.changes import Changes
from backends.ops.oversight import Oversight
from tests.unit.test_jobs import ANNA, BERT, House, running, submit, until

OLGA = Principal("olga", roles=frozenset({Role.VIEWER, Role.OPERATOR}), method="account")


class Office:
    def __init__(self, folder: Path) -> None:
        self.house = House(folder / "jobs")
        self.audit = Audit(folder / "audit.jsonl")

    def written(self) -> list[tuple[str, ...]]:
        lines = reversed(self.audit.lines(99))
        return [(line.event, line.object, line.before, line.after, line.outcome) for line in lines]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    yield office
    office.house.service.hold.set()
    for jobs in office.house.opened:
        await jobs.close()
    office.audit.close()


async def test_everybody_s_jobs_are_listed_with_their_tenant_newest_first(office: Office) -> None:
    jobs = await office.house.start()
    oversight = Oversight(jobs, Changes(office.audit))
    office.house.service.hold.clear()
    first = await running(jobs, office.house)
    second = await submit(jobs, "b", BERT)
    third = await submit(jobs, "c", ANONYMOUS)
    found = await oversight.jobs()
    assert [job.id for job in found] == [third.id, second.id, first.id]
    assert [job.tenant for job in found] == ["anonymous", "two", "one"]
    assert [job.position for job in found] == [2, 1, 0]
    assert found[2].started is not None
    assert not any(job.token for job in found)  # it was told once, to its owner


def test_nothing_of_what_was_sent_or_came_out_can_be_had_here() -> None:
    verbs = {name for name in vars(EveryJob) if not name.startswith("_")}
    assert verbs == {"everyones", "stop", "remove"}
    assert not {field.name for field in fields(Job)} & {"item", "result", "picture", "file"}


async def test_a_running_job_of_anybody_is_cancelled_and_its_owner_sees_it(office: Office) -> None:
    jobs = await office.house.start()
    oversight = Oversight(jobs, Changes(office.audit))
    job = await running(jobs, office.house)
    assert (await oversight.cancel(job.id, OLGA)).state is JobState.CANCELLED
    assert (await jobs.get(job.id, ANNA)).state is JobState.CANCELLED
    assert office.house.counted("Cancelled") == 1
    name, before = f"jobs/{job.id}", "running, of tenant one"
    assert office.written() == [
        ("intent", name, before, "cancelled", ""),
        ("outcome", name, before, "cancelled", "done: it is cancelled"),
    ]


async def test_a_job_that_has_ended_stays_as_it_is_and_nothing_is_written(office: Office) -> None:
    jobs = await office.house.start()
    oversight = Oversight(jobs, Changes(office.audit))
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert (await oversight.cancel(done.id, OLGA)).state is JobState.DONE
    assert office.written() == []


async def test_a_deleted_job_is_gone_with_its_pictures_even_while_it_runs(office: Office) -> None:
    jobs = await office.house.start()
    oversight = Oversight(jobs, Changes(office.audit))
    done = await until(jobs, await submit(jobs, "face"), JobState.DONE)
    held = await running(jobs, office.house)
    for job in (done, held):
        await oversight.delete(job.id, OLGA)
        with pytest.raises(NotFound):
            await jobs.get(job.id, ANNA)
    assert office.house.files() == []
    assert [line[3:] for line in office.written() if line[0] == "outcome"] == [
        ("deleted", "done"),
        ("deleted", "done"),
    ]


async def test_a_job_that_is_not_there_is_said_and_nothing_is_written(office: Office) -> None:
    oversight = Oversight(await office.house.start(), Changes(office.audit))
    for act in (oversight.cancel, oversight.delete):
        with pytest.raises(NotFound, match="no such job"):
            await act("nothing", OLGA)
    assert office.written() == []


async def test_what_has_expired_is_not_listed(office: Office) -> None:
    jobs = await office.house.start(expiry_seconds=60)
    oversight = Oversight(jobs, Changes(office.audit))
    await until(jobs, await submit(jobs, "face"), JobState.DONE)
    assert len(await oversight.jobs()) == 1
    office.house.clock.now += 61
    assert await oversight.jobs() == []
