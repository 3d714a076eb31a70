"""
How a job ends: the row that says so, the count, the log line. Nothing of a picture is in it.
"""

import logging
from dataclasses import replace

from backends.errors import JobsError, QuartetError, TimedOut, Unavailable
from backends.jobs import JobState
from backends.jobs.runner import Made
from backends.jobs.store import Row
from backends.telemetry import Instruments

log = logging.getLogger(__name__)

STOPPED = JobsError(
    "The server stopped while this job ran; retry it.",
    zh="任务运行时服务器停止；请重试。",
)
WAITED = TimedOut(
    "This job waited until its time was up; send it again when less is waiting.",
    zh="该任务等待超时；请在空闲时重新提交。",
)
BUG = QuartetError(
    "Something went wrong here, not in your pictures; the details were logged.",
    zh="服务端出现错误，与您的图片无关；详情已记录。",
)


def ended(row: Row, state: JobState, now: float, keep_seconds: float) -> Row:
    return replace(row, state=state, ended=now, expires=now + keep_seconds)


def done(row: Row, made: Made, now: float, keep_seconds: float) -> Row:
    """With what to say beside the picture, and who made it."""
    after = ended(row, JobState.DONE, now, keep_seconds)
    return replace(after, notes=made.notes, model=made.model, revision=made.revision, pod=made.pod)


def failed(row: Row, error: QuartetError, now: float, keep_seconds: float) -> Row:
    """With the reason; what was not the pictures' fault may be tried again."""
    return replace(
        ended(row, JobState.FAILED, now, keep_seconds),
        error=error.text,
        error_zh=error.zh,
        error_type=type(error).__name__,
        can_retry=error is BUG or (isinstance(error, Unavailable) and error is not WAITED),
    )


def again(row: Row, now: float, keep_seconds: float) -> Row:
    """The next attempt of a failed job."""
    return replace(
        row,
        state=JobState.WAITING,
        queued=now,
        expires=now + keep_seconds,
        started=None,
        ended=None,
        attempt=row.attempt + 1,
        error="",
        error_zh="",
        error_type="",
        can_retry=False,
    )


def count(instruments: Instruments, outcome: str, row: Row) -> None:
    """`outcome` is ok, or the class of what ended the job."""
    end = row.ended or row.queued
    waited = max(0.0, (row.started or end) - row.queued)
    instruments.jobs.labels(outcome).inc()
    instruments.job_wait_seconds.observe(waited)
    facts = {"job": row.id, "outcome": outcome, "attempt": row.attempt, "waited": round(waited, 3)}
    if row.started is not None:
        ran = max(0.0, end - row.started)
        instruments.job_run_seconds.observe(ran)
        facts["ran"] = round(ran, 3)
    if row.request_id:
        facts["request_id"] = row.request_id
    log.info("job ended", extra=facts)
