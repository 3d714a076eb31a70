"""
Rerank: a query and documents in, a ranking out.

The screen and its handlers; what can go wrong is in `documents`, what is drawn in `ranking`, and
the code to copy in `samples`. The loaded model is read when the page opens, when it comes back
into view and after each run, because Admin may have exchanged it meanwhile.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.engines import Model
from backends.engines.rerank import picture_of
from backends.errors import BadInput
from backends.portal import Portal
from backends.serving.wire.text import clean
from backends.settings import Limits
from ui.draw import code_block, empty, hint, html, note
from ui.guard import QUIET, ask, guarded, noted, validator
from ui.tabs import examples
from ui.tabs.documents import Asked, Named, faults, read_file, read_lines, read_pairs
from ui.tabs.models import draw_lack, draw_model
from ui.tabs.pictures import photo, read_upload, uploads
from ui.tabs.ranking import draw_ranking, rank
from ui.tabs.samples import samples
from ui.texts import both, label, refusal, say

if TYPE_CHECKING:
    from ui.shell import Page

NAME = "rerank"
Uploaded = list[tuple[str, str | None]] | None
TOP_N = 10

# The inputs in the order in which every handler takes them; a BadInput blames one by its name.
ORDER = ("query", "pictures", "documents", "file", "instruction", "top_n", "threshold")

# The visitor's address bar knows where the portal is, behind whatever proxy: put it last.
HERE = "(...given) => [...given.slice(0, -1), new URL('.', location.href).href]"


@dataclass(frozen=True, slots=True)
class Inputs:
    query: gr.Textbox
    pictures: gr.Gallery
    pictures_note: gr.HTML
    documents: gr.Textbox
    file: gr.File
    file_note: gr.HTML
    instruction: gr.Textbox
    instruction_note: gr.HTML
    query_picture_note: gr.HTML
    top_n: gr.Number
    threshold: gr.Slider
    go: gr.Button
    tries: tuple[gr.Button, ...]

    def all(self) -> list[Any]:
        return [getattr(self, name) for name in ORDER]


@dataclass(frozen=True, slots=True)
class Outputs:
    result: gr.HTML
    model: gr.HTML
    fold: gr.Accordion
    code: gr.HTML
    again: gr.Button
    here: gr.Textbox


def build(portal: Portal, page: "Page") -> None:
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            given = _inputs()
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            shown = _outputs()
    _answer_runs(portal, page, given, shown)
    _follow_inputs(portal, page, given, shown)


def _inputs() -> Inputs:
    first = examples.RERANK[0]
    with gr.Row(elem_classes="q-chips"):
        html(f"<span>{say('rerank.examples')}</span>")
        tries = tuple(
            gr.Button(label(example.key), size="sm", elem_classes="q-chip", min_width=0)
            for example in examples.RERANK
        )
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
        file_types=[".txt", ".csv", ".jsonl"],
        height=84,
        elem_id="rerank-file",
        elem_classes="q-drop",
    )
    file_note = html(elem_id="rerank-file-note", elem_classes="q-slot")
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
        gr.Image(
            label=label("rerank.query_picture"),
            interactive=False,
            height=72,
            buttons=[],
            elem_id="rerank-query-picture",
            elem_classes="q-media",
        )
        query_picture_note = html(elem_id="rerank-query-picture-note", elem_classes="q-slot")
    go = gr.Button(label("rerank.go"), variant="primary", elem_classes="q-go", elem_id="rerank-go")
    html(hint())
    return Inputs(
        query=query,
        pictures=pictures,
        pictures_note=pictures_note,
        documents=documents,
        file=file,
        file_note=file_note,
        instruction=instruction,
        instruction_note=instruction_note,
        query_picture_note=query_picture_note,
        top_n=top_n,
        threshold=threshold,
        go=go,
        tries=tries,
    )


def _outputs() -> Outputs:
    nothing = empty(say("rerank.nothing_yet"), say("rerank.start"))
    result = html(nothing, elem_id="rerank-result", elem_classes="q-result")
    model = html(elem_id="rerank-model")
    with gr.Accordion(label("shell.code"), open=False, elem_classes="q-fold q-code-fold") as fold:
        code = html(elem_id="rerank-code")
    # page.js presses it when the inputs of an open fold have changed
    again = gr.Button(label("shell.code"), visible="hidden", elem_classes="q-code-again")
    return Outputs(result, model, fold, code, again, here=gr.Textbox(visible=False))


def _answer_runs(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    """The button, Enter and the examples: rank, then look at the model again."""
    service, family, limits = portal.services[NAME], portal.families[NAME], portal.settings.limits

    @validator(ORDER)
    def check(*values: Any) -> Iterator[BadInput]:
        return wrong(*values, limits=limits)

    @guarded(portal, NAME)
    async def run(
        query: str,
        pictures: Uploaded,
        documents: str,
        file: str | None,
        instruction: str,
        top_n: int | None,
        threshold: float,
        request: gr.Request,
    ) -> str:
        values = (query, pictures, documents, file, instruction, top_n, threshold)
        asked = await asyncio.to_thread(read, *values, limits=limits)
        began = time.perf_counter()
        answer = await service.predict(asked.pairs, ask(portal, request))
        seconds = time.perf_counter() - began
        noted(answer)
        model = family.models[answer.model]
        ranking = rank(asked.pairs, answer, top_n or TOP_N, threshold, asked.names)
        return draw_ranking(ranking, model.title, threshold, seconds, notes(asked, model))

    @guarded(portal)
    async def refresh() -> tuple[Any, ...]:
        status = await service.status()
        able = status.capabilities
        lacks = [
            "" if getattr(able, name) else note("info", draw_lack(name, status, family))
            for name in ("instruction", "picture_documents", "picture_query")
        ]
        instruction, pictures = able.instruction, able.picture_documents
        controls = gr.update(interactive=instruction), gr.update(interactive=pictures)
        return draw_model(status, family), *controls, *lacks

    ranked: dict[str, Any] = {
        "fn": run,
        "inputs": given.all(),
        "outputs": shown.result,
        "validator": check,
        "api_visibility": "private",
        "concurrency_limit": None,  # the service's own queue refuses, and says when to return
        "show_progress": "minimal",
    }
    ends = [gr.on([given.go.click, given.query.submit], **ranked)]
    filled = [given.query, given.documents, given.file, given.file_note, given.pictures]
    for button, example in zip(given.tries, examples.RERANK, strict=True):
        if example.photos:  # only the server can put files into the gallery
            put = button.click(_filler(example), None, filled, **QUIET)
        else:
            put = button.click(None, None, filled, js=f"() => {filling(example)}")
        ends.append(put.then(**ranked))
    english, chinese, *_ = examples.RERANK
    opening = f"() => document.documentElement.dataset.lang === 'zh' ? {filling(chinese)} : "
    page.blocks.load(None, None, filled, js=opening + filling(english))
    notes_of = [given.instruction_note, given.pictures_note, given.query_picture_note]
    state = [shown.model, given.instruction, given.pictures, *notes_of]
    for end in ends:
        end.then(refresh, None, state, **QUIET).then(page.refresh, None, page.pill, **QUIET)
    gr.on(page.again, refresh, None, state, **QUIET)


def _follow_inputs(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    """What follows the inputs without a run: the note on a dropped file, and the code."""
    service = portal.services[NAME]

    @guarded(portal)
    async def dropped(file: str, documents: str) -> tuple[Any, ...]:
        try:
            found = await asyncio.to_thread(file_documents, file)
        except BadInput as error:
            return note("bad", both(error.text, error.zh)), None, documents
        told = say("rerank.from_file", count=len(found), name=Path(file).name)
        untouched = read_lines(documents) in {example.documents for example in examples.RERANK}
        return note("info", told), gr.skip(), "" if untouched else documents

    @guarded(portal)
    async def code(*values: Any) -> tuple[str, str]:
        query, pictures, documents, file, instruction, top_n, _, here = values
        able = (await service.status()).capabilities.instruction
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
        curl = code_block("curl", "curl", made.curl)
        return more + curl + code_block("python", say("rerank.python"), made.python), here

    coded: dict[str, Any] = {
        "fn": code,
        "inputs": [*given.all(), shown.here],
        "outputs": [shown.code, shown.here],
        "js": HERE,
        **QUIET,
    }
    seen = [given.file_note, given.file, given.documents]
    given.file.upload(dropped, [given.file, given.documents], seen, **QUIET).then(**coded)
    gr.on([given.file.clear, given.file.delete], lambda: "", None, given.file_note, **QUIET)
    gr.on([page.blocks.load, shown.fold.expand, shown.again.click], **coded)


def _filler(example: examples.Ranked) -> Callable[[], tuple[Any, ...]]:
    values = example.query, "\n".join(example.documents), None, ""
    return lambda: (*values, [photo(name) for name in example.photos])


def filling(example: examples.Ranked) -> str:
    """The example for query, documents, file, the file's note and pictures, in JavaScript."""
    values: list[Any] = [example.query, "\n".join(example.documents), None, "", []]
    return json.dumps(values, ensure_ascii=False)


