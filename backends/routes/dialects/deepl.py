"""
DeepL, version 2 of its interface, by JSON or by form.

/v2/translate > {"text": [str], "source_lang"?, "target_lang", "context"?, "formality"?,
                 "tag_handling"?}
              < {"translations": [{"detected_source_language": "EN", "text", "billed_characters"}],
                 "warnings"?, "notice"?}
/v2/languages < [{"language", "name", "supports_formality"}], ?type=source or target
/v2/usage     < {"character_count", "character_limit"}

Characters are told as billed and never metered: the count stays 0, and the limit is the number
that DeepL itself names where there is none. There are no glossaries.
"""

from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backends.engines.translate import AUTO, Passage
from backends.engines.translate.languages import name
from backends.errors import BadInput, SignInNeeded, TooLarge
from backends.routes.answers import Wording
from backends.routes.dialects.dialect import Dialect, Facts, Lookup
from backends.routes.dialects.passages import Batch, batch_of, checked, targets, warnings_of
from backends.serving import Answer
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated
from backends.serving.wire.translate import NOTICE, noticed

STORY = __doc__ or ""
NAMES = {"source": "source_lang", "target": "target_lang"}
WORDING = Wording(also=("message",), statuses={BadInput: 400, TooLarge: 413, SignInNeeded: 403})
UNLIMITED = 1_000_000_000_000

# The variants that DeepL's own client insists on, of languages that we do not tell apart.
VARIANTS: dict[str, dict[str, str]] = {
    "en": {"EN-GB": "English (British)", "EN-US": "English (American)"},
    "pt": {"PT-BR": "Portuguese (Brazilian)", "PT-PT": "Portuguese (European)"},
}
STYLES = {"more": "formal", "prefer_more": "formal", "less": "informal", "prefer_less": "informal"}


class DeeplRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    text: str | list[str] = Field(description="The texts.")
    target_lang: str = Field(description="Code of the language to translate into.")
    source_lang: str | None = Field(None, description="Found out where it is missing.")
    context: str | None = Field(None, description="What came before, for models that read it.")
    formality: str | None = Field(None, description="A wish, for models that follow a style.")
    tag_handling: str | None = Field(None, description="html says that the texts are HTML.")
    glossary_id: str | None = Field(None, description="Refused: there are no glossaries.")


class DeeplTranslation(BaseModel):
    detected_source_language: str
    text: str
    billed_characters: int


class DeeplResponse(BaseModel):
    translations: list[DeeplTranslation]
    warnings: list[str] | None = None
    notice: str | None = Field(None, description=NOTICE)


class DeeplShape:
    story = STORY
    request: type[BaseModel] = DeeplRequest
    response: type[BaseModel] | None = DeeplResponse
    takes_forms = True

    def is_heavy(self, sent: Sent) -> bool:
        return False

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(DeeplRequest, sent)
        if asked.glossary_id:
            raise BadInput("glossary_id: no glossaries are kept here.", field="glossary_id")
        batch = batch_of([asked.text] if isinstance(asked.text, str) else asked.text, "text")
        passages = tuple(checked(_passage(asked, batch.texts[n]), NAMES) for n in batch.asked)
        write = partial(_write, asked, batch, sent.warnings(), terms)
        return Question(passages, write, names=NAMES)


def _passage(asked: DeeplRequest, text: str) -> Passage:
    return Passage(
        text,
        source=asked.source_lang or AUTO,
        target=asked.target_lang,
        context=asked.context or "",
        style=STYLES.get(asked.formality or "", ""),
        html=asked.tag_handling == "html",
    )


def _write(
    asked: DeeplRequest, batch: Batch, said: list[str], terms: Terms, answer: Answer
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "translations": [
            {
                "detected_source_language": each.source.split("-")[0].upper(),
                "text": text,
                "billed_characters": len(given),
            }
            for given, (text, each) in zip(batch.texts, batch.all(answer), strict=True)
        ]
    }
    warnings = said + warnings_of(answer)
    told = asked.target_lang.upper()
    if told in VARIANTS.get(answer[0].target, {}):
        warnings.append(f"{answer.model} does not choose between variants, {told} or another.")
    if warnings:
        value["warnings"] = warnings
    return value | noticed(terms, answer)


def languages(facts: Facts) -> list[dict[str, Any]]:
    kind = facts.query.get("type", "source")
    if kind not in ("source", "target"):
        raise BadInput("type must be source or target.", field="type")
    capabilities = facts.status.capabilities
    into = targets(capabilities)
    codes = into if kind == "source" else dict.fromkeys(c for each in into.values() for c in each)
    rows: dict[str, str] = {}
    for code in codes:
        rows |= VARIANTS.get(code, {}) if kind == "target" else {}
        if kind == "source" or code not in VARIANTS:
            rows[code.upper()] = name(code)
    formal = {"supports_formality": capabilities.style} if kind == "target" else {}
    return [{"language": code, "name": said, **formal} for code, said in rows.items()]


def usage(facts: Facts) -> dict[str, int]:
    return {"character_count": 0, "character_limit": UNLIMITED}


DIALECT = Dialect("Translate: DeepL", ("/v2/translate",), DeeplShape(), WORDING)
LOOKUPS = (
    Lookup("Languages: DeepL", "/v2/languages", languages, WORDING),
    Lookup("Usage: DeepL", "/v2/usage", usage, WORDING),
)
