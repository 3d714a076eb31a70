"""
Translate: a text in, its translation streamed out, sentence by sentence.

The screen and its handlers; which languages there are is in `languages`. The loaded model is read
when the page opens, when it comes back into view and after each run.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.engines.translate import AUTO, Passage, Translation, check
from backends.errors import BadInput
from backends.portal import Portal
from backends.serving import Answer
from backends.serving.wire.text import clean
from ui.draw import hint, html, note
from ui.guard import QUIET, ask, guarded, streamed, validator
from ui.tabs import examples
from ui.tabs.frame import CodeFold, chips, code_fold, draw_code
from ui.tabs.languages import best_target, chinese_first, every, lack, sources, targets
from ui.tabs.models import answered_by, draw_model, terms
from ui.tabs.samples import translate_samples
from ui.texts import TEXTS, both, label, say

if TYPE_CHECKING:
    from ui.shell import Page

NAME = "translate"
ORDER = ("text", "source", "target")


@dataclass(frozen=True, slots=True)
class Inputs:
    source: gr.Dropdown
    text: gr.Textbox
    go: gr.Button
    swap: gr.Button
    tries: tuple[gr.Button, ...]
    chinese: gr.HTML


@dataclass(frozen=True, slots=True)
class Outputs:
    target: gr.Dropdown
    result: gr.Textbox
    told: gr.HTML
    model: gr.HTML
    fold: CodeFold
    found: gr.State


def build(portal: Portal, page: "Page") -> None:
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_classes="q-panel"):
            given = _inputs()
        with gr.Column(scale=6, min_width=320, elem_classes="q-panel"):
            shown = _outputs()
    _translate(portal, page, given, shown)
    _follow(portal, page, given, shown)


def _inputs() -> Inputs:
    first = examples.TRANSLATE[0]
    chinese = html(elem_id="translate-chinese", elem_classes="q-slot")
    source = gr.Dropdown(
        [(label("translate.detect"), AUTO), *every()],
        value=first.source,
        label=label("translate.source"),
        elem_id="translate-source",
        elem_classes="q-languages",
    )
    text = gr.Textbox(
        first.text,
        label=label("translate.text"),
        placeholder=label("translate.text_hint"),
        lines=9,
        max_lines=18,
        elem_id="translate-text",
    )
    tries = chips(each.key for each in examples.TRANSLATE)
    with gr.Row():
        go = gr.Button(
            label("translate.go"),
            variant="primary",
            elem_classes="q-go",
            scale=3,
            elem_id="translate-go",
        )
        swap = gr.Button(label("translate.swap"), scale=1, min_width=90, elem_id="translate-swap")
    html(hint())
    return Inputs(source, text, go, swap, tries, chinese)


def _outputs() -> Outputs:
    target = gr.Dropdown(
        every(),
        value=examples.TRANSLATE[0].target,
        label=label("translate.target"),
        elem_id="translate-target",
        elem_classes="q-languages",
    )
    result = gr.Textbox(
        label=label("translate.result"),
        placeholder=label("translate.start"),
        lines=9,
        max_lines=18,
        interactive=False,
        buttons=["copy"],
        elem_id="translate-result",
        elem_classes="q-result",
    )
    told = html(elem_id="translate-told", elem_classes="q-slot")
    model = html(elem_id="translate-model")
    fold = code_fold(NAME)
    return Outputs(target, result, told, model, fold, found=gr.State(""))


def _translate(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    """The button and the examples: stream, then look at the model again."""
    service, family = portal.services[NAME], portal.families[NAME]

    @guarded(portal)
    async def refresh(source: str, target: str) -> tuple[Any, ...]:
        status = await service.status()
        able = status.capabilities
        kept = best_target(able, source, target)
        return (
            draw_model(status, family, portal.settings.models),
            gr.update(choices=sources(able), value=source),
            gr.update(choices=targets(able, source), value=kept),
            chinese_first(able),
        )

    asked = [given.text, given.source, shown.target]
    runs: dict[str, Any] = {
        "fn": _runner(portal),
        "inputs": asked,
        "outputs": [shown.result, shown.told, shown.found],
        "validator": wrong,
        "api_visibility": "private",
        "concurrency_limit": None,  # the service's own queue refuses, and says when to return
        "show_progress": "hidden",
    }
    state = [shown.model, given.source, shown.target, given.chinese]
    sides = [given.source, shown.target]
    ends = [given.go.click(**runs)]
    for button, example in zip(given.tries, examples.TRANSLATE, strict=True):
        filled = button.click(lambda e=example: (e.text, e.source), None, asked[:2], **QUIET)
        aimed = filled.then(refresh, sides, state, **QUIET)
        aimed = aimed.then(lambda e=example: e.target, None, shown.target, **QUIET)
        ends.append(aimed.then(**runs))
    for end in ends:
        end.then(refresh, sides, state, **QUIET).then(page.refresh, None, page.pill, **QUIET)
    gr.on(page.again, refresh, sides, state, **QUIET)
    given.source.input(refresh, sides, state, **QUIET)


@validator(ORDER)
def wrong(text: str, source: str, target: str) -> Iterator[BadInput]:
    try:
        check(Passage(clean(text or "")[0], source, target))
    except BadInput as fault:
        yield fault


def _runner(portal: Portal) -> Callable[..., AsyncIterator[tuple[Any, Any, Any]]]:
    service, family = portal.services[NAME], portal.families[NAME]
    provider = portal.settings.translate.provider

    async def check_pair(passage: Passage) -> None:
        status = await service.status()
        model = family.models.get(status.model)
        missing = model and lack(status.capabilities, passage.source, passage.target, model)
        if missing:
            raise missing

    @streamed(portal, NAME)
    async def run(
        text: str, source: str, target: str, request: gr.Request
    ) -> AsyncIterator[tuple[Any, Any, Any]]:
        passage = check(Passage(clean(text or "")[0], source, target))
        await check_pair(passage)
        began = time.perf_counter()
        made = ""
        yield made, "", ""
        async for part in service.stream(passage, ask(portal, request)):
            if isinstance(part, Answer):
                whole: Translation = part[0]
                seconds = time.perf_counter() - began
                model = family.models.get(part.model)
                title = model.title if model else part.model
                told = _told(passage, whole, part, title, seconds)
                yield whole.text, told + terms(family, part.model, provider), whole.source
            else:
                made += part
                yield made, gr.skip(), gr.skip()

    return run


def _follow(portal: Portal, page: "Page", given: Inputs, shown: Outputs) -> None:
    """Swapping the sides, and the code that follows the inputs."""
    service, family = portal.services[NAME], portal.families[NAME]

    @guarded(portal)
    async def swap(text: str, source: str, target: str, result: str, found: str) -> tuple[Any, ...]:
        able = (await service.status()).capabilities
        back = found if source == AUTO else source
        new_target = best_target(able, target, back or "en")
        choices = targets(able, target)
        return result or text, "", target, gr.update(choices=choices, value=new_target), ""

    @guarded(portal)
    async def code(text: str, source: str, target: str, here: str) -> tuple[str, str]:
        made = translate_samples(here.rstrip("/"), clean(text or "")[0], source, target)
        left = say("translate.code_left_out", count=made.left_out)
        more = note("info", left) if made.left_out else ""
        return more + draw_code(made.curl, made.python), here

    @guarded(portal)
    async def aim(source: str, target: str) -> str:
        status = await service.status()
        model = family.models.get(status.model)
        missing = model and lack(status.capabilities, source, target, model)
        return note("mid", both(missing.text, missing.zh)) if missing else ""

    sides = [given.source, shown.target]
    swapped = [given.text, shown.result, given.source, shown.target, shown.told]
    inputs = [given.text, *sides, shown.result, shown.found]
    given.swap.click(swap, inputs, swapped, **QUIET)
    gr.on([given.source.input, shown.target.input], aim, sides, shown.told, **QUIET)
    coded = shown.fold.fill(code, [given.text, *sides])
    changes = [given.source.change, shown.target.change]
    gr.on([page.blocks.load, *shown.fold.events(), *changes], **coded)


def _told(asked: Passage, whole: Translation, answer: Answer, title: str, seconds: float) -> str:
    """What is said under the result: figures, the language found, the way, the warnings."""
    milliseconds = round(seconds * 1e3)
    by = answered_by(title, answer.revision, answer.pod)
    figures = say("translate.done", count=len(asked.text), model=by, milliseconds=milliseconds)
    language = TEXTS.get(f"language.{whole.source}", (whole.source, whole.source))
    found = say("translate.found", language=language) if asked.source == AUTO else ""
    way = " → ".join(say(f"translate.{step}") for step in whole.path)
    warnings = "".join(note("mid", both(*said)) for said in whole.warnings)
    line = " <i>·</i> ".join(filter(None, (figures, found, way)))
    path = escape("-".join(whole.path))
    return f'<div class="q-sum" data-path="{path}"><span>{line}</span></div>{warnings}'
