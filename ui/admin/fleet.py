"""
The top of Admin: how old the data is, the figures, and one card a service.

Drawn from one shared snapshot; the handlers that refresh it are in `page`.
"""

from html import escape

from backends.ops.cluster import Pod, Workload
from ui.admin.figures import tiles
from ui.admin.snapshot import View
from ui.draw import Tone, chip, note
from ui.shelf import progress
from ui.texts import TEXTS, say

EVERY = (2, 5, 15, 0)  # seconds between two refreshes; 0 is off
DEFAULT_EVERY = 5
_PATIENCE = 15
_OLD_FIGURES = 15.0  # seconds: three samples missed

# phase: class of the bar, tone of the word, the word
PHASES: dict[str, tuple[str, Tone, str]] = {
    "Running": ("run", "ok", "admin.running"),
    "Pending": ("pend", "mid", "admin.pending"),
    "Failed": ("crash", "bad", "admin.failed"),
    "Terminating": ("term", "info", "admin.terminating"),
}


def stamp(view: View, every: int) -> str:
    """The page script counts the age, so that a dead server shows; with refresh off it may grow."""
    patience = max(_PATIENCE, 2 * every + 5) if every else 10**9
    return (
        f'<div class="q-stamp" data-stamp="{view.at:.3f}" data-patience="{patience}"><i></i>'
        f"<span>{say('admin.updated_1')} <b data-age>0</b> {say('admin.updated_2')}</span>"
        f'<span class="st" role="alert">{say("admin.silent")}</span></div>'
    )


def overview(view: View) -> str:
    """Warnings, tiles and cards, as HTML."""
    warnings = [note("mid", escape(text)) for text in (*view.workloads.warnings, *view.warnings)]
    age = view.at - min(reading.at for reading in view.figures.values())
    if age > _OLD_FIGURES:
        warnings.append(note("mid", say("admin.old_figures", seconds=round(age))))
    cards = "".join(_card(workload) for workload in view.workloads.value)
    return f'{"".join(warnings)}{tiles(view.figures)}<div class="q-svcs q-wide">{cards}</div>'


def _card(workload: Workload) -> str:
    ready, wanted = workload.ready, workload.wanted
    tone = "ok" if ready == wanted else "warn" if ready else "bad"
    pods = "".join(_pod(pod) for pod in workload.pods)
    # what serves; the remarks say what is on its way
    serving = next((pod for pod in workload.pods if pod.model), workload.record)
    model, revision = escape(serving.model or "–"), serving.revision
    return (
        f'<section class="svc" data-service="{escape(workload.ref.name)}">'
        f'<div class="pods">{pods}</div>'
        f'<div class="who"><h2 class="nm">{escape(workload.ref.name)}</h2>'
        f'<p class="sub"><span class="mono">{model}</span>'
        f"<span>{say('admin.revision')} {revision}</span>"
        f"<span>{say('admin.in_flight')} <b>{workload.in_flight}</b></span>"
        f"<span>{_place(workload)}</span></p></div>"
        f'<div class="how">{_words(workload)} <span class="rd {tone}">{ready}/{wanted}</span></div>'
        f"{_remarks(workload)}</section>"
    )


def _words(workload: Workload) -> str:
    """The worst phase of its pods, in words: colour never speaks alone."""
    order = ["Failed", "Pending", "Terminating", "Running"]
    worst = min((pod.phase for pod in workload.pods), key=order.index, default="Pending")
    _, tone, key = PHASES[worst]
    return chip(tone, say(key))


def _place(workload: Workload) -> str:
    if workload.ref.namespace:
        return escape(f"{workload.ref.context} / {workload.ref.namespace}")
    return say("admin.this_process")


def _remarks(workload: Workload) -> str:
    lines = []
    if workload.loading:
        moving = progress(workload.progress)
        lines.append(note("info", say("admin.loads", model=workload.loading) + moving))
    lines += [note("bad", escape(pod.reason)) for pod in workload.pods if pod.reason]
    behind = [
        pod for pod in workload.pods
        if pod.phase == "Running" and pod.revision != workload.record.revision
    ]  # fmt: skip
    if behind and not workload.loading:
        names = {"model": behind[0].model, "wanted": workload.record.model}
        lines.append(note("mid", say("admin.behind", **names)))
    return "".join(lines)


def _pod(pod: Pod) -> str:
    bar, _, key = PHASES[pod.phase]
    english, chinese = TEXTS[key]
    name = escape(f"{pod.name}: {english} / {chinese}, {pod.model}, {pod.revision}")
    return f'<span class="pod {bar}" role="img" aria-label="{name}" title="{name}"><i></i></span>'
