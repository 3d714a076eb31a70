"""
A text in pieces that a language model can take: whole where it fits, else cut at sentences.

Pure. Nothing is lost: the runs, joined, are the text. A said run is a piece without white space
at its ends, of at most `most` tokens unless a single sentence is longer. A cut falls between
lines where one ends in the second half of a full piece.
"""

from collections.abc import Callable, Sequence

from backends.engines.translate.text import Run, join, split

Length = Callable[[str], int]


def cut(text: str, most: int, length: Length) -> list[Run]:
    """The pieces of a text, with what lies between them."""
    if length(text) <= most:
        return _trimmed(text)
    made: list[Run] = []
    piece: list[Run] = []
    tokens = 0
    for run in split(text):
        more = length(run.text)
        if piece and run.is_said and tokens + more > most:
            done, piece = _parted(piece)
            made += _trimmed(join(done))
            tokens = length(join(piece)) if piece else 0
        piece.append(run)
        tokens += more
    return [*made, *_trimmed(join(piece))]


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
