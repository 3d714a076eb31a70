"""
`/v1/translate`: texts from one language into another.

> {"text": str | [str], "source": "auto" | code, "target": code, "glossary"?, "context"?, "style"?,
   "delimiters"?, "format"?: "text" | "html", "timeout"?, "stream"?}
< {"model", "translations": [{"text", "source", "target", …}], "usage", "warnings", "notice"?}

With "stream": true, server-sent events {"index", "delta"}…, then the whole answer as the last.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.translate import AUTO, Passage, Translation, check, remarks
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.exact import Asked
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, listed, validated

MOST_TEXTS = 200
NOTICE = "What the model's licence wants said with its translations; absent where it wants nothing."


class TranslateRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str | list[str] = Field(description="One text or several; paragraphs are kept.")
    target: str = Field(description="Code of the language to translate into, such as pt.")
    source: str = Field(AUTO, description="Code of the text's language, or auto to find it out.")
    model: str | None = Field(None, description="Refused unless it is the model that is loaded.")
    glossary: dict[str, str] = Field({}, description="Terms and their translations.")
    context: str = Field("", description="What came before, for models that read it.")
    style: str = Field("", description="A wish such as formal, for models that follow it.")
    delimiters: bool = Field(False, description="Keep every delimiter of the text.")
    format: Literal["text", "html"] = "text"
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )
    stream: bool = Field(False, description="Send parts as they come, as server-sent events.")


class TranslatedText(BaseModel):
    text: str
    source: str = Field(description="The language that was given or found.")
    target: str
    confidence: float = Field(description="Of the language that was found; 1 if it was given.")
    path: list[str] = Field(description='The kind of each step: "neural" or "rules".')


class TranslateResponse(BaseModel):
    model: str
    translations: list[TranslatedText]
    usage: dict[str, int]
    warnings: list[str]
    notice: str | None = Field(None, description=NOTICE)


class TranslateShape:
    story = __doc__ or ""
    request: type[BaseModel] = TranslateRequest
    response: type[BaseModel] | None = TranslateResponse
    takes_forms = False
    outputs = TypeAdapter(tuple[Translation, ...])
    parts = TypeAdapter(str)

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(TranslateRequest, sent)
        terms.check_model(asked.model)
        texts = [asked.text] if isinstance(asked.text, str) else asked.text
        if not texts:
            raise BadInput("text is empty; send at least one.", field="text")
        if len(texts) > MOST_TEXTS:
            raise BadInput(
                f"text holds {len(texts)}; send at most {MOST_TEXTS} at once.", field="text"
            )
        if asked.stream and len(texts) > 1:
            raise BadInput("stream takes one text at a time.", field="stream")
        items = tuple(_checked(asked, text, n) for n, text in enumerate(texts))
        warnings = sent.warnings()
        if asked.model_extra:
            warnings.append(f"Unknown fields were ignored: {listed(sorted(asked.model_extra))}.")
        part = _part if asked.stream else None
        return Question(items, partial(_write, warnings, terms), asked.timeout, part)

    def ask(self, items: Sequence[Any]) -> Asked:
        first: Passage = items[0]
        for item in items:
            if item != replace(first, text=item.text):
                raise ValueError("a request has one source, one target and one set of wishes")
        fields = {
            "text": [item.text for item in items],
            "source": first.source,
            "target": first.target,
            "glossary": dict(first.glossary),
            "context": first.context,
            "style": first.style,
            "delimiters": first.delimiters,
            "format": "html" if first.html else "text",
        }
        return Asked("/v1/translate", fields)


def _checked(asked: TranslateRequest, text: str, n: int) -> Passage:
    passage = Passage(
        text,
        target=asked.target,
        source=asked.source,
        glossary=tuple(asked.glossary.items()),
        context=asked.context,
        style=asked.style,
        delimiters=asked.delimiters,
        html=asked.format == "html",
    )
    try:
        return check(passage)
    except BadInput as error:
        if error.field == "text" and isinstance(asked.text, list):
            error.field = f"text[{n}]"
        raise


def _part(index: int, delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta}


def noticed(terms: Terms, answer: Answer) -> dict[str, str]:
    """The field `notice` for the model that answered, or no field."""
    model = terms.family.models.get(answer.model)
    said = remarks.terms(model, terms.provider) if model else ""
    return {"notice": said} if said else {}


def _write(warnings: list[str], terms: Terms, answer: Answer) -> dict[str, Any]:
    translations: list[Translation] = list(answer)
    said = dict.fromkeys(text for each in translations for text, _ in each.warnings)
    return {
        "model": answer.model,
        "translations": [
            {
                "text": each.text,
                "source": each.source,
                "target": each.target,
                "confidence": round(each.confidence, 3),
                "path": list(each.path),
            }
            for each in translations
        ],
        "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
        "warnings": [*warnings, *said],
        **noticed(terms, answer),
    }
