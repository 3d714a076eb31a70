"""
A pane of Admin: a table that is drawn anew with every look, and what one may do beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backends.errors import QuartetError
from backends.identity import Principal
from ui.admin.confirm import told
from ui.admin.snapshot import View
from ui.texts import both


@dataclass(frozen=True, slots=True)
class Pane:
    """
    `draw` fills `table`, of one look for this person. `opened` fills `controls` once, at the
    opening: what this person may use. `written` are the events that end a change.
    """

    table: gr.HTML
    draw: Callable[[View, Principal], str]
    controls: tuple[Any, ...]
    opened: Callable[[Principal], tuple[Any, ...]]
    written: tuple[Any, ...]


def refused(error: QuartetError) -> str:
    """A refusal in its own words, beside what was pressed; a toast would leave."""
    return told("bad", both(error.text, error.zh or error.text))
