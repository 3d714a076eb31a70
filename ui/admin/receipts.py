"""What the swap card shows: a model, a change under review, a receipt. Pure, escaped HTML."""

from html import escape

from backends import settings
from backends.engines import Model
from backends.engines.download import hub_of
from backends.errors import QuartetError
from backends.families import Family
from backends.identity import Role
from backends.ops.cluster import Workload
from backends.ops.swap import Plan, Receipt
from ui.draw import chip, note
from ui.shelf import how, memory, place
from ui.texts import both, say


def about(family: Family, chosen: str | None, workload: Workload, group: settings.Models) -> str:
    """The chosen model: what it is, its terms, its limits; and what cannot be chosen."""
    model = family.models.get(chosen or "")
    shown = _facts(model, workload, group) if model else ""
    unloadable = [m.title for m in family.models.values() if m.load is None]
    known = (
        f'<p class="q-sub">{say("admin.known", models=", ".join(unloadable))}</p>'
        if unloadable
        else ""
    )
    return f'<div class="q-about">{shown}{known}</div>'


def _facts(model: Model, workload: Workload, group: settings.Models) -> str:
    rows = [
        ("admin.licence", both(model.licence, model.licence_zh or model.licence)),
        ("admin.source", escape(model.source)),
        ("admin.runs_on", escape(model.device)),
        ("admin.territory", both(model.territory, model.territory_zh)),
        ("shelf.notice", both(*model.notice) if model.notice[0] else ""),
        ("shelf.memory", memory(model)),
        *_files(model, workload, group),
    ]
    facts = "".join(
        f"<div><dt>{say(key)}</dt><dd>{value}</dd></div>" for key, value in rows if value
    )
    runs = any(pod.model == model.name for pod in workload.pods)  # not what is on its way
    state = chip("ok", say("admin.runs_now")) if runs else ""
    limits = f"<p>{both(*model.limits)}</p>" if model.limits[0] else ""
    return (
        f'<p class="q-about-top">{chip("info", both(*model.about))} {state}</p>'
        f"{limits}<dl>{facts}</dl>"
    )


def _files(model: Model, workload: Workload, group: settings.Models) -> list[tuple[str, str]]:
    if not model.files:
        return []
    key = "in_pods" if workload.elsewhere else place(model, group)
    rows = [("shelf.files_are", say(f"shelf.{key}", hub=hub_of(model, group)))]
    return [*rows, ("shelf.how", how(model, key, group))] if key == "files" else rows


def lacks(role: Role) -> str:
    """Why the buttons are off."""
    return note("info", say("admin.lacks", role=role.value))


def change(plan: Plan) -> str:
    """The change under review: old and new, and the consequences. It takes the focus."""
    sentences = "".join(f"<li>{both(*sentence)}</li>" for sentence in plan.consequences)
    name = f"<code>{escape(plan.ref.name)}</code>"
    rows = "".join(
        f'<tr class="chg"><th scope="row">{say(key)}</th><td>{old}</td>'
        f"<td>→</td><td><b>{new}</b></td></tr>"
        for key, old, new in (
            ("admin.model", escape(plan.before.model or "–"), escape(plan.model)),
            ("admin.revision_label", plan.before.revision, plan.before.revision + 1),
        )
    )
    return (
        f'<section class="q-change" tabindex="-1"><h3>{say("admin.confirm")} {name}</h3>'
        f"<table>{rows}</table><ul>{sentences}</ul></section>"
    )


def not_agreed() -> str:
    return _focusable(note("mid", say("admin.agreed_needed")))


def nothing_reviewed() -> str:
    return note("info", say("admin.nothing_reviewed"))


def refused(error: QuartetError) -> str:
    """A refusal, in its own words, where it was met."""
    text = both(error.text, error.zh or error.text)
    return _focusable(note("bad", text))


def receipt(ended: Receipt) -> str:
    """How it ended, how long it took, and what requests met meanwhile."""
    figures = say(
        "admin.meanwhile",
        took=f"{ended.seconds:.1f} s" if ended.seconds >= 1 else f"{1000 * ended.seconds:.0f} ms",
        answered=ended.answered,
        failed=ended.failed,
    )
    values = {
        "service": ended.ref.name,
        "model": ended.after.model,
        "revision": ended.after.revision,
        "asked": ended.asked,
    }
    if ended.undone:
        why = both(ended.undone, ended.undone_zh or ended.undone)
        story = f"{say('admin.was_undone', **values)} {why}"
        return _focusable(note("bad", f"{story}<br>{figures}"))
    return _focusable(note("ok", f"<b>{say('admin.swapped', **values)}</b><br>{figures}"))


def last(workload: Workload, family: Family) -> str:
    """The change that stands: who, when, and what was there before."""
    record = workload.record
    if not record.by:
        return f'<p class="q-sub">{say("admin.never_swapped")}</p>'
    before = family.models.get(record.previous)
    values = {
        "model": record.model,
        "revision": record.revision,
        "by": record.by,
        "when": f"{record.when[:10]} {record.when[11:16]} UTC",
        "previous": before.title if before else record.previous or "–",
    }
    return f'<p class="q-sub">{say("admin.last", **values)}</p>'


def _focusable(inner: str) -> str:
    return inner.replace("<div ", '<div tabindex="-1" ', 1)
