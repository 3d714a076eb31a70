"""
Small pieces of escaped HTML that every page uses.

Whatever comes from outside goes through `escape` here or in `texts`; the results are shown by
`gr.HTML(value)` alone: a template of Gradio's (`html_template`) would run `${...}` in them.
"""

from html import escape
from typing import Any, Literal

import gradio as gr

from ui.texts import say

Tone = Literal["ok", "mid", "bad", "info"]


def html(value: str = "", **given: Any) -> gr.HTML:
    """The one way to put HTML on a page: no template, no default styles."""
    return gr.HTML(value, apply_default_css=False, **given)


def user_text(text: str) -> str:
    """A visitor's text: escaped, and in the direction of its own first letter."""
    return f'<bdi dir="auto">{escape(text)}</bdi>'


def note(tone: Tone, inner: str) -> str:
    """A coloured line; `inner` is HTML, such as `say(...)`. Bad news is read out at once."""
    role = "alert" if tone == "bad" else "status"
    return f'<div class="q-note {tone}" role="{role}">{inner}</div>'


def empty(title: str, hint: str) -> str:
    """What an empty result says: `title` and `hint` are HTML."""
    return f'<div class="q-empty"><strong>{title}</strong><p>{hint}</p></div>'


def heading(title: str, small: str = "") -> str:
    """The heading of a card; both are HTML."""
    aside = f"<small>{small}</small>" if small else ""
    return f'<h2 class="q-h">{title}{aside}</h2>'


def chip(tone: Tone, inner: str) -> str:
    return f'<span class="chip {tone}">{inner}</span>'


def bar(share: float) -> str:
    """A bar filled to `share`, 0 to 1; decoration, so the figure must stand beside it."""
    percent = 100 * min(1.0, max(0.0, share))
    return f'<span class="bar" aria-hidden="true"><i style="width:{percent:.1f}%"></i></span>'


def code_block(name: str, title: str, text: str) -> str:
    """Code to copy, under a title (HTML); page.js makes the button work."""
    return (
        f'<div class="q-code" data-code="{escape(name)}">'
        f'<div class="q-code-top"><span>{title}</span>'
        f'<button type="button" class="q-btn" data-q="copy">'
        f'<span class="q-do">{say("shell.copy")}</span>'
        f'<span class="q-done">{say("shell.copied")}</span></button></div>'
        f'<pre tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<code>{escape(text)}</code></pre></div>"
    )


def hint() -> str:
    """Which keys run the tab."""
    return f'<div class="q-hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd> {say("shell.runs")}</div>'
