"""
Rerank as other programs ask for it: Cohere, Jina, vLLM and Text Embeddings Inference (TEI).

    POST /v1/rerank          ours = Cohere v1 = Jina = vLLM, one superset
    POST /v2/rerank          Cohere v2, vLLM; 400 where ours is 422
    POST /rerank             "texts": TEI; "documents": Jina, vLLM
    POST /score, /v1/score   vLLM
    GET  /info               TEI

Clients of Cohere and of vLLM look for an error's sentence in "message", Jina's in "detail".
"""

from typing import Any

from pydantic import BaseModel, RootModel

from backends.errors import BadInput
from backends.routes.answers import Wording
from backends.routes.dialects.dialect import Dialect, Facts, Lookup
from backends.routes.dialects.score import ScoreShape
from backends.routes.dialects.tei import Ranks, TeiRequest, TeiShape
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.rerank import RerankRequest, RerankResponse, RerankShape
from backends.serving.wire.text import Sent

STORY = """
TEI's rerank when the body has "texts", Jina's and vLLM's when it has "documents"; not both.
Jina's and vLLM's are those of `/v1/rerank`, and send the documents back unless told not to.
"""


class EitherRequest(RootModel[TeiRequest | RerankRequest]):
    pass


class EitherResponse(RootModel[Ranks | RerankResponse]):
    pass


class EitherShape:
    """`/rerank` of two worlds: the field that holds the documents tells which one asks."""

    story = STORY
    request: type[BaseModel] = EitherRequest
    response: type[BaseModel] | None = EitherResponse

    takes_forms = True

    def __init__(self) -> None:
        self._tei = TeiShape()
        self._vllm = RerankShape(returns_documents=True)

    def is_heavy(self, sent: Sent) -> bool:
        return isinstance(sent.value.get("documents"), dict) or self._vllm.is_heavy(sent)

    def read(self, sent: Sent, terms: Terms) -> Question:
        match "texts" in sent.value, "documents" in sent.value:
            case True, False:
                return self._tei.read(sent, terms)
            case False, True:
                return self._vllm.read(_in_our_words(sent), terms)
            case True, True:
                fault = 'Send either "texts" or "documents", not both.'
            case _:
                fault = '"texts" or "documents" is missing; send one of them.'
        raise BadInput(fault, field="body")


def _in_our_words(sent: Sent) -> Sent:
    """vLLM takes one document without a list, and 0 for all results."""
    value = dict(sent.value)
    if isinstance(value["documents"], str | dict):
        value["documents"] = [value["documents"]]
    if value.get("top_n") == 0:
        value["top_n"] = None
    return Sent(value, sent.cleaned, sent.is_form)


def info(facts: Facts) -> dict[str, Any]:
    """TEI's `/info`; null stands for what has no meaning here."""
    batching = facts.settings.batching
    return {
        "model_id": facts.status.model,
        "model_sha": None,
        "model_dtype": None,
        "served_model_name": facts.status.model,
        "model_type": {"reranker": {"id2label": {"0": "relevance"}, "label2id": {"relevance": 0}}},
        "max_concurrent_requests": None,
        "max_input_length": None,
        "max_batch_tokens": batching.max_tokens,
        "max_batch_requests": batching.max_batch,
        "max_client_batch_size": facts.settings.limits.documents,
        "auto_truncate": True,
        "tokenization_workers": None,
        "version": facts.version,
        "sha": None,
        "docker_label": None,
    }


ALSO = ("message", "detail")

OURS = Wording(also=ALSO)

OTHERS: tuple[Dialect, ...] = (
    Dialect(
        "Rerank: Cohere v2, vLLM",
        ("/v2/rerank",),
        RerankShape(version="2"),
        Wording(also=ALSO, statuses={BadInput: 400}),
    ),
    Dialect("Rerank: TEI, Jina, vLLM", ("/rerank",), EitherShape(), Wording(also=ALSO)),
    Dialect("Score: vLLM", ("/score", "/v1/score"), ScoreShape(), Wording(also=ALSO)),
)

LOOKUPS: tuple[Lookup, ...] = (Lookup("Model: TEI", "/info", info),)
