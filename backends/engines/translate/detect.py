"""
Which language a text is in: by its script where that settles it, else by py3langid.

py3langid is small, keeps its model in its wheel, and its confidence means something: of our 96
short phrases it got 13 wrong, none of them with a confidence above .45. It is loaded at the
first use: about a second, and 100 MB.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.engines.translate import spans
from backends.engines.translate.languages import LANGUAGES
from backends.engines.translate.text import clean, scripts

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SURE = 0.5  # below it the language is a guess, and said to be one
STRANGER = 0.8  # from it on, a language that we have no name for is believed
MOST = 10_000  # characters read

# Letters of one script count for the words they stand for.
_WEIGHT = {"CJK": 3, "HIRAGANA": 2, "KATAKANA": 2, "HANGUL": 2}
_KANA = ("HIRAGANA", "KATAKANA")
_TRADITIONAL = frozenset(
    "們這為國個時來說對會過還後點沒嗎麼樣學開關問間東車長門見買賣電話請謝讓樂藥師醫議裡"
)
_SIMPLIFIED = frozenset(
    "们这为国个时来说对会过还后点没吗么样学开关问间东车长门见买卖电话请谢让乐药师医议里"
)
_CANTONESE = frozenset("嘅唔咗喺哋啲嘢冇佢噉咁乜嚟嗰咩")


@dataclass(frozen=True, slots=True)
class Guess:
    """`code` is ISO 639's where it is none of LANGUAGES. `confidence` lies in 0 to 1."""

    code: str
    confidence: float


def detect(text: str, likely: Sequence[str] = ()) -> Guess | None:
    """
    The language of a text, or None where nothing tells. Where nothing is sure, the first of
    `likely` (the languages that the loaded model speaks) that has half the chance of the best,
    with its own low confidence.
    """
    words = clean(text[:MOST])
    words = " ".join(spans.outside(words, spans.find(words)))
    counted = scripts(words)
    weights = {script: n * _WEIGHT.get(script, 1) for script, n in counted.items()}
    kana = sum(weights.pop(script, 0) for script in _KANA)
    if kana:
        weights["CJK"] = weights.get("CJK", 0) + kana
    if not weights:
        return None
    script = max(weights, key=lambda script: weights[script])
    share = weights[script] / sum(weights.values())
    if script == "CJK":
        return Guess(_east_asian(words, kana / weights["CJK"]), share)
    here = [code for code, language in LANGUAGES.items() if language.script == script]
    if len(here) == 1:
        return Guess(here[0], share)
    return _by_words(words, here, likely) if here else None


def _east_asian(words: str, kana: float) -> str:
    if kana > 0.1:
        return "ja"
    if not _CANTONESE.isdisjoint(words):
        return "yue"
    traditional = sum(map(_TRADITIONAL.__contains__, words))
    return "zh-Hant" if traditional > sum(map(_SIMPLIFIED.__contains__, words)) else "zh"


def _by_words(words: str, here: Sequence[str], likely: Sequence[str]) -> Guess | None:
    ranked = _identifier().rank(words)
    stranger, chance = ranked[0]
    if stranger not in LANGUAGES and chance >= STRANGER:
        return Guess(stranger, chance)
    known = {code: chance for code, chance in ranked if code in here}
    if max(known.values()) == min(known.values()):  # nothing in it that tells
        return None
    total = sum(known.values())
    best = max(known, key=lambda code: known[code])
    if known[best] / total < SURE:
        near = (code for code in likely if known.get(code, 0) >= known[best] / 2)
        best = next(near, best)
    return Guess(best, known[best] / total)


@functools.cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_modelpath(MODEL_DIR / MODEL_FILE, norm_probs=True)
