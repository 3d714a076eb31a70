"""
`/v1/rerank`: one superset of ours, Cohere v1, Jina and vLLM.

> {"model", "query", "documents": [str | {"text"} | {"content": [{"type": "text", "text"}]}],
   "top_n", "return_documents", "instruction", "timeout", "rank_fields", …}
< {"id", "model", "object", "results": [{"index", "relevance_score", "document"?, "cut"?}],
   "usage", "warnings", "meta"}, best first
"""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backends.engines.rerank import Pair, Relevance
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, listed, validated


class RerankRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    query: str = Field(description="What is looked for.")
    documents: list[str | dict[str, Any]] = Field(
        description='Texts, or objects with a "text". At most 1,000 unless set otherwise.'
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
    cut: bool = Field(False, description="True: the end of the document was not read.")


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
    response: type[BaseModel] = RerankResponse

    takes_forms = False

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(RerankRequest, sent)
        _check(asked, terms)
        texts = tuple(
            _text_of(document, n, asked.rank_fields) for n, document in enumerate(asked.documents)
        )
        instruction = (asked.instruction or "").strip()
        pairs = tuple(Pair(asked.query, text, texts, instruction) for text in texts)
        warnings = _warnings(asked, sent.cleaned)
        return Question(pairs, partial(_write, asked, pairs, warnings, terms), asked.timeout)

    def ask(self, items: Sequence[Any], *, stream: bool = False) -> dict[str, Any]:
        first: Pair = items[0]
        whole = [Pair(first.query, text, first.corpus, first.instruction) for text in first.corpus]
        if list(items) != whole:
            raise ValueError("A request has one query, and each of its documents once, in order.")
        instruction = {"instruction": first.instruction} if first.instruction else {}
        return {"query": first.query, "documents": first.corpus, **instruction}

    def answered(self, value: Any) -> Sequence[Any]:
        results = RerankResponse.model_validate(value).results
        if {result.index for result in results} != set(range(len(results))):
            raise ValueError("a result is missing")
        results.sort(key=lambda result: result.index)
        return [Relevance(result.relevance_score, result.cut) for result in results]

    def part_of(self, event: Any) -> Any:
        return None


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
    if asked.model is not None and terms.loaded and asked.model != terms.loaded:
        raise BadInput(
            f"model {asked.model[:80]!r} is not loaded here; this service runs {terms.loaded}.",
            field="model",
        )


def _text_of(document: str | dict[str, Any], n: int, rank_fields: list[str] | None) -> str:
    if isinstance(document, str):
        return document
    where = f"documents[{n}]"
    if rank_fields:
        parts = [str(document[field]) for field in rank_fields if field in document]
        if parts:
            return "\n".join(parts)
        raise BadInput(f"{where} has none of the rank_fields {listed(rank_fields)}.", field=where)
    if isinstance(document.get("text"), str):
        return str(document["text"])
    if isinstance(document.get("content"), list):
        return "\n".join(_part(part, f"{where}.content[{i}]") for i, part in _parts(document))
    if "image" in document or "image_url" in document:
        raise _no_pictures(where)
    raise BadInput(f'{where} must be text or an object with a "text".', field=where)


def _parts(document: dict[str, Any]) -> list[tuple[int, Any]]:
    return list(enumerate(document["content"]))


def _part(part: Any, where: str) -> str:
    """One part of vLLM's multi-modal document."""
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, dict) and "image_url" in part:
        raise _no_pictures(where)
    raise BadInput(f'{where} must be an object with a "text".', field=where)


def _no_pictures(where: str) -> BadInput:
    return BadInput(
        f"{where} is a picture, and this service reads texts only; an address is never fetched.",
        field=where,
    )


def _warnings(asked: RerankRequest, cleaned: list[str]) -> list[str]:
    said = []
    if cleaned:
        said.append(f"Characters that are not text were removed from {listed(cleaned)}.")
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
        {"index": n, "relevance_score": scores[n].score, **({"cut": True} if scores[n].cut else {})}
        for n in order
    ]
    if asked.return_documents:
        for result in results:
            result["document"] = {"text": pairs[result["index"]].document}
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
