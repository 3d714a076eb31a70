"""
Everybody's jobs on Admin: how they are, and their end. Never a picture, never a result.
"""

from html import escape
from typing import Any

import gradio as gr

from backends.errors import NotFound, QuartetError
from backends.identity import Principal, Role
from backends.jobs import Job, JobState
from backends.ops.oversight import Oversight
from backends.portal import Portal
from ui.admin.confirm import NOT_ASKED, Question, question, shown, told
from ui.admin.pane import Pane, refused
from ui.admin.snapshot import Snapshot, View
from ui.admin.table import SHOWN, button, more, span, table
from ui.draw import Tone, bar, chip, empty, heading, html
from ui.guard import guarded, require
from ui.texts import both, say

ASK = "jobs-ask"
HEADS = ("job", "state", "tenant", "progress", "age", "duration", "error", "actions")
STATES: dict[JobState, tuple[Tone, str]] = {
    JobState.WAITING: ("mid", "admin.job_waiting"),
    JobState.RUNNING: ("info", "admin.job_running"),
    JobState.DONE: ("ok", "admin.job_done"),
    JobState.FAILED: ("bad", "admin.job_failed"),
    JobState.CANCELLED: ("info", "admin.job_cancelled"),
}


def build(portal: Portal, oversight: Oversight, snapshot: Snapshot) -> Pane:
    with gr.Column(elem_classes="q-panel"):
        html(heading(say("admin.jobs"), say("admin.jobs_small")))
        message = html(elem_id="jobs-message", elem_classes="q-slot")
        asking = question("jobs", message)
        lines = html(elem_id="jobs-table")
    done = _wire(portal, oversight, snapshot, asking)
    return Pane(lines, draw, (), lambda who: (), (done,))


def _wire(portal: Portal, oversight: Oversight, snapshot: Snapshot, asking: Question) -> Any:
    @guarded(portal)
    async def ask_job(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        verb, _, number = (chosen or "").partition(" ")
        job = next((each for each in await oversight.jobs() if each.id == number), None)
        if job is None or verb not in ("cancel", "delete"):
            return *NOT_ASKED, told("mid", say("admin.job_gone"))
        return *shown(*_question(verb, job), (verb, job.id)), ""

    @guarded(portal)
    async def keep_job(request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        return *NOT_ASKED, ""

    @guarded(portal)
    async def end_job(asked: tuple[str, str] | None, request: gr.Request) -> tuple[Any, ...]:
        who = require(portal, request, Role.OPERATOR)
        if asked is None:
            return *NOT_ASKED, ""
        return *NOT_ASKED, await _end(oversight, snapshot, *asked, who)

    return asking.wire(ask_job, keep_job, end_job)


async def _end(
    oversight: Oversight, snapshot: Snapshot, verb: str, job: str, who: Principal
) -> str:
    """What became of it, as HTML."""
    try:
        if verb == "delete":
            await oversight.delete(job, who)
            return told("ok", say("admin.job_was_deleted", job=job))
        ended = await oversight.cancel(job, who)
        tone, key = STATES[ended.state]
        state = chip(tone, say(key))
        return told("ok", f"{say('admin.job_was_ended', job=job)} {state}")
    except NotFound:
        return told("mid", say("admin.job_gone"))
    except QuartetError as error:
        return refused(error)
    finally:
        snapshot.forget()


def _question(verb: str, job: Job) -> tuple[str, str]:
    values = {"job": job.id, "tenant": job.tenant}
    return say(f"admin.{verb}_job_title", **values), say(f"admin.{verb}_job_sure", **values)


def draw(view: View, who: Principal) -> str:
    """The newest jobs, as HTML."""
    if not view.jobs:
        return empty(say("admin.no_jobs"), say("admin.no_jobs_hint"))
    heads = [f"admin.{head}" for head in HEADS]
    rows = (_row(job, view.at, who) for job in view.jobs[:SHOWN])
    return table("admin.jobs", heads, rows) + more(len(view.jobs))


def _row(job: Job, now: float, who: Principal) -> tuple[str, ...]:
    return (
        f'<span class="mono">{escape(job.id)}</span>',
        _state(job),
        escape(job.tenant),
        _progress(job),
        span(max(0.0, now - job.created)),
        "–" if job.started is None else span(max(0.0, (job.ended or now) - job.started)),
        both(job.error, job.error_zh or job.error) if job.error else "–",
        _buttons(job, who),
    )


def _state(job: Job) -> str:
    tone, key = STATES[job.state]
    place = f" {say('admin.place', position=job.position)}" if job.position else ""
    return f"{chip(tone, say(key))}{place}"


def _progress(job: Job) -> str:
    percent = f'<span class="mono">{100 * job.progress:.0f}%</span>'
    return f"{bar(job.progress)} {percent}" if job.progress else "–"


def _buttons(job: Job, who: Principal) -> str:
    cancel = button(who, Role.OPERATOR, "admin.cancel", ASK, f"cancel {job.id}")
    delete = button(who, Role.OPERATOR, "admin.delete", ASK, f"delete {job.id}")
    return f'<div class="q-acts">{"" if job.state.is_final else cancel}{delete}</div>'
