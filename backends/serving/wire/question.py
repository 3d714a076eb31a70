"""What a shape is given to read by, and what it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.errors import BadInput
from backends.families import Family
from backends.serving import Answer
from backends.serving.wire.text import listed
from backends.settings import Limits


@dataclass(frozen=True, slots=True)
class Terms:
    """
    The caps of this process, the family's models, the name of the one that is loaded, and other
    names that requests may call a family's model by, each with the family that is meant.
    `provider` is who offers this service, for a model whose licence wants it named.
    """

    limits: Limits
    family: Family
    loaded: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    provider: str = ""

    def check_model(self, name: str | None) -> None:
        """BadInput unless the name, if there is one, means the model that is loaded."""
        if name in (None, self.loaded) or self.aliases.get(str(name)) == self.family.name:
            return
        also = [alias for alias, family in self.aliases.items() if family == self.family.name]
        called = f", also called {listed(sorted(also))}" if also else ""
        raise BadInput(
            f"model {str(name)[:80]!r} is not loaded here; this service runs "
            f"{self.loaded}{called}.",
            field="model",
        )


@dataclass(frozen=True, slots=True)
class Question:
    """
    A request's items; `timeout` in seconds if it named one; `write` makes the response, or raises
    BadInput for what only the answer could tell. With `part` the answer is streamed: it makes an
    event of a part of the item at that index. With `file` a plain answer is a file: its bytes and
    media type. `names` are the caller's words for the fields that a model may blame. `is_exact`:
    a portal asks, and hears all of an error. `is_long`: writing belongs into a thread.
    """

    items: tuple[Any, ...]
    write: Callable[[Answer], Any]
    timeout: float | None = None
    part: Callable[[int, Any], dict[str, Any]] | None = None
    is_exact: bool = False
    is_long: bool = False
    file: Callable[[Answer], tuple[bytes, str]] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
