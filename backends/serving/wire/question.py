"""What a shape is given to read by, and what it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backends.errors import BadInput
from backends.families import Family
from backends.serving import Answer
from backends.settings import Limits


@dataclass(frozen=True, slots=True)
class Terms:
    """The caps of this process, the family's models, and the name of the one that is loaded."""

    limits: Limits
    family: Family
    loaded: str

    def check_model(self, asked: str | None) -> None:
        """BadInput if a model was asked for that is not the one that runs."""
        if asked is not None and asked != self.loaded:
            raise BadInput(
                f"model {asked[:80]!r} is not loaded here; this service runs {self.loaded}.",
                field="model",
            )


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request's items; `timeout` in seconds if it named one; `write` makes the response. With
    `part` the answer is streamed: it makes an event of a part of the item at that index.
    `is_exact`: a portal asks, and hears all of an error.
    With `file` a plain answer is a file: its bytes and media type.
    """

    items: tuple[Any, ...]
    write: Callable[[Answer], dict[str, Any]]
    timeout: float | None = None
    part: Callable[[int, Any], dict[str, Any]] | None = None
    is_exact: bool = False
    file: Callable[[Answer], tuple[bytes, str]] | None = None
