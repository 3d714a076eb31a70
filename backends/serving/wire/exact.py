"""
Answers between processes of ours: the outputs themselves, instead of a response for programs.

A portal that asks a pod names `MEDIA_TYPE` in `Accept`. The request is the family's public one;
the answer is {"outputs", "usage"}, a stream's events are {"index", "part"} and then the same, and
errors carry what only a page shows. Nothing is lost, not even a sentence in Chinese.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter

from backends.errors import BadInput, QuartetError
from backends.serving import Answer
from backends.serving.wire.question import Question
from backends.settings import Limits

MEDIA_TYPE = "application/vnd.quartet+json"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the path of the route that takes it, and its body's fields."""

    path: str
    fields: dict[str, Any]


@runtime_checkable
class Heard(Protocol):
    """A shape whose outputs a portal may ask for as they are."""

    outputs: TypeAdapter[Any]  # of a tuple of them
    parts: TypeAdapter[Any]  # of one part of a stream


@runtime_checkable
class Exact(Heard, Protocol):
    """What a family's own shape adds, so that its service can run elsewhere."""

    def ask(self, items: Sequence[Any]) -> Asked:
        """A request whose route reads these items, exactly, and whose outputs are as here."""
        ...


def is_wanted(accept: str) -> bool:
    return MEDIA_TYPE in accept


def widened(limits: Limits) -> Limits:
    """
    The caps of a request from a portal, which kept to them before: base64 makes a picture a
    third larger, and one that is no JPEG may be larger as the PNG that it was made into.
    """
    more = {name: 2 * getattr(limits, name) for name in ("body_bytes", "upload_bytes")}
    return limits.model_copy(update=more)


def exactly(question: Question, shape: Heard) -> Question:
    """The same question, answered exactly."""

    def write(answer: Answer) -> dict[str, Any]:
        outputs = shape.outputs.dump_python(answer.outputs, mode="json")
        return {"outputs": outputs, "usage": {"total_tokens": answer.tokens}}

    def part(index: int, value: Any) -> dict[str, Any]:
        return {"index": index, "part": shape.parts.dump_python(value, mode="json")}

    made = part if question.part else None
    return replace(question, write=write, part=made, file=None, is_exact=True)


def read_outputs(value: Any, shape: Heard) -> tuple[tuple[Any, ...], int]:
    """Outputs and tokens. ValueError, LookupError or TypeError for what is no such answer."""
    return shape.outputs.validate_python(value["outputs"]), int(value["usage"]["total_tokens"])


def read_part(value: Any, shape: Heard) -> Any:
    return shape.parts.validate_python(value["part"])


def exact_error(error: QuartetError) -> dict[str, str]:
    """What an error's body says besides, and instead, to a portal."""
    field = {"field": error.field} if isinstance(error, BadInput) else {}
    return {"error": error.text, "zh": error.zh, **field}
