"""
Rerank: a query and documents in, a ranking out.

The screen and its handlers; what can go wrong is in `request`, what is drawn in `ranking`, and
the code to copy in `samples`. The loaded model is read when the page opens, when it comes back
into view and after each run, because Admin may have exchanged it meanwhile.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.errors import BadInput
from backends.portal import Portal
from backends.serving.wire.text import clean
from ui.draw import empty, hint, html, note
from ui.guard import QUIET, ask, guarded, noted, validator
from ui.tabs import examples
from ui.tabs.documents import READERS, read_lines
from ui.tabs.frame import CodeFold, chips, code_fold, draw_code
from ui.tabs.models import answered_by, draw_lack, draw_model
from ui.tabs.pictures import photo, uploads
from ui.tabs.ranking import draw_ranking, rank
from ui.tabs.request import ORDER, Uploaded, all_documents, file_documents, notes, read, wrong
from ui.tabs.samples import samples
from ui.texts import both, label, say

if TYPE_CHECKING:
    from ui.shell import Page

NAME = "rerank"
TOP_N = 10

_EMPTIED: dict[str, Any] = {"interactive": False, "value": None}


@dataclass(frozen=True, slots=True)
class Inputs:
    tries: tuple[gr.Button, ...]
    query: gr.Textbox
    pictures: gr.Gallery
    pictures_note: gr.HTML
    documents: gr.Textbox
    file: gr.File
    file_note: gr.HTML
    top_n: gr.Number
    threshold: gr.Slider
    instruction: gr.Textbox
    instruction_note: gr.HTML
    query_picture: gr.Gallery
    query_picture_note: gr.HTML
    go: gr.Button

    def all(self) -> list[Any]:
        return [getattr(self, name) for name in ORDER]


@dataclass(frozen=True, slots=True)
class Outputs:
    result: gr.HTML
    model: gr.HTML
    fold: CodeFold


def build(portal: Portal, page: "Page") -> None:
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            given = _inputs()
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            shown = _outputs()
    handlers = Handlers(portal)
    _connect_runs(portal, handlers, page, given, shown)
    _connect_inputs(portal, handlers, page, given, shown)


def _inputs() -> Inputs:
    first = examples.RERANK[0]
    tries = chips(each.key for each in examples.RERANK)
    query = gr.Textbox(
        first.query,
        label=label("rerank.query"),
        placeholder=label("rerank.query_hint"),
        max_lines=4,
        elem_id="rerank-query",
    )
    pictures = uploads(label=label("rerank.pictures"), elem_id="rerank-pictures")
    pictures_note = html(elem_id="rerank-pictures-note", elem_classes="q-slot")
    documents = gr.Textbox(
        "\n".join(first.documents),
        label=label("rerank.documents"),
        placeholder=label("rerank.documents_hint"),
        lines=8,
        max_lines=14,
        elem_id="rerank-documents",
    )
    file = gr.File(
        label=label("rerank.file"),
        file_types=list(READERS),
        height=84,
        elem_id="rerank-file",
        elem_classes="q-drop",
    )
    file_note = html(elem_id="rerank-file-note", elem_classes="q-slot")
    options = _options()
    go = gr.Button(label("rerank.go"), variant="primary", elem_classes="q-go", elem_id="rerank-go")
    html(hint())
    return Inputs(tries, query, pictures, pictures_note, documents, file, file_note, *options, go)


def _options() -> tuple[gr.Number, gr.Slider, gr.Textbox, gr.HTML, gr.Gallery, gr.HTML]:
    with gr.Accordion(label("shell.options"), open=False, elem_classes="q-fold"):
        with gr.Row():
            top_n = gr.Number(TOP_N, label=label("rerank.top_n"), precision=0, min_width=110)
            threshold = gr.Slider(
                0, 1, 0, step=0.01, label=label("rerank.threshold"), min_width=180, scale=2
            )
        instruction = gr.Textbox(
            "",
            label=label("rerank.instruction"),
            placeholder=label("rerank.instruction_hint"),
            interactive=False,
            lines=2,
            elem_id="rerank-instruction",
        )
        instruction_note = html(elem_id="rerank-instruction-note", elem_classes="q-slot")
        # A gallery for one: Gradio makes an updated gr.Image anew, and its own opens the file.
        query_picture = uploads(
            label=label("rerank.query_picture"), elem_id="rerank-query-picture", interactive=False
        )
        query_picture_note = html(elem_id="rerank-query-picture-note", elem_classes="q-slot")
    return top_n, threshold, instruction, instruction_note, query_picture, query_picture_note


def _outputs() -> Outputs:
    nothing = empty(say("rerank.nothing_yet"), say("rerank.start"))
    result = html(nothing, elem_id="rerank-result", elem_classes="q-result")
    model = html(elem_id="rerank-model")
    fold = code_fold(NAME)
    return Outputs(result, model, fold)


class Handlers:
    """What the events do. `portal` is all they share; each is guarded where it is connected."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._service = portal.services[NAME]
        self._family = portal.families[NAME]
        self._limits = portal.settings.limits

    def check(self, *values: Any) -> Iterator[BadInput]:
        return wrong(*values, limits=self._limits)

    async def run(
        self,
        query: str,
        pictures: Uploaded,
        documents: str,
        file: str | None,
        instruction: str,
        top_n: int | None,
        threshold: float,
        query_picture: Uploaded,
        request: gr.Request,
    ) -> str:
        values = (query, pictures, documents, file, instruction, top_n, threshold, query_picture)
        asked = await asyncio.to_thread(read, *values, limits=self._limits)
        began = time.perf_counter()
        answer = await self._service.predict(asked.pairs, ask(self._portal, request))
        seconds = time.perf_counter() - began
        noted(answer)
        model = self._family.models[answer.model]
        ranking = rank(asked.pairs, answer, top_n or TOP_N, threshold, asked.names)
        by = answered_by(model.title, answer.revision, answer.pod)
        return draw_ranking(ranking, by, threshold, seconds, notes(asked, model))

    async def refresh(self) -> tuple[Any, ...]:
        """The model's card, the controls that it can serve, and why the others are off."""
        status = await self._service.status()
        able = status.capabilities
        lacks = [
            "" if getattr(able, name) else note("info", draw_lack(name, status, self._family))
            for name in ("instruction", "picture_documents", "picture_query")
        ]
        controls = [
            gr.update(interactive=able.instruction),
            gr.update(interactive=able.picture_documents),
            # what can no longer be asked must not lie in a control that cannot be emptied
            gr.update(interactive=True) if able.picture_query else gr.update(**_EMPTIED),
        ]
        card = draw_model(status, self._family, self._portal.settings.models)
        return card, *controls, *lacks

    async def dropped(self, file: str, documents: str) -> tuple[Any, ...]:
        """The note on the file, the file if it can be read, and what stays in the lines above."""
        try:
            found = await asyncio.to_thread(file_documents, file)
        except BadInput as error:
            return note("bad", both(error.text, error.zh)), None, documents
        told = say("rerank.from_file", count=len(found), name=Path(file).name)
        untouched = read_lines(documents) in {example.documents for example in examples.RERANK}
        return note("info", told), gr.skip(), "" if untouched else documents

    async def code(self, *values: Any) -> tuple[str, str]:
        query, pictures, documents, file, instruction, top_n, _, picture, here = values
        able = (await self._service.status()).capabilities.instruction
        texts = await asyncio.to_thread(all_documents, documents, file)
        made = samples(
            here.rstrip("/"),
            clean(query.strip())[0],
            texts,
            top_n or TOP_N,
            clean(instruction.strip())[0] if able else "",
        )
        left_out = made.left_out + len(pictures or [])
        more = note("info", say("rerank.code_left_out", count=left_out)) * bool(left_out)
        more += note("info", say("rerank.code_query_picture")) * bool(picture)
        return more + draw_code(made.curl, made.python), here


