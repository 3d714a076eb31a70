"""
The reranker that counts words: BM25 over the documents of the request.

No weights, no meaning, no synonyms; labelled so. Its score is the share of what a document
could reach for the query at best, so it lies in 0 to 1.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from backends.engines import Emit
from backends.engines.recent import Recent
from backends.engines.rerank import Pair, Relevance, text_document, text_query

K1 = 1.2  # how fast a repeated word stops counting
B = 0.75  # how much a long document is held back
_CORPORA = 64  # remembered statistics: a few numbers for each word of the query
_CHARS_PER_TOKEN = 4

_CJK = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"  # kana, Han
_WORD = re.compile(rf"[{_CJK}]+|[^\W{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")


@dataclass(frozen=True, slots=True)
class _Statistics:
    """What one query must know of one corpus; `idf` by the query's words."""

    idf: dict[str, float]
    average_length: float


class Bm25:
    """Okapi BM25 with k1 1.2 and b 0.75, rarity and average length over `Pair.corpus`."""

    model = "bm25"

    def __init__(self) -> None:
        self._statistics: Recent[tuple[int, int, str], _Statistics] = Recent(_CORPORA)

    def tokens(self, item: Pair) -> int:
        """A quarter of its characters: the work grows with them, and counting words is the work."""
        return 1 + len(text_document(item, self.model)) // _CHARS_PER_TOKEN

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        return [Relevance(self._score(pair)) for pair in batch]

    def close(self) -> None:
        self._statistics.clear()

    def _score(self, pair: Pair) -> float:
        statistics = self._of(pair)
        query = Counter(words(text_query(pair, self.model)))
        best = sum(count * statistics.idf[word] for word, count in query.items()) * (K1 + 1)
        if not best:
            return 0.0
        found, length = _count(text_document(pair, self.model), query)
        held_back = K1 * (1 - B + B * length / statistics.average_length) if found else 0.0
        reached = sum(
            query[word] * statistics.idf[word] * times * (K1 + 1) / (times + held_back)
            for word, times in found.items()
        )
        return reached / best

    def _of(self, pair: Pair) -> _Statistics:
        # Python keeps the hash of a text, so the key is cheap and keeps no document alive.
        query = text_query(pair, self.model)
        key = (hash(pair.corpus), len(pair.corpus), query)
        statistics = self._statistics.get(key)
        if statistics is None:
            corpus = pair.corpus or (text_document(pair, self.model),)
            statistics = _measure(corpus, query)
            self._statistics.put(key, statistics)
        return statistics


def words(text: str) -> Iterator[str]:
    """
    The words of any language, case folded. Chinese and Japanese put no space between words, and
    most of theirs have one or two characters: every character counts, and every two neighbours.
    """
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        run = match.group()
        if _IS_CJK.match(run):
            yield from run
            yield from map("".join, pairwise(run))
        else:
            yield run


def _count(document: str, wanted: Counter[str]) -> tuple[Counter[str], int]:
    """How often each wanted word stands in the document, and how many words it has."""
    found: Counter[str] = Counter()
    length = 0
    for word in words(document):
        length += 1
        if word in wanted:
            found[word] += 1
    return found, length


def _measure(corpus: tuple[str, ...], query: str) -> _Statistics:
    wanted = Counter(words(query))
    holding: Counter[str] = Counter()
    total = 0
    for document in corpus:
        found, length = _count(document, wanted)
        holding.update(found.keys())
        total += length
    size = len(corpus)
    idf = {
        word: math.log(1 + (size - holding[word] + 0.5) / (holding[word] + 0.5)) for word in wanted
    }
    return _Statistics(idf, max(1.0, total / size))
