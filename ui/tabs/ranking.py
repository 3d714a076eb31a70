"""
The ranking: scores become rows, rows become escaped HTML.

Pure. A row's title is its document's first line; a long document unfolds. Words that a document
shares with the query are marked, because the point of a reranker is what happens without them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from backends.engines.picture import Picture
from backends.engines.rerank import Pair, Relevance, picture_of, text_of
from backends.serving import Answer
from ui.draw import bar, empty, note
from ui.tabs.pictures import thumbnail
from ui.texts import both, plain, say

LONG = 180  # characters of a title that two lines hold

# Triangles of our own: the pages' font has none. Path, class, sentence.
RISE = ("M5 0 10 9H0Z", "up", "rerank.rose")
FALL = ("M5 9 0 0h10Z", "down", "rerank.fell")

_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without spaces
_WORD = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+")


@dataclass(frozen=True, slots=True)
class Row:
    """
    `moved` is how many places the document rose, negative if it fell. Of a picture, `document`
    is its file's name.
    """

    place: int
    document: str
    score: float
    moved: int
    cut: bool
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rows to show, best first; `below` were under the threshold."""

    query: str
    rows: tuple[Row, ...]
    total: int
    below: int


def rank(
    pairs: Sequence[Pair],
    answer: Answer,
    top_n: int,
    threshold: float,
    names: Sequence[str] = (),
) -> Ranking:
    """
    Best first; equal scores keep their order. `answer` holds a Relevance for each pair; `names`
    are those of the pictures, which come first among the pairs.
    """
    found: Sequence[Relevance] = answer.outputs
    order = sorted(range(len(pairs)), key=lambda at: -found[at].score)
    rows = [
        Row(
            place,
            text if (text := text_of(pairs[at].document)) is not None else names[at],
            found[at].score,
            at + 1 - place,
            found[at].cut,
            picture_of(pairs[at].document),
        )
        for place, at in enumerate(order, 1)
    ]
    above = [row for row in rows if row.score >= threshold]
    return Ranking(
        query=text_of(pairs[0].query) or "",
        rows=tuple(above[:top_n]),
        total=len(rows),
        below=len(rows) - len(above),
    )


def draw_ranking(
    ranking: Ranking,
    by: tuple[str, str],
    threshold: float,
    seconds: float,
    notes: Sequence[str] = (),
) -> str:
    """
    The whole result. `by` is who answered, in English and Chinese, `seconds` what the visitor
    waited for it; `notes` are HTML, such as `say(...)`.
    """
    if not ranking.rows:
        return empty(
            say("rerank.none_above", threshold=f"{threshold:.2f}"),
            say("rerank.lower_it", count=ranking.below),
        )
    told = [*notes, *_own_notes(ranking, threshold)]
    rows = "".join(_row(row, ranking.query) for row in ranking.rows)
    kind = "q-rank q-with-pictures" if any(row.picture for row in ranking.rows) else "q-rank"
    return (
        f'<div class="q-sum" role="status">{_summary(ranking, by, seconds)}</div>'
        f'<ol class="{kind}">{rows}</ol>'
        + (f'<div class="q-told">{"".join(note("info", line) for line in told)}</div>' * bool(told))
    )


def _summary(ranking: Ranking, by: tuple[str, str], seconds: float) -> str:
    figures = say("rerank.shown", shown=len(ranking.rows), count=ranking.total)
    took = f"{max(1, round(1000 * seconds))} ms"
    return (
        f"<span>{figures} <i>·</i> {both(*by)} <i>·</i> "
        f'<span class="mono">{took}</span></span>'
        f'<span class="q-marks">{say("rerank.marks")}</span>'
    )


def _own_notes(ranking: Ranking, threshold: float) -> Iterator[str]:
    cut = sum(row.cut for row in ranking.rows)
    if cut:
        yield say("rerank.were_cut", count=cut)
    if ranking.below:
        yield say("rerank.below", count=ranking.below, threshold=f"{threshold:.2f}")


def _row(row: Row, query: str) -> str:
    cut = f'<span class="q-cut">{say("rerank.cut")}</span>' * row.cut
    return (
        f'<li class="rk"><span class="pos">{row.place}</span>{_media(row)}'
        f'<div class="body">{_document(row.document, query)}{bar(row.score)}{cut}</div>'
        f'<span class="num">{row.score:.3f}</span>{_movement(row.moved)}</li>'
    )


def _media(row: Row) -> str:
    """A picture's thumbnail; beside pictures a text has a mark in its place, hidden by CSS else."""
    if row.picture is None:
        return '<span class="media" aria-hidden="true">¶</span>'
    source = thumbnail(row.picture)
    return f'<span class="media"><img src="{source}" alt="{escape(row.document)}"></span>'


def _document(document: str, query: str) -> str:
    first, _, rest = document.strip().partition("\n")
    title = f'<bdi class="ttl" dir="auto">{mark_shared(first.strip(), query)}</bdi>'
    if not rest.strip() and len(first) <= LONG:
        return title
    whole = f'<bdi class="all" dir="auto">{mark_shared(document.strip(), query)}</bdi>'
    return f"<details><summary>{title}</summary>{whole}</details>"


def _movement(moved: int) -> str:
    if not moved:
        same = escape(plain("rerank.stayed"))
        return f'<span class="mv" role="img" aria-label="{same}" title="{same}">–</span>'
    path, tone, key = RISE if moved > 0 else FALL
    said = escape(plain(key, count=abs(moved)))
    return (
        f'<span class="mv {tone}" role="img" aria-label="{said}" title="{said}">'
        f'<svg viewBox="0 0 10 9" aria-hidden="true"><path d="{path}"/></svg>{abs(moved)}</span>'
    )


def mark_shared(text: str, query: str) -> str:
    """The escaped text, with the words it shares with the query marked."""
    known = {word for word, _, _ in _words(query)}
    pieces, at = [], 0
    for start, end in _merged([(a, b) for word, a, b in _words(text) if word in known]):
        pieces += [escape(text[at:start]), f'<b class="shared">{escape(text[start:end])}</b>']
        at = end
    return "".join([*pieces, escape(text[at:])])


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """Each word with its place; where words have no spaces, each two characters."""
    for match in _WORD.finditer(text):
        start, end = match.span()
        if end - start > 1 and re.match(f"[{_HAN}]", match[0]):
            for at in range(start, end - 1):
                yield text[at : at + 2], at, at + 2
        else:
            yield match[0].casefold(), start, end


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
