"""BM25 and its words, against the formula done by hand."""

import math
import sys
from types import FrameType
from typing import Any

import pytest

from backends.engines.rerank import Pair
from backends.engines.rerank.words import K1, B, Bm25, words

CORPUS = ("red fox", "red red hen and duck", "blue duck")


def scores(query: str, *corpus: str) -> list[float]:
    batch = [Pair(query, document, corpus) for document in corpus]
    return [relevance.score for relevance in Bm25().run(batch, lambda i, part: True)]


def test_scores_are_bm25_over_what_a_document_could_reach_at_best() -> None:
    def idf(holding: int) -> float:
        return math.log(1 + (3 - holding + 0.5) / (holding + 0.5))

    def part(times: int, length: int) -> float:
        return times * (K1 + 1) / (times + K1 * (1 - B + B * length / (9 / 3)))

    best = (idf(2) + idf(1)) * (K1 + 1)
    assert scores("Red FOX", *CORPUS) == pytest.approx(
        [
            (idf(2) * part(1, 2) + idf(1) * part(1, 2)) / best,
            idf(2) * part(2, 5) / best,
            0.0,
        ]
    )


def test_a_rare_word_counts_for_more_than_a_common_one() -> None:
    common, rare = scores("red fox", "red hen", "fox hen", "red duck", "red")[:2]
    assert rare > common


def test_a_word_asked_for_twice_weighs_twice() -> None:
    once, twice = scores("fox fox hen", "hen", "fox")
    assert twice == pytest.approx(2 * once)


def test_a_repeated_word_brings_a_document_nearer_to_1_and_never_beyond() -> None:
    few, many = scores("fox", "fox hen", "fox " * 100_000)
    assert 0 < few < many < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße, STRASSE!", ["strasse", "strasse"]),
        ("Ｆｕｌｌ ﬁne", ["full", "fine"]),
        ("重排序", ["重", "排", "序", "重排", "排序"]),
        ("用Python写代码", ["用", "python", "写", "代", "码", "写代", "代码"]),
        ("カレー", ["カ", "レ", "ー", "カレ", "レー"]),
        ("日", ["日"]),
        ("¿?… \0", []),
        ("ключ 123", ["ключ", "123"]),
    ],
)
def test_words_of_any_language_are_found(text: str, expected: list[str]) -> None:
    assert list(words(text)) == expected


def test_a_chinese_query_prefers_the_word_to_its_scattered_characters() -> None:
    word, scattered = scores("和平", "我们希望和平。", "平时我和你走。")
    assert word > scattered > 0


def test_the_corpus_is_counted_once_a_request_not_once_a_document() -> None:
    counted = 0

    def watch(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal counted
        counted += event == "call" and frame.f_code.co_name == "_count"

    corpus = tuple(f"document {number}" for number in range(50))
    engine = Bm25()
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for start in range(0, 50, 10):  # the batches of one request
            engine.run(
                [Pair("two", d, corpus) for d in corpus[start : start + 10]], lambda i, p: True
            )
    finally:
        sys.setprofile(before)
    assert counted == 50 + 50  # each once for its corpus, once for its own score


def test_the_same_text_in_another_corpus_scores_by_that_corpus() -> None:
    engine = Bm25()
    here, there = (
        engine.run([Pair("fox", "fox", corpus)], lambda i, part: True)[0].score
        for corpus in (("fox", "hen " * 50), ("fox", "fox"))
    )
    assert here != there