def _connect_runs(
    portal: Portal, do: Handlers, page: "Page", given: Inputs, shown: Outputs
) -> None:
    """The button, Enter and the examples: rank, then look at the model again."""
    ranked: dict[str, Any] = {
        "fn": guarded(portal, NAME)(do.run),
        "inputs": given.all(),
        "outputs": shown.result,
        "validator": validator(ORDER)(do.check),
        "api_visibility": "private",
        "concurrency_limit": None,  # the service's own queue refuses, and says when to return
        "show_progress": "minimal",
    }
    ends = [gr.on([given.go.click, given.query.submit], **ranked)]
    filled = [given.query, given.documents, given.file, given.file_note, given.pictures]
    filled.append(given.query_picture)
    for button, example in zip(given.tries, examples.RERANK, strict=True):
        if example.photos:  # only the server can put files into the gallery
            put = button.click(_filler(example), None, filled, **QUIET)
        else:
            put = button.click(None, None, filled, js=f"() => {filling(example)}")
        ends.append(put.then(**ranked))
    english, chinese, *_ = examples.RERANK
    opening = f"() => document.documentElement.dataset.lang === 'zh' ? {filling(chinese)} : "
    page.blocks.load(None, None, filled, js=opening + filling(english))
    refresh = guarded(portal)(do.refresh)
    lacks = [given.instruction_note, given.pictures_note, given.query_picture_note]
    state = [shown.model, given.instruction, given.pictures, given.query_picture, *lacks]
    for end in ends:
        for after in (end.success, end.failure):  # a refusal may be news of another model
            after(refresh, None, state, **QUIET).then(page.refresh, None, page.pill, **QUIET)
    gr.on(page.again, refresh, None, state, **QUIET)


def _connect_inputs(
    portal: Portal, do: Handlers, page: "Page", given: Inputs, shown: Outputs
) -> None:
    """What follows the inputs without a run: the note on a dropped file, and the code."""
    coded = shown.fold.fill(guarded(portal)(do.code), given.all())
    dropped = guarded(portal)(do.dropped)
    seen = [given.file_note, given.file, given.documents]
    given.file.upload(dropped, [given.file, given.documents], seen, **QUIET).then(**coded)
    gr.on([given.file.clear, given.file.delete], lambda: "", None, given.file_note, **QUIET)
    gr.on(shown.fold.events(), **coded)


def _filler(example: examples.Ranked) -> Callable[[], tuple[Any, ...]]:
    values = example.query, "\n".join(example.documents), None, ""
    return lambda: (*values, [photo(name) for name in example.photos], None)


def filling(example: examples.Ranked) -> str:
    """The example for query, documents, file, its note, pictures and query's, in JavaScript."""
    values: list[Any] = [example.query, "\n".join(example.documents), None, "", [], None]
    return json.dumps(values, ensure_ascii=False)
