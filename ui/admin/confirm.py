"""
A question before what cannot be undone, in the place where the answer is: no dialogue exists.

A row's button names what it is about, page.js presses the hidden button here, and the pane's own
handlers ask, let be, and do. Nothing is done before the question was answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.draw import html, note
from ui.guard import QUIET
from ui.texts import label

NOT_ASKED: tuple[Any, ...] = (gr.update(visible=False), "", None)


@dataclass(frozen=True, slots=True)
class Question:
    """`asked` is what the person is asked about, kept by the server; `chosen` what was clicked."""

    name: str
    press: gr.Button
    chosen: gr.Textbox
    panel: gr.Column
    said: gr.HTML
    keep: gr.Button
    go: gr.Button
    asked: gr.State
    message: gr.HTML

    def outputs(self) -> list[Any]:
        """What each of the handlers fills: `shown` or `NOT_ASKED`, then the message."""
        return [self.panel, self.said, self.asked, self.message]

    def wire(
        self,
        ask: Callable[..., Any],
        keep: Callable[..., Any],
        go: Callable[..., Any],
    ) -> Any:
        """The event that ends a change."""
        opened = self.press.click(
            ask, self.chosen, self.outputs(), js="() => window.quartetAsked || ''", **QUIET
        )
        opened.then(None, js=focus(f"#{self.name}-panel .q-change, #{self.name}-message .q-note"))
        left = self.keep.click(keep, None, self.outputs(), **QUIET)
        left.then(None, js="() => window.quartetBack && window.quartetBack()")
        done = self.go.click(go, self.asked, self.outputs(), **QUIET)
        done.then(None, js=focus(f"#{self.name}-message .q-note"))
        return done


def question(name: str, message: gr.HTML) -> Question:
    """The components, where they stand; `name` begins their ids."""
    with gr.Column(visible=False, elem_id=f"{name}-panel") as panel:
        said = html()
        with gr.Row(elem_classes="q-decide"):
            keep = gr.Button(label("admin.keep"), min_width=80, elem_id=f"{name}-keep")
            go = gr.Button(
                label("admin.go"), variant="stop", min_width=120, elem_id=f"{name}-go",
                elem_classes="q-write",
            )  # fmt: skip
    press = gr.Button(label("admin.go"), visible="hidden", elem_id=f"{name}-ask")
    chosen = gr.Textbox(visible=False)
    return Question(name, press, chosen, panel, said, keep, go, gr.State(None), message)


def shown(title: str, sentence: str, about: Any) -> tuple[Any, ...]:
    """The question, under its title; both are HTML. `about` comes back to `go`."""
    inner = f'<section class="q-change" tabindex="-1"><h3>{title}</h3><p>{sentence}</p></section>'
    return gr.update(visible=True), inner, about


def told(tone: Any, inner: str) -> str:
    """What became of it, where the focus goes."""
    return note(tone, inner).replace("<div ", '<div tabindex="-1" ', 1)


def focus(selector: str) -> str:
    """Page script: the first of these that is there gets the focus."""
    return f"() => {{ setTimeout(() => document.querySelector('{selector}')?.focus(), 60); }}"
