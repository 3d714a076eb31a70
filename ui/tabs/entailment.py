"""
Entailment: a picture and statements in, a verdict for each out, with what it rests on.

The screen and its handlers; what is drawn is in `verdicts`. The loaded model is read when the
page opens, when it comes back into view and after each run.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.engines.entailment import Claim
from backends.errors import BadInput
from backends.portal import Portal
from backends.serving.wire.entailment import LONGEST
from backends.serving.wire.text import clean
from backends.settings import Limits
from ui.draw import empty, hint, html, note
from ui.guard import QUIET, ask, guarded, noted, validator
from ui.tabs import examples
from ui.tabs.frame import CodeFold, chips, code_fold, draw_code
from ui.tabs.models import answered_by, draw_lack, draw_model
from ui.tabs.pictures import photo, read_upload, upload
from ui.tabs.samples import entailment_samples
from ui.tabs.verdicts import draw_verdicts
from ui.texts import both, label, refusal, say

if TYPE_CHECKING:
    from ui.shell import Page

NAME = "entailment"
ORDER = ("image", "statements", "premise")


@dataclass(frozen=True, slots=True)
class Inputs:
    image: gr.Image
    statements: gr.Textbox
    premise: gr.Textbox
    premise_note: gr.HTML
    go: gr.Button
    tries: tuple[gr.Button, ...]

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
    _answer_runs(portal, page, given, shown)
    _follow(portal, page, given, shown)


def _inputs() -> Inputs:
    first = examples.ENTAILMENT[0]
    tries = chips(each.key for each in examples.ENTAILMENT)
    image = upload(
        value=photo(first.photo),
        label=label("entailment.image"),
        height=260,
        sources=["upload", "clipboard"],
        elem_id="entailment-image",
    )
    statements = gr.Textbox(
        "\n".join(first.statements),
        label=label("entailment.statements"),
        placeholder=label("entailment.statements_hint"),
        lines=5,
        max_lines=12,
        elem_id="entailment-statements",
    )
    with gr.Accordion(label("shell.options"), open=False, elem_classes="q-fold"):
        premise = gr.Textbox(
            "",
            label=label("entailment.premise"),
            placeholder=label("entailment.premise_hint"),
            interactive=False,
            lines=2,
            elem_id="entailment-premise",
        )
        premise_note = html(elem_id="entailment-premise-note", elem_classes="q-slot")
    go = gr.Button(
        label("entailment.go"), variant="primary", elem_classes="q-go", elem_id="entailment-go"
    )
    html(hint())
    return Inputs(image, statements, premise, premise_note, go, tries)


def _outputs() -> Outputs:
    nothing = empty(say("entailment.nothing_yet"), say("entailment.start"))
    result = html(nothing, elem_id="entailment-result", elem_classes="q-result")
    model = html(elem_id="entailment-model")
    fold = code_fold(NAME)
    return Outputs(result, model, fold)


def _answer_runs(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    service, family, limits = portal.services[NAME], portal.families[NAME], portal.settings.limits

    @validator(ORDER)
    def check(image: str | None, statements: str, premise: str) -> Iterator[BadInput]:
        return wrong(image, statements, premise, limits)

    @guarded(portal, NAME)
    async def run(image: str | None, statements: str, premise: str, request: gr.Request) -> str:
        claims = await asyncio.to_thread(read, image, statements, premise, limits)
        began = time.perf_counter()
        answer = await service.predict(claims, ask(portal, request))
        seconds = time.perf_counter() - began
        noted(answer)
        told = [both(each.en, each.zh) for each in claims[0].picture.notes]
        title = family.models[answer.model].title
        by = answered_by(title, answer.revision, answer.pod)
        return draw_verdicts(claims, answer, by, seconds, told)

    @guarded(portal)
    async def refresh() -> tuple[Any, ...]:
        status = await service.status()
        able = status.capabilities.premise
        lack = "" if able else note("info", draw_lack("premise", status, family))
        card = draw_model(status, family, portal.settings.models)
        return card, gr.update(interactive=able), lack

    runs: dict[str, Any] = {
        "fn": run,
        "inputs": given.all(),
        "outputs": shown.result,
        "validator": check,
        "api_visibility": "private",
        "concurrency_limit": None,  # the service's own queue refuses, and says when to return
        "show_progress": "minimal",
    }
    ends = [given.go.click(**runs)]
    for button, each in zip(given.tries, examples.ENTAILMENT, strict=True):
        filled = button.click(_filler(each), None, [given.image, given.statements], **QUIET)
        ends.append(filled.then(**runs))
    state = [shown.model, given.premise, given.premise_note]
    for end in ends:
        end.then(refresh, None, state, **QUIET).then(page.refresh, None, page.pill, **QUIET)
    gr.on(page.again, refresh, None, state, **QUIET)


def _follow(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    @guarded(portal)
    async def code(statements: str, premise: str, here: str) -> tuple[str, str]:
        made = entailment_samples(here.rstrip("/"), read_statements(statements), plain(premise))
        told = note("info", say("entailment.code_picture"))
        return told + draw_code(made.curl, made.python), here

    coded = shown.fold.fill(code, [given.statements, given.premise])
    gr.on([page.blocks.load, *shown.fold.events()], **coded)


def _filler(each: examples.Stated) -> Any:
    return lambda: (photo(each.photo), "\n".join(each.statements))


def read_statements(text: str) -> list[str]:
    """One a line; blank lines and what is not text are left out."""
    return [line for line in map(plain, (text or "").splitlines()) if line]


def plain(text: str | None) -> str:
    return clean(text or "")[0].strip()


def wrong(image: str | None, statements: str, premise: str, limits: Limits) -> Iterator[BadInput]:
    """What is wrong with the inputs; each fault names one of ORDER."""
    if not image:
        yield refusal("entailment.no_image", "image")
    lines = read_statements(statements)
    if not lines:
        yield refusal("entailment.no_statements", "statements")
    if len(lines) > limits.statements:
        yield refusal("entailment.too_many", "statements", found=len(lines), most=limits.statements)
    for field, text in [*(("statements", line) for line in lines), ("premise", plain(premise))]:
        if len(text) > LONGEST:
            yield refusal("entailment.too_long", field, found=len(text), most=LONGEST)


def read(image: str | None, statements: str, premise: str, limits: Limits) -> tuple[Claim, ...]:
    """In a thread: a picture is decoded. Raises the first thing that is wrong."""
    for fault in wrong(image, statements, premise, limits):
        raise fault
    assert image is not None
    picture = read_upload(image, "image", limits)
    return tuple(Claim(picture, line, plain(premise)) for line in read_statements(statements))
