"""
The loaded model, in words: what it can and cannot do, where the others of its family stand, and
who can do what it lacks. All of it comes from the family's table.
"""

from html import escape
from typing import Any

from backends import settings
from backends.families import Family
from backends.serving import State, Status
from ui.draw import chip, note
from ui.shelf import shelf
from ui.texts import both, listed, say


def draw_model(status: Status, family: Family, group: settings.Models) -> str:
    """Which model answers, what it can and cannot do, and where each model of the family stands."""
    model = family.models.get(status.model)
    others = shelf(family, status, group)
    if model is None or _is_gone(status):
        return f'<div class="q-model">{note("mid", _nothing_loaded(status))}{others}</div>'
    runs = say("model.runs_on", model=model.title, device=status.device)
    limits = f"<p>{both(*model.limits)}</p>" if model.limits[0] else ""
    remarks = "".join(f"<p>{both(remark.en, remark.zh)}</p>" for remark in status.remarks)
    return (
        f'<section class="q-model"><div class="q-model-top"><span>{runs}</span>'
        f"{chip('info', both(*model.about))}</div>{limits}{remarks}{others}</section>"
    )


def answered_by(title: str, revision: int, pod: str) -> tuple[str, str]:
    """Who gave an answer, in English and Chinese; `pod` is "" for this process."""
    at = (f", {pod}", f"，{pod}") if pod else ("", "")
    return f"{title}, revision {revision}{at[0]}", f"{title}，修订 {revision}{at[1]}"


def terms(family: Family, name: str, provider: str = "") -> str:
    """What the licence of a model wants said under each of its results; "" where it wants none."""
    model = family.models.get(name)
    if model is None or not model.terms_with_results:
        return ""
    facts: dict[str, Any] = {
        "model": model.title,
        "licence": model.licence,
        "territory": (model.territory, model.territory_zh),
    }
    who = say("model.provider", provider=provider) if provider else ""
    more = (
        f"<details><summary>{say('model.more_terms')}</summary>{both(*model.notice)}</details>"
        if model.notice[0]
        else ""
    )
    return note("info", f"{say(f'{family.name}.terms', **facts)} {who}{more}")


def _is_gone(status: Status) -> bool:
    """Runs elsewhere, and nobody there answers."""
    return bool(status.pods) and status.state is State.FAILED


def draw_lack(capability: str, status: Status, family: Family) -> str:
    """Why a control is off: the loaded model lacks the capability, and who has it."""
    model = family.models.get(status.model)
    if model is None or _is_gone(status):
        return say("model.off")  # the card tells why
    able = [other.title for other in family.able(capability)]
    if not able:
        return say(f"model.nobody.{capability}", model=model.title)
    return say(f"model.lacks.{capability}", model=model.title, others=listed(able, "and", "和"))


def _nothing_loaded(status: Status) -> str:
    if _is_gone(status):
        return f"{say('model.gone')} {_why(status)}"
    return f"{say('model.none')} {_why(status) if status.reason else say('model.still_loading')}"


def _why(status: Status) -> str:
    return both(status.reason, status.reason_zh) if status.reason_zh else _english(status.reason)


def _english(reason: str) -> str:
    return f'<span lang="en">{escape(reason)}</span>'
