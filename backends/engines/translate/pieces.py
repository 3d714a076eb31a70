"""
A text in pieces that a language model can take: whole where it fits, else cut at sentences.

Pure. Nothing is lost: the runs, joined, are the text. A said run is a piece without white space
at its ends, of at most `most` tokens; only a sentence that is longer is cut within, at clauses,
and may stay longer where it has none. A cut falls between lines where one ends in the second half
of a full piece. What stands between two pieces of a line is made the target's by `jointed`.
"""

from collections.abc import Callable, Iterator, Sequence

from backends.engines.translate.text import Run, join, split

Length = Callable[[str], int]

SOLID = frozenset({"zh", "zh-Hant", "yue", "ja"})  # written without a space between sentences
_SPACES = frozenset(" \u00a0\u3000")
_WIDE = "\u3000"


def cut(text: str, most: int, length: Length) -> list[Run]:
    """The pieces of a text, with what lies between them."""
    if length(text) <= most:
        return _trimmed(text)
    made: list[Run] = []
    piece: list[Run] = []
    tokens = 0
    for run in _sentences(text, most, length):
        more = length(run.text)
        if piece and run.is_said and tokens + more > most:
            done, piece = _parted(piece)
            made += _trimmed(join(done))
            tokens = length(join(piece)) if piece else 0
        piece.append(run)
        tokens += more
    return [*made, *_trimmed(join(piece))]


def jointed(runs: Sequence[Run], target: str) -> list[Run]:
    """
    The runs with the target's own space between two pieces of a line: none in Chinese and
    Japanese, one where the source has none or a wide one.
    """
    made: list[Run] = []
    for number, run in enumerate(runs):
        follows = number > 0 and runs[number - 1].is_said
        precedes = number + 1 < len(runs) and runs[number + 1].is_said
        if run.is_said and follows and target not in SOLID:
            made.append(Run(" ", is_said=False))
        if not run.is_said and follows and precedes and _SPACES.issuperset(run.text):
            if target in SOLID:
                continue
            run = Run(run.text.replace(_WIDE, " "), is_said=False)
        made.append(run)
    return made


def _sentences(text: str, most: int, length: Length) -> Iterator[Run]:
    """Sentences whole, whatever their length, but for those that no piece has room for."""
    for run in split(text, limit=len(text)):
        is_too_long = run.is_said and length(run.text) > most
        yield from split(run.text) if is_too_long else [run]


def _parted(piece: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """A full piece, and what of it goes into the next one."""
    for number in range(len(piece) - 1, len(piece) // 2, -1):
        if not piece[number].is_said and "\n" in piece[number].text:
            return list(piece[: number + 1]), list(piece[number + 1 :])
    return list(piece), []


def _trimmed(text: str) -> list[Run]:
    inner = text.strip()
    if not any(map(str.isalnum, inner)):  # nothing to say: a rule, an emoji, white space
        return [Run(text, is_said=False)] if text else []
    start = text.index(inner)
    ends = (Run(text[:start], False), Run(inner, True), Run(text[start + len(inner) :], False))
    return [run for run in ends if run.text]
