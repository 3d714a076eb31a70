"""
Answers between processes of ours: the outputs themselves, instead of a response for programs.

A portal that asks a pod names `MEDIA_TYPE` in `Accept`. The request is the family's public one;
the answer is {"outputs", "usage"}, a stream's events are {"index", "part"} and then the same, and
errors carry what only a page shows. Nothing is lost, not even a sentence in Chinese.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter

from backends.errors import BadInput, QuartetError
from backends.serving import Answer
from backends.serving.wire.question import Question

MEDIA_TYPE = "application/vnd.quartet+json"


@runtime_checkable
class Exact(Protocol):
    """What a family's own shape adds, so that its service can run elsewhere."""

    outputs: TypeAdapter[Any]  # of a tuple of them
    parts: TypeAdapter[Any]  # of one part of a stream

    def ask(self, items: Sequence[Any]) -> dict[str, Any]:
        """The body of a request that `read` makes these items of, exactly."""
        ...


def is_wanted(accept: str) -> bool:
    return MEDIA_TYPE in accept


def exactly(question: Question, shape: Exact) -> Question:
    """The same question, answered exactly."""

    def write(answer: Answer) -> dict[str, Any]:
        outputs = shape.outputs.dump_python(answer.outputs, mode="json")
        return {"outputs": outputs, "usage": {"total_tokens": answer.tokens}}

    def part(index: int, value: Any) -> dict[str, Any]:
        return {"index": index, "part": shape.parts.dump_python(value, mode="json")}

    return replace(question, write=write, part=part if question.part else None, is_exact=True)


def read_outputs(value: Any, shape: Exact) -> tuple[tuple[Any, ...], int]:
    """Outputs and tokens. ValueError, LookupError or TypeError for what is no such answer."""
    return shape.outputs.validate_python(value["outputs"]), int(value["usage"]["total_tokens"])


def read_part(value: Any, shape: Exact) -> Any:
    return shape.parts.validate_python(value["part"])


def exact_error(error: QuartetError) -> dict[str, str]:
    """What an error's body says besides, and instead, to a portal."""
    field = {"field": error.field} if isinstance(error, BadInput) else {}
    return {"error": error.text, "zh": error.zh, **field}
