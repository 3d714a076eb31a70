"""
Items and results as JSON: one shape for each family, in one table.

A shape reads a request's body into items and writes the answer. It is pure: BadInput leaves
here, before any queue, and names the field as the caller wrote it.
"""

from collections.abc import Mapping
from typing import Protocol

from pydantic import BaseModel

from backends.serving.wire import rerank
from backends.serving.wire.question import Question, Terms


class Shape(Protocol):
    story: str
    request: type[BaseModel]
    response: type[BaseModel]

    def read(self, body: bytes, terms: Terms) -> Question: ...


SHAPES: Mapping[str, Shape] = {"rerank": rerank.RerankShape()}
