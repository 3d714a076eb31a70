"""
OFA's visual entailment, by JSON or as a multipart form.

/predict > {"image": base64 or a data URI or a file, "text"}
         < {"result", "labels", "confidence", "latency_ms", "probabilities": {"yes", "maybe", "no"}}

Text Embeddings Inference has a `/predict` too, with "inputs"; it classifies, and is not served.
"""

from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backends.engines.entailment import LABELS
from backends.errors import BadInput
from backends.routes.dialects.dialect import Dialect
from backends.serving import Answer
from backends.serving.wire.entailment import EntailmentShape
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated

STORY = __doc__ or ""


class OfaRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    image: str | bytes = Field(description="Base64, a data URI, or a file of a form.")
    text: str = Field(description="What the picture may show.")


class OfaResponse(BaseModel):
    result: str = Field(description="yes, maybe or no.")
    labels: list[str]
    confidence: float = Field(description="The result's probability.")
    latency_ms: float = Field(description="Milliseconds that it waited and ran.")
    probabilities: dict[str, float]
    warnings: list[str]


class OfaShape:
    story = STORY
    request: type[BaseModel] = OfaRequest
    response: type[BaseModel] | None = OfaResponse
    takes_forms = True

    def __init__(self) -> None:
        self._ours = EntailmentShape()

    def is_heavy(self, sent: Sent) -> bool:
        return True  # a picture is always decoded

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(OfaRequest, sent)
        if not asked.text.strip():
            raise BadInput("text is empty; write what may be seen.", field="text")
        ours = {"image": asked.image, "statements": [asked.text]}
        try:
            question = self._ours.read(Sent(ours, sent.cleaned), terms)
        except BadInput as error:
            raise _in_their_words(error) from error
        return Question(question.items, partial(_write, question))


def _in_their_words(error: BadInput) -> BadInput:
    text = error.text.replace("statements[0]", "text")
    return BadInput(text, field=error.field.replace("statements[0]", "text"))


def _write(question: Question, answer: Answer) -> dict[str, Any]:
    ours = question.write(answer)
    (result,) = ours["results"]
    return {
        "result": result["label"],
        "labels": list(LABELS),
        "confidence": result["probabilities"][result["label"]],
        "latency_ms": round((answer.queued + answer.ran) * 1e3, 1),
        "probabilities": result["probabilities"],
        "warnings": ours["warnings"],
    }


DIALECT = Dialect("Entailment: OFA", ("/predict",), OfaShape())
