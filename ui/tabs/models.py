"""
The loaded model, in words: what it can and cannot do, which others there are, and who can do
what it lacks. All of it comes from the family's table.
"""

from collections.abc import Iterable, Iterator
from html import escape

from backends.engines import Model
from backends.families import Family
from backends.serving import State, Status
from ui.draw import chip, note
from ui.texts import both, say


def draw_model(status: Status, family: Family) -> str:
    """Which model answers, what it can and cannot do, and how to get another."""
    model = family.models.get(status.model)
    if model is None or _is_gone(status):
        return f'<div class="q-model">{note("mid", _nothing_loaded(status))}</div>'
    runs = say("model.runs_on", model=model.title, device=status.device)
    limits = f"<p>{both(*model.limits)}</p>" if model.limits[0] else ""
    others = "".join(_others(other for other in family.models.values() if other is not model))
    return (
        f'<section class="q-model"><div class="q-model-top"><span>{runs}</span>'
        f"{chip('info', both(*model.about))}</div>{limits}<ul>{others}</ul></section>"
    )


def answered_by(title: str, revision: int, pod: str) -> tuple[str, str]:
    """Who gave an answer, in English and Chinese; `pod` is "" for this process."""
    at = (f", {pod}", f"，{pod}") if pod else ("", "")
    return f"{title}, revision {revision}{at[0]}", f"{title}，修订 {revision}{at[1]}"


def draw_lack(capability: str, status: Status, family: Family) -> str:
    """Why a control is off: the loaded model lacks the capability, and who has it."""
    model = family.models.get(status.model)
    if model is None:
        return _nothing_loaded(status)
    able = ", ".join(other.title for other in family.able(capability))
    if not able:
        return say(f"model.nobody.{capability}", model=model.title)
    return say(f"model.lacks.{capability}", model=model.title, others=able)


def _others(models: Iterable[Model]) -> Iterator[str]:
    """A line each, but one for those that the same is to be said of."""
    alike: dict[tuple[bool, tuple[str, str], str], list[str]] = {}
    for model in models:
        alike.setdefault((bool(model.load), model.about, model.device), []).append(model.title)
    for (loads, about, device), titles in alike.items():
        key = "model.can_load" if loads else "model.cannot_load"
        names = (", ".join(titles), "、".join(titles))
        yield f"<li>{say(key, model=names, about=about, device=device, count=len(titles))}</li>"


def _is_gone(status: Status) -> bool:
    """Runs elsewhere, and nobody there answers."""
    return bool(status.pods) and status.state is State.FAILED


def _nothing_loaded(status: Status) -> str:
    if _is_gone(status):
        return f"{say('model.gone')} {escape(status.reason)}"
    reason = escape(status.reason) if status.reason else say("model.still_loading")
    return f"{say('model.none')} {reason}"
