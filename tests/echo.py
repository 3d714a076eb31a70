"""
The smallest families to ask over HTTP: exact engines, so that every answer can be checked.

`exact` is a rerank family with the real shape; `echo` streams, under the name of translate, with
a shape of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter

from backends.engines import Emit, Model
from backends.engines.rerank import Pair, Relevance
from backends.errors import BadInput
from backends.families import Family
from backends.serving import Answer
from backends.serving.wire.exact import Asked
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated
from tests import stubs


def score(document: str) -> Relevance:
    """Of the text alone; cut when it is long."""
    return Relevance(sum(document.encode()) % 997 / 997, cut=len(document) > 100)


class Exact(stubs.Recorder):
    """A `Recorder` that scores."""

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        super().run([pair.document for pair in batch], emit)
        return [score(pair.document) for pair in batch]


def pairs(*documents: str, query: str = "a query", instruction: str = "") -> list[Pair]:
    return [Pair(query, document, documents, instruction) for document in documents]


def exact(*models: Model) -> Family:
    models = models or (stubs.model(Exact("exact")),)
    return stubs.family(*models, name="rerank", sample=pairs("one", "two"))


class Echo(stubs.Recorder):
    """Emits each word, answers with all of them in capitals. `between` runs after each word."""

    def __init__(self, between: Callable[[str], None] = lambda word: None) -> None:
        super().__init__("echo")
        self.between = between
        self.heard: list[bool] = []

    def run(self, batch: Sequence[str], emit: Emit) -> Sequence[str]:
        super().run(batch, emit)
        for index, text in enumerate(batch):
            for word in text.split():
                self.heard.append(emit(index, word))
                self.between(word)
        return [text.upper() for text in batch]


class EchoRequest(BaseModel):
    text: str
    stream: bool = False


class EchoShape:
    story = "An echo."
    request: type[BaseModel] = EchoRequest
    response: type[BaseModel] = BaseModel
    takes_forms = False
    outputs = TypeAdapter(tuple[str, ...])
    parts = TypeAdapter(str)

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(EchoRequest, sent)
        if not asked.text:
            raise BadInput("text is empty.", zh="文本为空。", field="text")

        def write(answer: Answer) -> dict[str, Any]:
            return {"text": answer[0], "usage": {"total_tokens": answer.tokens}}

        def part(index: int, word: str) -> dict[str, Any]:
            return {"index": index, "delta": word}

        return Question((asked.text,), write, part=part if asked.stream else None)

    def ask(self, items: Sequence[Any]) -> Asked:
        return Asked("/v1/translate", {"text": items[0]})


def echo(engine: Echo) -> Family:
    return stubs.family(stubs.model(engine), name="translate", sample=("a b",))
