"""
What a way of asking is: a `Dialect` asks the model, a `Reading` is answered by reading what was
sent, a `Lookup` tells what is there. `key_field` is where in the body its clients send an API key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from backends.families import Family
from backends.routes.answers import PLAIN, Wording
from backends.serving import Status
from backends.serving.wire import Shape
from backends.serving.wire.text import Sent
from backends.settings import Settings


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to ask a family: on which paths, in which shape, and how its errors are told."""

    title: str
    paths: tuple[str, ...]
    shape: Shape
    wording: Wording = PLAIN
    key_field: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be told of; `query` is the address's query string, or a GET's form."""

    status: Status
    family: Family
    settings: Settings
    version: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """A POST that needs no model: capped, counted and logged, and answered in a thread."""

    title: str
    path: str
    request: type[BaseModel]
    response: type[BaseModel]
    tell: Callable[[Sent, Facts], Any]
    wording: Wording = PLAIN
    key_field: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A GET that asks the model nothing: it is neither admitted nor counted."""

    title: str
    path: str
    tell: Callable[[Facts], Any]
    wording: Wording = PLAIN
    key_field: str = ""
