"""
Where each model of a family stands: loaded, on its way, on disk, or how to get it; and its terms.

Pure, escaped HTML, for the tabs and for Admin. Memory is computed from the number of parameters:
weights alone, without what a run needs beside them.
"""

from collections.abc import Iterator
from html import escape

from backends import settings
from backends.engines import Model
from backends.engines.download import hub_of
from backends.engines.hub import amount
from backends.engines.weights import is_on_disk
from backends.families import Family
from backends.serving import Progress, Status
from ui.draw import Tone, bar, chip
from ui.texts import both, say


def shelf(family: Family, status: Status, group: settings.Models) -> str:
    """A fold with a line for each model, which opens to its terms; open while one is on its way."""
    lines = "".join(_line(model, status, group) for model in family.models.values())
    loads, is_open = (' data-loads="1"', " open") if status.loading else ("", "")
    return (
        f'<details class="q-others"{is_open}><summary>{say("shelf.all", count=len(family.models))}'
        f'</summary><ul class="q-shelf"{loads}>{lines}</ul></details>'
    )


def _line(model: Model, status: Status, group: settings.Models) -> str:
    tone, key = stands(model, status, group)
    state = say(f"shelf.{key}", hub=hub_of(model, group))
    moving = progress(status.progress) if key == "loading" else ""
    return (
        f'<li data-model="{escape(model.name)}" data-stands="{key}"><details><summary>'
        f"<b>{escape(model.title)}</b> {chip(tone, state)} <span>{both(*model.about)}</span>"
        f"</summary>{terms(model, key, group)}</details>{moving}</li>"
    )


def stands(model: Model, status: Status, group: settings.Models) -> tuple[Tone, str]:
    """Where the model is, as the end of a `shelf.` key, with its colour."""
    if model.name == status.model:
        return "ok", "loaded"
    if model.name == status.loading:
        return "mid", "loading"
    if status.pods and model.files:
        return "info", "in_pods"  # what lies on their disks, this process cannot see
    return "info", place(model, group)


def place(model: Model, group: settings.Models) -> str:
    """Where it is while it does not run."""
    if model.load is None:
        return "unknown"
    if not model.files:
        return "embedded" if model.embedded else "ready"
    if is_on_disk(model, group):
        return "on_disk"
    return "fetch" if hub_of(model, group) else "files"


def terms(model: Model, key: str, group: settings.Models) -> str:
    """Licence, territory, notice, memory, and how to get it."""
    rows = "".join(
        f"<div><dt>{say(name)}</dt><dd>{value}</dd></div>"
        for name, value in _terms(model, key, group)
        if value
    )
    return f"<dl>{rows}</dl>"


def _terms(model: Model, key: str, group: settings.Models) -> Iterator[tuple[str, str]]:
    yield "admin.licence", both(model.licence, model.licence_zh or model.licence)
    yield "admin.territory", both(model.territory, model.territory_zh)
    yield "shelf.notice", both(*model.notice) if model.notice[0] else ""
    yield "shelf.memory", memory(model)
    yield "shelf.how", how(model, key, group)


def memory(model: Model) -> str:
    """The weights at each number type; "" for a model whose parameters nobody counted."""
    if not model.parameters:
        return say("shelf.one_size") if model.embedded else ""
    sizes = {"small": 1, "bf16": 2, "full": 4}  # bytes for each
    return say("shelf.sizes", **{k: amount(n * model.parameters) for k, n in sizes.items()})


def how(model: Model, key: str, group: settings.Models) -> str:
    """What a person does to have it; "" where there is nothing to do."""
    if key in ("loaded", "loading", "unknown"):
        return ""
    words = {"files": ", ".join(model.files), "folder": f"{group.folder.name}/{model.source}"}
    if key == "fetch":
        return say("shelf.how_fetch", hub=hub_of(model, group), **words)
    return say(f"shelf.how_{'files' if key == 'files' else 'swap'}", **words)


def progress(now: Progress) -> str:
    """How far a load is, in words and as a bar."""
    if not now.stage:
        return ""
    if now.stage == "downloading" and now.total:
        words = say("shelf.downloading", done=amount(now.done), total=amount(now.total))
        return f'<p class="q-way" role="status">{words}{bar(now.done / now.total)}</p>'
    stage = "asking" if now.stage == "downloading" else now.stage
    return f'<p class="q-way" role="status">{say(f"shelf.{stage}")}</p>'
