"""Rerank: a query, documents, and their ranking."""

from typing import TYPE_CHECKING

import gradio as gr

from ui.draw import html

if TYPE_CHECKING:
    from backends.portal import Portal


def build(portal: "Portal", pill: gr.HTML) -> None:
    html("")
