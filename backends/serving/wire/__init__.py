"""
Items and results as JSON: one shape for each family, in one table.

A shape reads a request's body into items and writes the answer. It is pure: BadInput leaves
here, before any queue, and names the field as the caller wrote it. For a portal whose service
runs elsewhere it goes the other way too: `ask` undoes `read`, and `answered` undoes what the
question writes, exactly.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from backends.serving.wire import rerank
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent


class Shape(Protocol):
    story: str
    request: type[BaseModel]
    response: type[BaseModel]

    takes_forms: bool  # pictures may come as files of a multipart form

    def is_heavy(self, sent: Sent) -> bool:
        """Does reading take so long that it belongs into a thread?"""
        ...

    def read(self, sent: Sent, terms: Terms) -> Question: ...


class OwnShape(Shape, Protocol):
    """A family's own shape, in which a portal can also ask pods."""

    def ask(self, items: Sequence[Any], *, stream: bool = False) -> dict[str, Any]:
        """The body of a request that `read` makes these items of; `stream` where it can."""
        ...

    def answered(self, value: Any) -> Sequence[Any]:
        """The outputs in such a response. ValueError if it is none."""
        ...

    def part_of(self, event: Any) -> Any:
        """The part in an event that `Question.part` made; None: the event is the response."""
        ...


SHAPES: Mapping[str, OwnShape] = {"rerank": rerank.RerankShape()}
