"""
`/v1/rerank`: one superset of ours, Cohere, Jina and vLLM.

> {"model", "query": side, "documents": [side], "top_n", "return_documents", "instruction",
   "timeout", "rank_fields", …}
< {"id", "model", "object", "results": [{"index", "relevance_score", "document"?}], "usage",
   "warnings", "meta"}, best first

A side is str | {"text"} | {"image"} | {"text", "image"} | {"content": [part]}; a picture as query
is for models that take one. A part is {"type": "text", "text"} or {"type": "image_url",
"image_url": {"url"}}. Pictures are base64 or data URIs; or send a multipart form, whose fields
`query` and `documents` hold texts and files.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.rerank import Document, Pair, Relevance, picture_of, text_of
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.documents import (
    as_sent,
    check_length,
    read_document,
    read_query,
    sent_back,
)
from backends.serving.wire.exact import Asked
from backends.serving.wire.pictures import notes_of
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, listed, validated

STORY = __doc__ or ""


class RerankRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    query: str | dict[str, Any] | bytes = Field(
        description='What is looked for: a text, or an object with a "text", an "image" or both.'
    )
    documents: list[str | dict[str, Any] | bytes] = Field(
        description='Texts, or objects with a "text" or an "image" (base64 or a data URI), or '
        "files of a form. At most 1,000 unless set otherwise."
    )
    model: str | None = Field(None, description="Refused unless it is the model that is loaded.")
    top_n: int | None = Field(None, ge=1, description="Results wanted; all of them by default.")
    return_documents: bool | None = Field(
        None, description="Send the documents back with the results."
    )
    instruction: str | None = Field(
        None, description="What counts as an answer, for models that follow instructions."
    )
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )
    rank_fields: list[str] | None = Field(
        None, description="Fields of document objects that make the text, in this order (Cohere)."
    )
    max_chunks_per_doc: int | None = Field(None, description="Taken, and said to have no effect.")
    max_tokens_per_doc: int | None = Field(None, description="Taken, and said to have no effect.")


class RerankResult(BaseModel):
    index: int = Field(description="The document's place in the request, from 0.")
    relevance_score: float = Field(ge=0, le=1)
    document: dict[str, Any] | None = None


class RerankResponse(BaseModel):
    id: str
    model: str
    object: str
    results: list[RerankResult] = Field(description="Best first.")
    usage: dict[str, int]
    warnings: list[str]
    meta: dict[str, Any]


class RerankShape:
    """
    `version` is that of Cohere's interface, which answers tell; `returns_documents` where a
    request does not say.
    """

    story = STORY
    request: type[BaseModel] = RerankRequest
    response: type[BaseModel] | None = RerankResponse

    takes_forms = True
    outputs = TypeAdapter(tuple[Relevance, ...])
    parts = TypeAdapter(None)  # a score has none

    def __init__(self, version: str = "1", returns_documents: bool = False) -> None:
        self._version = version
        self._returns_documents = returns_documents

    def is_heavy(self, sent: Sent) -> bool:
        query, documents = sent.value.get("query"), sent.value.get("documents")
        asked = query[-1] if isinstance(query, list) and query else query
        sides = [asked, *(documents if isinstance(documents, list) else ())]
        return any(not isinstance(side, str) for side in sides)

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(RerankRequest, sent)
        terms.check_model(asked.model)
        query = read_query(asked.query, "query", terms)
        instruction = asked.instruction or ""
        check_length(instruction, "instruction", terms)
        check_documents(asked.documents, "documents", terms)
        documents = [
            read_document(document, f"documents[{n}]", asked.rank_fields, terms)
            for n, document in enumerate(asked.documents)
        ]
        pairs = pairs_of([query] * len(documents), documents, instruction.strip())
        warnings = _warnings(asked, sent) + said_of_query(query, "query")
        warnings += said_of_pictures(documents, "documents")
        return Question(pairs, partial(self._write, asked, pairs, warnings, terms), asked.timeout)

    def _write(
        self,
        asked: RerankRequest,
        pairs: tuple[Pair, ...],
        warnings: list[str],
        terms: Terms,
        answer: Answer,
    ) -> dict[str, Any]:
        warnings = warnings + said_of_model(answer, pairs, terms)
        results: list[dict[str, Any]] = [
            {"index": n, "relevance_score": answer[n].score} for n in best_first(answer)
        ][: asked.top_n]
        wanted = asked.return_documents
        if self._returns_documents if wanted is None else wanted:
            for result in results:
                result["document"] = sent_back(pairs[result["index"]].document)
        return {
            "id": uuid.uuid4().hex,
            "model": answer.model,
            "object": "list",
            "results": results,
            "usage": usage_of(answer),
            "warnings": warnings,
            "meta": {
                "api_version": {"version": self._version},
                "billed_units": {"search_units": 1},
                "warnings": warnings,
            },
        }

    def ask(self, items: Sequence[Any]) -> Asked:
        """Of several queries too, each with its document: that is what `/v1/score` is for."""
        first: Pair = items[0]
        queries = [item.query for item in items]
        same = pairs_of(queries, [item.document for item in items], first.instruction)
        if tuple(items) != same:
            raise ValueError("a request has one instruction and all of its documents")
        documents = [as_sent(item.document) for item in items]
        if queries.count(first.query) == len(queries):
            instruction = {"instruction": first.instruction} if first.instruction else {}
            fields = {"query": as_sent(first.query), "documents": documents, **instruction}
            return Asked("/v1/rerank", fields)
        if first.instruction:
            raise ValueError("a request of several queries has no instruction")
        asked = [as_sent(query) for query in queries]
        return Asked("/v1/score", {"queries": asked, "documents": documents})


def pairs_of(
    queries: Sequence[Document], documents: Sequence[Document], instruction: str = ""
) -> tuple[Pair, ...]:
    """Each query with its document; the texts of all documents are the corpus of each."""
    corpus = tuple(text for each in documents if (text := text_of(each)) is not None)
    return tuple(
        Pair(query, each, corpus, instruction)
        for query, each in zip(queries, documents, strict=True)
    )


def check_documents(documents: Sequence[Any], field: str, terms: Terms) -> None:
    most = terms.limits.documents
    if not documents:
        raise BadInput(f"{field} is empty; send at least one.", field=field)
    if len(documents) > most:
        raise BadInput(f"{field} holds {len(documents)}; send at most {most} at once.", field=field)


def best_first(answer: Answer) -> list[int]:
    """The documents' places by falling score; what is equal stays in the caller's order."""
    return sorted(range(len(answer)), key=lambda n: (-answer[n].score, n))


def usage_of(answer: Answer) -> dict[str, int]:
    return {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}


def _warnings(asked: RerankRequest, sent: Sent) -> list[str]:
    said = sent.warnings()
    for field in ("max_chunks_per_doc", "max_tokens_per_doc"):
        if getattr(asked, field) is not None:
            said.append(f"{field} has no effect: the model decides how much it reads.")
    return said + said_of_unknown(asked)


def said_of_unknown(asked: BaseModel) -> list[str]:
    extra = sorted(asked.model_extra or {})
    return [f"Unknown fields were ignored: {listed(extra)}."] if extra else []


def said_of_query(query: Document, field: str) -> list[str]:
    picture = picture_of(query)
    return notes_of(picture, field) if picture else []


def said_of_pictures(documents: Sequence[Document], field: str) -> list[str]:
    """How each picture was read."""
    pictures = ((n, picture_of(document)) for n, document in enumerate(documents))
    return [note for n, each in pictures if each for note in notes_of(each, f"{field}[{n}]")]


def said_of_model(answer: Answer, pairs: tuple[Pair, ...], terms: Terms) -> list[str]:
    """What the model that answered did not do, one sentence each."""
    said = []
    model = answer.model
    if pairs[0].instruction and not terms.family.models[model].capabilities.instruction:
        able = listed([m.name for m in terms.family.able("instruction")])
        said.append(f"{model} does not follow instructions, so yours was ignored; {able} does.")
    return said + said_of_cut(answer, "documents")


def cut_of(answer: Answer, field: str) -> list[str]:
    """The documents whose end was not read, as the caller wrote them."""
    return [f"{field}[{n}]" for n, score in enumerate(answer) if score.cut]


def said_of_cut(answer: Answer, field: str) -> list[str]:
    cut = cut_of(answer, field)
    if not cut:
        return []
    verb = "is" if len(cut) == 1 else "are"
    return [f"{listed(cut)} {verb} longer than {answer.model} reads; the end was not read."]
