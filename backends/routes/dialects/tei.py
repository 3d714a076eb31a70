"""
TEI's rerank: a bare list, best first.

> {"query", "texts": [str], "raw_scores": false, "return_text": false, "truncate",
   "truncation_direction": "right"}
< [{"index", "score", "text"?}]

A list has no room for warnings, so a text that must not be cut, or not at its end, is refused
when the model did cut it.
"""

import math
import sys
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.documents import read_query
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.rerank import (
    best_first,
    check_documents,
    cut_of,
    pairs_of,
)
from backends.serving.wire.text import Sent, listed, validated

STORY = __doc__ or ""


class TeiRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    query: str = Field(description="What is looked for.")
    texts: list[str] = Field(description="The documents.")
    raw_scores: bool | None = Field(None, description="Logits instead of scores from 0 to 1.")
    return_text: bool | None = Field(None, description="Send the texts back with the results.")
    truncate: bool | None = Field(
        None, description="false refuses a text that is longer than the model reads."
    )
    truncation_direction: Literal["right", "left", "Right", "Left"] | None = Field(
        None, description="The end of a long text that is not read; only right can be had."
    )
    top_n: int | None = Field(None, ge=1, description="Results wanted; all of them by default.")


class Rank(BaseModel):
    index: int = Field(description="The text's place in the request, from 0.")
    score: float
    text: str | None = None


class Ranks(RootModel[list[Rank]]):
    """Best first."""


class TeiShape:
    story = STORY
    request: type[BaseModel] = TeiRequest
    response: type[BaseModel] | None = Ranks

    takes_forms = False

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(TeiRequest, sent)
        query = read_query(asked.query, "query", terms)
        check_documents(asked.texts, "texts", terms)
        pairs = pairs_of([query] * len(asked.texts), asked.texts)
        return Question(pairs, partial(_write, asked))


def _write(asked: TeiRequest, answer: Answer) -> list[dict[str, Any]]:
    _check_cut(asked, answer)
    score = _logit if asked.raw_scores else float
    ranks: list[dict[str, Any]] = [
        {"index": n, "score": score(answer[n].score)} for n in best_first(answer)
    ][: asked.top_n]
    if asked.return_text:
        for rank in ranks:
            rank["text"] = asked.texts[rank["index"]]
    return ranks


def _check_cut(asked: TeiRequest, answer: Answer) -> None:
    from_the_left = asked.truncation_direction in ("left", "Left")
    cut = cut_of(answer, "texts")
    if not cut or (asked.truncate is not False and not from_the_left):
        return
    raise BadInput(
        f"{listed(cut)} would be cut at the end to what {answer.model} reads; shorten it, or "
        'send "truncate": true and "truncation_direction": "right".',
        field="texts",
    )


def _logit(score: float) -> float:
    """The number whose sigmoid the score is; the ends, where there is none, are far away."""
    tiny = sys.float_info.min
    return math.log(max(score, tiny)) - math.log(max(1 - score, tiny))
