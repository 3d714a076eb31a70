"""
What an event of a page brings along, before any handler sees it.

Two gaps of Gradio's, both closed here for every page. It looks whether a file was really uploaded
only in applications that it launched itself: a mounted page would read any file of the server for
whoever names it, and fetch any public address. And an input of the wrong kind is answered with
the error's own text.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from ui.texts import plain

log = logging.getLogger(__name__)


class Intake(gr.Blocks):
    """A page whose events take uploaded files and values of the right kind, and nothing else."""

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Any:
        foreign = [path for path in named_files(inputs) if not was_uploaded(path)]
        if foreign:
            log.warning("refused", extra={"outcome": "ForeignFile", "files": len(foreign)})
            raise _refusal()
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error:
            raise
        except Exception as error:  # the visitor's page never sends what brings this about
            log.warning("refused", extra={"outcome": "SenselessInput", "why": type(error).__name__})
            raise _refusal() from error


def named_files(value: Any) -> Iterator[str]:
    """Every path that a value of an event names, however deep: a file's or an address."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if here.get("path") is not None:
                yield str(here["path"])
            waiting += here.values()
        elif isinstance(here, list | tuple):
            waiting += here


def was_uploaded(path: str) -> bool:
    """Does the path lie in Gradio's folder of uploads, links followed?"""
    folder = Path(get_upload_folder()).resolve()
    return Path(path).resolve().is_relative_to(folder)


def _refusal() -> gr.Error:
    return gr.Error(plain("guard.senseless"), title=plain("guard.title"), print_exception=False)