def wrong(
    query: str,
    pictures: Uploaded,
    documents: str,
    file: str | None,
    instruction: str,
    top_n: int | None,
    threshold: float,
    *,
    limits: Limits,
) -> Iterator[BadInput]:
    """What is wrong with the inputs; each fault names one of ORDER."""
    if top_n is not None and top_n < 1:
        yield refusal("rerank.bad_top_n", "top_n")
    texts = [*read_lines(documents)]
    try:
        texts += file_documents(file)
    except BadInput as fault:
        yield fault
    yield from faults(query, texts, instruction, limits, len(pictures or []))


def read(
    query: str,
    pictures: Uploaded,
    documents: str,
    file: str | None,
    instruction: str,
    top_n: int | None,
    threshold: float,
    *,
    limits: Limits,
) -> Asked:
    """The inputs as pairs; raises the first thing that is wrong."""
    values = (query, pictures, documents, file, instruction, top_n, threshold)
    for fault in wrong(*values, limits=limits):
        raise fault
    texts = [*read_lines(documents), *file_documents(file)]
    seen = [
        Named(Path(path).name, read_upload(path, "pictures", limits)) for path, _ in pictures or []
    ]
    return read_pairs(query, texts, instruction, limits, seen)


def file_documents(path: str | None) -> tuple[str, ...]:
    """None at all without a file. Raises BadInput for: file."""
    if path is None:
        return ()
    try:
        return read_file(Path(path).name, Path(path).read_bytes())
    except OSError as error:  # Gradio empties its cache of uploads after an hour
        raise refusal("rerank.file_gone", "file") from error


def all_documents(documents: str, file: str | None) -> Sequence[str]:
    """For the code: what is there already, even if a field is still to be fixed."""
    texts = [*read_lines(documents)]
    with contextlib.suppress(BadInput):  # the field says so
        texts += file_documents(file)
    return [clean(text)[0] for text in texts]


def notes(asked: Asked, model: Model) -> list[str]:
    """What must be said beside the result, as HTML."""
    told = []
    if asked.cleaned:
        told.append(say("rerank.cleaned"))
    for name, pair in zip(asked.names, asked.pairs, strict=False):
        picture = picture_of(pair.document)
        read_as = picture.notes if picture else ()
        told += [f"{escape(name)}: {both(each.en, each.zh)}" for each in read_as]
    if asked.pairs[0].instruction and not model.capabilities.instruction:
        told.append(say("rerank.ignored", model=model.title))
    return told
