"""
Items and results as JSON: one shape for each family, in one table.

A shape reads a request's body into items and writes the answer. It is pure: BadInput leaves
here, before any queue, and names the field as the caller wrote it. One that is `Exact` goes the
other way too, so that a portal can ask pods: what it asks is read as the same items, and what
they answer is heard as the same outputs.
"""

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel

from backends.serving.wire import entailment, fusion, rerank, translate
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent


class Shape(Protocol):
    story: str
    request: type[BaseModel]
    response: type[BaseModel] | None  # None: the answer is a file

    takes_forms: bool  # pictures may come as files of a multipart form

    def is_heavy(self, sent: Sent) -> bool:
        """Does reading take so long that it belongs into a thread?"""
        ...

    def read(self, sent: Sent, terms: Terms) -> Question: ...


SHAPES: Mapping[str, Shape] = {
    "rerank": rerank.RerankShape(),
    "entailment": entailment.EntailmentShape(),
    "fusion": fusion.FusionShape(),
    "translate": translate.TranslateShape(),
}
