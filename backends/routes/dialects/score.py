"""
vLLM's score: one query with each document (1-N), or each query with its document (N-N).

> {"model", "queries" | "text_1" | "data_1", "documents" | "items" | "text_2" | "data_2"}, each a
  text, an object with a "content" of parts, or a list of these; either may be pictures
< {"id", "object", "created", "model", "data": [{"index", "object", "score"}], "usage",
   "warnings"}, in the order of the request
"""

import time
import uuid
from functools import partial
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.rerank import Relevance
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.documents import read_document, read_query
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.rerank import (
    check_documents,
    pairs_of,
    said_of_cut,
    said_of_pictures,
    said_of_unknown,
    usage_of,
)
from backends.serving.wire.text import Sent, listed, validated

STORY = __doc__ or ""

QUERIES = ("queries", "text_1", "data_1")
DOCUMENTS = ("documents", "items", "text_2", "data_2")

Text: TypeAlias = str | dict[str, Any]
Texts: TypeAlias = Text | list[Text]


class ScoreRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    model: str | None = Field(None, description="Refused unless it is the model that is loaded.")
    queries: Texts | None = Field(None, description="One, or as many as there are documents.")
    documents: Texts | None = None
    text_1: Texts | None = Field(None, description="Another name of queries.")
    text_2: Texts | None = Field(None, description="Another name of documents.")
    data_1: Texts | None = Field(None, description="Another name of queries.")
    data_2: Texts | None = Field(None, description="Another name of documents.")
    items: Texts | None = Field(None, description="Another name of documents.")


class Score(BaseModel):
    index: int = Field(description="The pair's place in the request, from 0.")
    object: str
    score: float


class ScoreResponse(BaseModel):
    id: str
    object: str
    created: int
    model: str
    data: list[Score]
    usage: dict[str, int]
    warnings: list[str]


class ScoreShape:
    story = STORY
    request: type[BaseModel] = ScoreRequest
    response: type[BaseModel] | None = ScoreResponse

    takes_forms = False
    outputs = TypeAdapter(tuple[Relevance, ...])  # what a portal asks for several queries
    parts = TypeAdapter(None)

    def is_heavy(self, sent: Sent) -> bool:
        given = [e for n in QUERIES + DOCUMENTS if n in sent.value for e in _listed(sent.value[n])]
        return any(isinstance(each, dict) for each in given)

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(ScoreRequest, sent)
        terms.check_model(asked.model)
        theirs, given = _given(asked, QUERIES)
        ours, documents = _given(asked, DOCUMENTS)
        check_documents(documents, ours, terms)
        queries = [read_query(each, where, terms) for where, each in _named(theirs, given)]
        if len(queries) not in (1, len(documents)):
            raise BadInput(
                f"{theirs} holds {len(queries)} and {ours} {len(documents)}; send one of {theirs}, "
                "or as many of both.",
                field=theirs,
            )
        read = [read_document(each, where, None, terms) for where, each in _named(ours, documents)]
        pairs = pairs_of(queries * len(read) if len(queries) == 1 else queries, read)
        said = sent.warnings() + said_of_unknown(asked)
        said += said_of_pictures(queries, theirs) + said_of_pictures(read, ours)
        return Question(pairs, partial(_write, ours, said), names={"query": theirs})


def _given(asked: ScoreRequest, names: tuple[str, ...]) -> tuple[str, list[Text]]:
    """The one of the names that was sent, and what was sent under it."""
    sent = [name for name in names if getattr(asked, name) is not None]
    if len(sent) != 1:
        fault = f"Send only one of {listed(sent)}" if sent else f"{names[0]} is missing"
        raise BadInput(f"{fault}.", field="body")
    return sent[0], _listed(getattr(asked, sent[0]))


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _named(field: str, given: list[Text]) -> list[tuple[str, Text]]:
    """Each as the caller wrote it: text_1, or text_1[3] among several."""
    if len(given) == 1:
        return [(field, given[0])]
    return [(f"{field}[{n}]", each) for n, each in enumerate(given)]


def _write(field: str, said: list[str], answer: Answer) -> dict[str, Any]:
    return {
        "id": f"score-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": answer.model,
        "data": [
            {"index": n, "object": "score", "score": relevance.score}
            for n, relevance in enumerate(answer)
        ],
        "usage": usage_of(answer),
        "warnings": said + said_of_cut(answer, field),
    }
