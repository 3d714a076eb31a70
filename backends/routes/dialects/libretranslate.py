"""
LibreTranslate, by JSON or by form.

/translate > {"q": str | [str], "source": "en" | "auto", "target", "format": "text" | "html",
              "alternatives": 0, "api_key"}
           < {"translatedText": str | [str], "detectedLanguage": {"confidence", "language"} | [..]
              (when auto), "alternatives": [..] (when asked for; there are none), "warnings"?,
              "notice"?}
/detect    > {"q"}  < [{"confidence", "language"}]
/languages < [{"code", "name", "targets": [..]}]

A confidence is a percentage.
"""

from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from backends.engines.translate import AUTO, Passage
from backends.engines.translate.detect import detect
from backends.engines.translate.languages import name
from backends.errors import BadInput, SignInNeeded
from backends.routes.answers import Wording
from backends.routes.dialects.dialect import Dialect, Facts, Lookup, Reading
from backends.routes.dialects.passages import Batch, batch_of, checked, targets, warnings_of
from backends.serving import Answer
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated
from backends.serving.wire.translate import NOTICE, noticed

STORY = __doc__ or ""
NAMES = {"text": "q"}
WORDING = Wording(statuses={BadInput: 400, SignInNeeded: 403})


class LibreRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    q: str | list[str] = Field(description="One text or several.")
    source: str = Field(description="Code of the text's language, or auto to find it out.")
    target: str = Field(description="Code of the language to translate into.")
    format: Literal["text", "html"] | None = None
    alternatives: int | str | None = Field(None, description="There are none.")
    api_key: str | None = Field(None, description="An API key, if one is needed.")


class DetectedLanguage(BaseModel):
    confidence: float = Field(description="A percentage.")
    language: str


class LibreResponse(BaseModel):
    translatedText: str | list[str]
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = None
    alternatives: list[Any] | None = None
    warnings: list[str] | None = None
    notice: str | None = Field(None, description=NOTICE)


class DetectRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    q: str = Field(description="The text whose language is looked for.")


class DetectResponse(RootModel[list[DetectedLanguage]]):
    pass


class LibreShape:
    story = STORY
    request: type[BaseModel] = LibreRequest
    response: type[BaseModel] | None = LibreResponse
    takes_forms = True

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(LibreRequest, sent)
        if sent.is_form and len(asked.q) == 1:
            asked.q = asked.q[0]  # a form cannot say whether it means a list
        batch = batch_of([asked.q] if isinstance(asked.q, str) else asked.q, "q")
        passages = tuple(
            checked(
                Passage(
                    batch.texts[n],
                    source=asked.source,
                    target=asked.target,
                    html=asked.format == "html",
                ),
                NAMES,
            )
            for n in batch.asked
        )
        write = partial(_write, asked, batch, sent.warnings(), terms)
        return Question(passages, write, names=NAMES)


def _write(
    asked: LibreRequest, batch: Batch, said: list[str], terms: Terms, answer: Answer
) -> dict[str, Any]:
    translations = batch.all(answer)

    def one_or_all(values: list[Any]) -> Any:
        return values[0] if isinstance(asked.q, str) else values

    value: dict[str, Any] = {"translatedText": one_or_all([text for text, _ in translations])}
    if asked.source.strip().lower() == AUTO:
        found = [_found(each.source, each.confidence) for _, each in translations]
        value["detectedLanguage"] = one_or_all(found)
    if asked.alternatives not in (None, 0, "0", ""):
        value["alternatives"] = one_or_all([[] for _ in translations])
    if warnings := said + warnings_of(answer):
        value["warnings"] = warnings
    return value | noticed(terms, answer)


def _found(code: str, confidence: float) -> dict[str, Any]:
    return {"confidence": round(100 * confidence, 1), "language": code}


def detected(sent: Sent, facts: Facts) -> list[dict[str, Any]]:
    """LibreTranslate's own answer where nothing tells is English, with no confidence."""
    asked = validated(DetectRequest, sent)
    if not asked.q.strip():
        raise BadInput("q is empty; send a text.", field="q")
    guess = detect(asked.q, likely=facts.status.capabilities.languages)
    return [_found(guess.code, guess.confidence) if guess else _found("en", 0)]


def languages(facts: Facts) -> list[dict[str, Any]]:
    return [
        {"code": code, "name": name(code), "targets": into}
        for code, into in targets(facts.status.capabilities).items()
    ]


KEY = "api_key"
DIALECT = Dialect("Translate: LibreTranslate", ("/translate",), LibreShape(), WORDING, KEY)
READING = Reading(
    "Find a text's language: LibreTranslate",
    "/detect",
    DetectRequest,
    DetectResponse,
    detected,
    WORDING,
    KEY,
)
LOOKUP = Lookup("Languages: LibreTranslate", "/languages", languages, WORDING, KEY)
