"""
What every tab has alike: chips with examples, and a fold with the request as code to copy.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ui.draw import code_block, html
from ui.guard import QUIET
from ui.texts import label, say

# The visitor's address bar knows where the portal is, behind whatever proxy: put it last.
_HERE = "(...given) => [...given.slice(0, -1), new URL('.', location.href).href]"


def chips(keys: Iterable[str], *classes: str) -> tuple[gr.Button, ...]:
    """A row of buttons, one for each example; `keys` are the texts upon them."""
    with gr.Row(elem_classes="q-chips"):
        html(f"<span>{say('rerank.examples')}</span>")
        return tuple(
            gr.Button(label(key), size="sm", elem_classes=["q-chip", *classes], min_width=0)
            for key in keys
        )


@dataclass(frozen=True, slots=True)
class CodeFold:
    """`here` takes the address of the portal as the visitor sees it, once the fold was filled."""

    here: gr.Textbox
    _fold: gr.Accordion
    _code: gr.HTML
    _again: gr.Button

    def fill(self, draw: Callable[..., Any], inputs: Sequence[Any]) -> dict[str, Any]:
        """
        An event's arguments: `draw` takes the inputs and the portal's address, and returns the
        fold's HTML and that address.
        """
        return {
            "fn": draw,
            "inputs": [*inputs, self.here],
            "outputs": [self._code, self.here],
            "js": _HERE,
            **QUIET,
        }

    def events(self) -> list[Any]:
        """When the fold opens, and when the inputs of an open one have changed."""
        return [self._fold.expand, self._again.click]


def code_fold(name: str) -> CodeFold:
    with gr.Accordion(
        label("shell.code"), open=False, elem_classes=["q-fold", "q-code-fold"]
    ) as fold:
        code = html(elem_id=f"{name}-code")
    # page.js presses it when the inputs of an open fold have changed
    again = gr.Button(label("shell.code"), visible="hidden", elem_classes="q-code-again")
    return CodeFold(gr.Textbox(visible=False), fold, code, again)


def draw_code(curl: str, python: str) -> str:
    """The request twice, for a shell and for a program."""
    return code_block("curl", "curl", curl) + code_block("python", say("rerank.python"), python)
