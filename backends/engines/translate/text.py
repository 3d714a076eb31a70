"""
Text cut into what is translated and what stays: lines, sentences, clauses.

Pure. Nothing is lost: the runs of a text, joined, are the text. A run that is said (`is_said`) is
at most one sentence, has a letter, and begins and ends with something to translate; white space,
list marks, block tags, code, emoji at a sentence's end and lines of figures lie between.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backends.engines.translate import spans
from backends.engines.translate.spans import Span

LIMIT = 400  # characters: past about 450 the embedded engine cuts its answer without a word

# A full stop after these ends no sentence; after the second lot only before a figure.
_TITLE = re.compile(
    r"mr|mrs|ms|dr|prof|st|jr|sr|vs|sra|srta|dra|exmo|exma|av|eng|ex|e\.g|i\.e|p\.ex|d|dña|uds?|núm"
    r"|mm?|mme|mlle|mgr|ste|sig|sig\.ra|dott|avv|ing|vol|cap|fig|art|approx|dept|est|inc|ltd|gen"
    r"|col|capt|lt|sgt|rev|hon|(?:[a-z]\.)+[a-z]",
    re.IGNORECASE,
)
_BEFORE_FIGURES = re.compile(r"no|nº|n|pp?|p[áaà]gs?|art|vol|fig|cap|ch|sec|eq", re.IGNORECASE)

_LINE = re.compile(r"(?<![ \t])[ \t]*[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# The second lot ends a sentence whatever follows: Chinese and Japanese, Hindi and its kin, Burmese,
# Khmer, Tibetan.
_STOP = re.compile(
    r"(?<![.!?…؟۔])[.!?…؟۔]+[\"'”’»)\]]*(?P<gap>\s+)"
    r"(?=[\"'“‘«(\[¿¡*_]*(?P<next>[^\W_]|[^\w\s]))"
    r"|[。！？｡।॥။។៕།༎]+[\"'”’»)\]」』）]*(?P<none>)"
)
_MARKS = re.compile(r"\s*(?:[-*+•–—>·▪◦]|\#{1,6}|\(?\d{1,3}[.)]|\(?[a-z]\))\s+")
_WORD = re.compile(r"[^\s(\[\"'“‘«¿¡]*\Z")
_CLAUSE = re.compile(r"[;:,，；：、،؛၊]\s*|\s+")
_VIRAMA = 9  # the combining class of a mark that binds the letter before it to the one after it
_MARKS_OF_A_LETTER = 16  # more than that are no letter's
_UNWANTED = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Run:
    text: str
    is_said: bool


def clean(text: str) -> str:
    """Without what no translator can read: NUL, control characters, lone surrogates."""
    return _UNWANTED.sub("", text)


def join(runs: Iterable[Run]) -> str:
    return "".join(run.text for run in runs)


def split(text: str, limit: int = LIMIT) -> list[Run]:
    """
    The runs of a text, in order; no two in a row that are not said. A sentence of more than
    `limit` characters comes in clauses.
    """
    made: list[Run] = []
    end = 0
    for start, stop in [*spans.blocks(text), (len(text), len(text))]:
        made += _lines(text[end:start], limit)
        made.append(Run(text[start:stop], is_said=False))
        end = stop
    return _merged(made)


def halves(sentence: str) -> list[Run]:
    """A run cut once, near its middle: at a clause if there is one, else between words."""
    found = spans.find(sentence)
    cuts = [c for c in _CLAUSE.finditer(sentence) if not _is_inside(c.end(), found)]
    cuts = [c for c in cuts if 0 < c.end() < len(sentence)]
    if not cuts:
        return [Run(sentence, is_said=True)]
    middle = len(sentence) / 2
    best = min(cuts, key=lambda c: (c[0].isspace(), abs(c.end() - middle)))
    if not len(sentence) / 5 < best.end() < len(sentence) * 4 / 5:
        best = min(cuts, key=lambda c: abs(c.end() - middle))
    return _merged([*_trimmed(sentence[: best.end()]), *_trimmed(sentence[best.end() :])])


def _lines(text: str, limit: int) -> Iterator[Run]:
    found = spans.find(text)
    end = 0
    for gap in _LINE.finditer(text):
        if _is_inside(gap.start(), found):
            continue
        yield from _sentences(text[end : gap.start()], limit)
        yield Run(gap[0], is_said=False)
        end = gap.end()
    yield from _sentences(text[end:], limit)


def _sentences(line: str, limit: int) -> Iterator[Run]:
    mark = _MARKS.match(line)
    start = mark.end() if mark else 0
    yield Run(line[:start], is_said=False)
    found = spans.find(line)
    for stop in _STOP.finditer(line, start):
        if not _is_inside(stop.end(), found) and _ends(line, stop):
            yield from _clauses(line[start : stop.end()], limit)
            start = stop.end()
    yield from _clauses(line[start:], limit)


def _ends(line: str, stop: re.Match[str]) -> bool:
    """Whether what looks like the end of a sentence is one."""
    if stop["none"] is not None:
        return True
    if stop["next"].islower():
        return False
    if not stop[0].startswith(".") or stop[0].startswith(".."):
        return True
    before = _WORD.search(line[max(0, stop.start() - 20) : stop.start()])
    word = before[0] if before else ""
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    if is_initial or _TITLE.fullmatch(word):
        return False
    return not (stop["next"].isdigit() and _BEFORE_FIGURES.fullmatch(word))


def _clauses(sentence: str, limit: int) -> Iterator[Run]:
    """A sentence past the limit, cut at clauses, else between words, else where the limit is."""
    found = spans.find(sentence) if len(sentence) > limit else []
    start = 0
    while len(sentence) - start > limit:
        cuts = [
            c
            for c in _CLAUSE.finditer(sentence, start, start + limit)
            if c.end() > start and not _is_inside(c.end(), found)
        ]
        clauses = [c for c in cuts if not c[0].isspace()]
        cut = (clauses or cuts)[-1].end() if cuts else _past(_whole(sentence, start + limit), found)
        yield from _trimmed(sentence[start:cut])
        start = cut
    yield from _trimmed(sentence[start:])


def _trimmed(text: str) -> Iterator[Run]:
    """The text with white space and ornaments at its ends apart; not said without a letter."""
    found = spans.find(text)
    start, end = 0, len(text)
    while True:
        inner = text[start:end]
        left = len(inner) - len(inner.lstrip())
        right = len(inner) - len(inner.rstrip())
        first = next((s.end for s in found if s.start == start + left and not s.noun), None)
        last = next((s.start for s in found if s.end == end - right and not s.noun), None)
        start, end = first or start + left, last if last is not None else end - right
        if (first is None and last is None) or start >= end:
            break
    kept = [Span(s.start - start, s.end - start, s.noun) for s in found if start <= s.start < end]
    if start >= end or not _has_letters(text[start:end], kept):
        yield Run(text, is_said=False)
        return
    yield Run(text[:start], is_said=False)
    yield Run(text[start:end], is_said=True)
    yield Run(text[end:], is_said=False)


def _has_letters(text: str, found: list[Span]) -> bool:
    return any(map(str.isalpha, "".join(spans.outside(text, found))))


def _is_inside(position: int, found: list[Span]) -> bool:
    return _past(position, found) != position


def _past(position: int, found: list[Span]) -> int:
    """The position, or the end of the span that it lies in."""
    before = bisect_left(found, position, key=lambda span: span.start) - 1
    return max(position, found[before].end) if before >= 0 else position


def _whole(text: str, position: int) -> int:
    """The position, or the one before it that parts no letter from its marks."""
    for place in range(position, position - _MARKS_OF_A_LETTER, -1):
        before, after = text[place - 1], text[place]
        is_bound = unicodedata.combining(before) == _VIRAMA or "\u200d" in (before, after)
        if not is_bound and not unicodedata.category(after).startswith("M"):
            return place
    return position


def _merged(runs: Iterable[Run]) -> list[Run]:
    """Without empty runs, and neighbours that are not said as one."""
    made: list[Run] = []
    for run in runs:
        if not run.text:
            continue
        if made and not run.is_said and not made[-1].is_said:
            run = Run(made.pop().text + run.text, is_said=False)
        made.append(run)
    return made


def scripts(text: str) -> dict[str, int]:
    """How many letters of each script: the first word of their Unicode names."""
    counted: Counter[str] = Counter()
    for character, times in Counter(text).items():
        if character.isalpha():
            counted[unicodedata.name(character, "UNKNOWN").split()[0]] += times
    return counted
