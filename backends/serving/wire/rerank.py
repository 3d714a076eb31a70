"""
`/v1/rerank`: one superset of ours, Cohere v1, Jina and vLLM.

> {"model", "query", "documents": [str | {"text"} | {"image"} | {"content": [part]}],
   "top_n", "return_documents", "instruction", "timeout", "rank_fields", …}
< {"id", "model", "object", "results": [{"index", "relevance_score", "document"?}], "usage",
   "warnings", "meta"}, best first

A part is {"type": "text", "text"} or {"type": "image_url", "image_url": {"url"}}. Pictures are
base64 or data URIs; or send a multipart form, whose field `documents` holds texts and files.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.rerank import Pair, Relevance, picture_of, text_of
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.documents import as_sent, read_document, sent_back
from backends.serving.wire.pictures import notes_of
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, listed, validated


class RerankRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    query: str = Field(description="What is looked for.")
    documents: list[str | dict[str, Any] | bytes] = Field(
        description='Texts, or objects with a "text" or an "image" (base64 or a data URI), or '
        "files of a form. At most 1,000 unless set otherwise."
    )
    model: str | None = Field(None, description="Refused unless it is the model that is loaded.")
    top_n: int | None = Field(None, ge=1, description="Results wanted; all of them by default.")
    return_documents: bool = Field(False, description="Send the documents back with the results.")
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
    story = __doc__ or ""
    request: type[BaseModel] = RerankRequest
    response: type[BaseModel] | None = RerankResponse

    takes_forms = True
    outputs = TypeAdapter(tuple[Relevance, ...])
    parts = TypeAdapter(None)  # a score has none

    def is_heavy(self, sent: Sent) -> bool:
        documents = sent.value.get("documents")
        return isinstance(documents, list) and any(not isinstance(d, str) for d in documents)

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(RerankRequest, sent)
        _check(asked, terms)
        documents = tuple(
            read_document(document, f"documents[{n}]", asked.rank_fields, terms)
            for n, document in enumerate(asked.documents)
        )
        texts = tuple(text for each in documents if (text := text_of(each)) is not None)
        instruction = (asked.instruction or "").strip()
        pairs = tuple(Pair(asked.query, each, texts, instruction) for each in documents)
        warnings = _warnings(asked, sent)
        for n, document in enumerate(documents):
            if (picture := picture_of(document)) is not None:
                warnings += notes_of(picture, f"documents[{n}]")
        return Question(pairs, partial(_write, asked, pairs, warnings, terms), asked.timeout)

    def ask(self, items: Sequence[Any]) -> dict[str, Any]:
        first: Pair = items[0]
        same = [Pair(first.query, i.document, first.corpus, first.instruction) for i in items]
        texts = tuple(text for item in items if (text := text_of(item.document)) is not None)
        if list(items) != same or texts != first.corpus:
            raise ValueError("a request has one query and all of its documents")
        instruction = {"instruction": first.instruction} if first.instruction else {}
        documents = [as_sent(item.document) for item in items]
        return {"query": first.query, "documents": documents, **instruction}


def _check(asked: RerankRequest, terms: Terms) -> None:
    most = terms.limits.documents
    for field, text in (("query", asked.query), ("instruction", asked.instruction or "")):
        if len(text) > terms.limits.query_chars:
            raise BadInput(
                f"{field} has {len(text)} characters; send at most {terms.limits.query_chars}.",
                field=field,
            )
    if not asked.query.strip():
        raise BadInput("query is empty; write what you are looking for.", field="query")
    if not asked.documents:
        raise BadInput("documents is empty; send at least one.", field="documents")
    if len(asked.documents) > most:
        raise BadInput(
            f"documents holds {len(asked.documents)}; send at most {most} at once.",
            field="documents",
        )
    terms.check_model(asked.model)


def _warnings(asked: RerankRequest, sent: Sent) -> list[str]:
    said = sent.warnings()
    for field in ("max_chunks_per_doc", "max_tokens_per_doc"):
        if getattr(asked, field) is not None:
            said.append(f"{field} has no effect: the model decides how much it reads.")
    if asked.model_extra:
        said.append(f"Unknown fields were ignored: {listed(sorted(asked.model_extra))}.")
    return said


def _write(
    asked: RerankRequest, pairs: tuple[Pair, ...], warnings: list[str], terms: Terms, answer: Answer
) -> dict[str, Any]:
    scores: list[Relevance] = list(answer)
    warnings = warnings + said_of_model(answer.model, pairs, scores, terms)
    order = sorted(range(len(scores)), key=lambda n: (-scores[n].score, n))[: asked.top_n]
    results: list[dict[str, Any]] = [
        {"index": n, "relevance_score": scores[n].score} for n in order
    ]
    if asked.return_documents:
        for result in results:
            result["document"] = sent_back(pairs[result["index"]].document)
    return {
        "id": uuid.uuid4().hex,
        "model": answer.model,
        "object": "list",
        "results": results,
        "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
        "warnings": warnings,
        "meta": {
            "api_version": {"version": "1"},
            "billed_units": {"search_units": 1},
            "warnings": warnings,
        },
    }


def said_of_model(
    model: str, pairs: tuple[Pair, ...], scores: list[Relevance], terms: Terms
) -> list[str]:
    """What the model that answered did not do, one sentence each."""
    said = []
    if pairs[0].instruction and not terms.family.models[model].capabilities.instruction:
        able = listed([m.name for m in terms.family.able("instruction")])
        said.append(f"{model} does not follow instructions, so yours was ignored; {able} does.")
    cut = [f"documents[{n}]" for n, score in enumerate(scores) if score.cut]
    if cut:
        verb = "is" if len(cut) == 1 else "are"
        said.append(f"{listed(cut)} {verb} longer than {model} reads; the end was not read.")
    return said
