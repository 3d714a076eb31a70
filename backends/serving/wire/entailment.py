"""
`/v1/entailment`: does a picture show that statements are true?

> {"image", "statements": [str], "premise"?, "model"?, "timeout"?}
< {"model", "results": [{"index", "label": "yes|maybe|no", "probabilities": {"yes", "maybe",
   "no"}, "measured", "evidence": [str]}], "usage", "warnings"}

The image is base64 or a data URI; or send a multipart form with a file `image`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.entailment import LABELS, Claim, Verdict
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.exact import Asked
from backends.serving.wire.pictures import notes_of, picture_as_sent, picture_from
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, listed, validated

LONGEST = 2_000  # characters of a statement or a premise


class EntailmentRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    image: str | bytes = Field(description="Base64, a data URI, or a file of a form.")
    statements: list[str] = Field(description="What the picture may show. At most 20.")
    premise: str = Field("", description="A text taken to be true, for models that read one.")
    model: str | None = Field(None, description="Refused unless it is the model that is loaded.")
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )


class EntailmentResult(BaseModel):
    index: int
    label: str = Field(description="yes, maybe or no.")
    probabilities: dict[str, float]
    measured: bool = Field(
        description="True: how often such an answer was right, the same for every picture."
    )
    evidence: list[str]


class EntailmentResponse(BaseModel):
    model: str
    results: list[EntailmentResult]
    usage: dict[str, int]
    warnings: list[str]


class EntailmentShape:
    story = __doc__ or ""
    request: type[BaseModel] = EntailmentRequest
    response: type[BaseModel] | None = EntailmentResponse
    takes_forms = True
    outputs = TypeAdapter(tuple[Verdict, ...])
    parts = TypeAdapter(None)  # a verdict has none

    def is_heavy(self, sent: Sent) -> bool:
        return True  # a picture is always decoded

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(EntailmentRequest, sent)
        terms.check_model(asked.model)
        _check(asked, terms)
        picture = picture_from(asked.image, "image", terms.limits)
        items = tuple(Claim(picture, text, asked.premise) for text in asked.statements)
        warnings = sent.warnings() + notes_of(picture, "image")
        if asked.premise.strip() and not terms.family.models[terms.loaded].capabilities.premise:
            able = listed([model.name for model in terms.family.able("premise")])
            warnings.append(f"{terms.loaded} does not use a premise; {able} does.")
        if asked.model_extra:
            warnings.append(f"Unknown fields were ignored: {listed(sorted(asked.model_extra))}.")
        return Question(items, partial(_write, warnings), asked.timeout)

    def ask(self, items: Sequence[Any]) -> Asked:
        first: Claim = items[0]
        for item in items:
            if item != Claim(first.picture, item.hypothesis, first.premise):
                raise ValueError("a request has one picture and one premise")
        statements = [item.hypothesis for item in items]
        image = picture_as_sent(first.picture)
        fields = {"image": image, "statements": statements, "premise": first.premise}
        return Asked("/v1/entailment", fields)


def _check(asked: EntailmentRequest, terms: Terms) -> None:
    most = terms.limits.statements
    if not asked.statements:
        raise BadInput("statements is empty; send at least one.", field="statements")
    if len(asked.statements) > most:
        raise BadInput(
            f"statements holds {len(asked.statements)}; send at most {most} at once.",
            field="statements",
        )
    for n, text in enumerate(asked.statements):
        if not text.strip():
            raise BadInput(f"statements[{n}] is empty; write what may be seen.", field="statements")
    for field, text in [
        *((f"statements[{n}]", text) for n, text in enumerate(asked.statements)),
        ("premise", asked.premise),
    ]:
        if len(text) > LONGEST:
            raise BadInput(
                f"{field} has {len(text)} characters; send at most {LONGEST}.", field=field
            )


def _write(warnings: list[str], answer: Answer) -> dict[str, Any]:
    verdicts: list[Verdict] = list(answer)
    return {
        "model": answer.model,
        "results": [
            {
                "index": n,
                "label": verdict.label,
                "probabilities": dict(zip(LABELS, verdict.probabilities, strict=True)),
                "measured": verdict.measured,
                "evidence": [each.en for each in verdict.evidence],
            }
            for n, verdict in enumerate(verdicts)
        ],
        "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
        "warnings": warnings,
    }
