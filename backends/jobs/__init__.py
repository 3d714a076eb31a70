"""
Jobs: fusion items that are answered later.

The protocol that pages and routes know, and the frozen `Job` that they show. A job is recorded
before it is answered; it belongs to one owner, and to everybody else it does not exist; it ends
as done, failed with a reason, or cancelled, and never as silence; at its expiry, or when its
owner says so, its pictures are gone from the disk.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from backends.identity import Ask, Principal


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Job:
    """
    A job as it is now. `progress` is 0 to 1 and `stage` what is being done; `position` counts
    from 1 for the next one to run, and is 0 when it does not wait. `created`, `started`,
    `expires` and `ended` are `time.time()` seconds. `error` is a sentence for its owner,
    `can_retry` whether `retry` may help. `notes` are (English, Chinese).
    `model`, `revision` and `pod` say who made the picture, as in an `Answer`. `token` is set
    once, in the answer to a caller who has no other way to prove that the job is theirs.
    """

    id: str
    tenant: str
    owner: str
    state: JobState
    created: float
    expires: float
    progress: float = 0.0
    stage: str = ""
    position: int = 0
    attempt: int = 1
    started: float | None = None
    ended: float | None = None
    error: str = ""
    error_zh: str = ""
    error_type: str = ""
    can_retry: bool = False
    notes: tuple[tuple[str, str], ...] = ()
    model: str = ""
    revision: int = 0
    pod: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Packing:
    """
    How a family's items and outputs become bytes on a disk. `finish` gives what the owner gets:
    a file's bytes, and what to say beside it as (English, Chinese).
    """

    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    finish: Callable[[Any], tuple[bytes, tuple[tuple[str, str], ...]]]


class EveryJob(Protocol):
    """
    All jobs, for who runs the portal: how they are, and their end. What was sent and what came
    out belongs to the owner alone, so neither can be had here.
    """

    async def everyones(self) -> Sequence[Job]:
        """Every job that has not expired, the newest first."""
        ...

    async def stop(self, job: str) -> Job:
        """Cancel it, whoever owns it; one that has ended stays as it is. Raises NotFound."""
        ...

    async def remove(self, job: str) -> None:
        """Cancel it if need be, and remove it with its pictures. Raises NotFound."""
        ...


class Jobs(EveryJob, Protocol):
    """Every method with a `who` refuses another's job with NotFound, as if it were not there."""

    async def submit(self, item: Any, ask: Ask) -> Job:
        """Record the job, then answer. Raises Overloaded when too many wait."""
        ...

    async def get(self, job: str, who: Principal) -> Job: ...

    async def mine(self, who: Principal) -> Sequence[Job]:
        """The caller's jobs that have not expired, the newest first."""
        ...

    def watch(self, job: str, who: Principal) -> AsyncIterator[Job]:
        """The job now, then after every change; ends with its final state."""
        ...

    async def result(self, job: str, who: Principal) -> bytes:
        """The finished file. Raises Conflict while there is none."""
        ...

    async def cancel(self, job: str, who: Principal) -> Job:
        """Stop it at the next step; a job that has ended stays as it is."""
        ...

    async def retry(self, job: str, who: Principal) -> Job:
        """Queue a failed job again. Raises Conflict where that cannot help."""
        ...

    async def delete(self, job: str, who: Principal) -> None:
        """Cancel it if need be, and remove it and its pictures from the disk now."""
        ...

    async def drain(self, seconds: float) -> None:
        """Take and start nothing new; return when what runs has ended or time is up."""
        ...

    async def close(self) -> None: ...
