"""
How well pictures are ranked and judged on our own small sets, as tables.

`ranking(rank, pictures)` asks `rank(query, documents)`, which returns document numbers, best
first; a document is a text or the bytes of a picture's file. `judging(judge, pictures)` asks
`judge(picture, statements)`, which returns yes, maybe or no for each. Both may be an engine, or
a route over HTTP. `pictures` are what this machine has of the sets: `free_photos()`, which are
in the project, or all of them, with `every_picture(folder)`. The sets are small and our own: a
figure says something only with its n.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Document = str | bytes
Rank = Callable[[str, Sequence[Document]], Sequence[int]]
Judge = Callable[[bytes, Sequence[str]], Sequence[str]]
Table = dict[str, tuple[int, int]]  # right, of so many
Said = Counter[tuple[str, str]]  # the right answer and the one given

HERE = Path(__file__).parent
DRAWS = 5
DEBIAN = {
    "opencv-doc": "usr/share/doc/opencv-doc/examples/data",
    "tuxpaint-stamps-default": "usr/share/tuxpaint/stamps",
}

MEASURED = {
    "short": (12, 14),
    "short, of 8": (62, 70),
    "sentence": (9, 14),
    "sentence, of 8": (49, 70),
    "zh": (11, 14),
    "zh, of 8": (56, 70),
    "mixed, the picture is right": (12, 14),
    "mixed, the text is right": (9, 10),
}
"""What the embedded engine reaches on all 14 pictures."""

MEASURED_SAID = {"right": (48, 70), "right when decided": (26, 28), "maybe, not said yes": (22, 22)}
"""What the embedded engine reaches on all 70 statements."""

MEASURED_FREE = {
    "short": (4, 4),
    "short, of 8": (20, 20),
    "sentence": (4, 4),
    "sentence, of 8": (20, 20),
    "zh": (3, 4),
    "zh, of 8": (15, 20),
    "mixed, the picture is right": (4, 4),
    "mixed, the text is right": (9, 10),
}
"""What it reaches on the four free photos of the set, each among the others."""


def free_photos() -> dict[str, bytes]:
    """By file name; those whose licence lets them be here."""
    photos = (HERE / "photos").iterdir()
    return {path.name: path.read_bytes() for path in photos if path.suffix in (".png", ".jpg")}


def every_picture(folder: Path) -> dict[str, bytes]:
    """
    By source. `folder` holds the Debian packages named in DEBIAN, unpacked (`dpkg -x`); the
    Python packages are installed. What is not there is left out.
    """
    sources = [p["source"] for p in _read("rerank_pictures")["pictures"]]
    sources += _read("entailment")["pictures"].values()
    found = {source: _path(source, folder) for source in sources}
    return {source: path.read_bytes() for source, path in found.items() if path and path.exists()}


def ranking(rank: Rank, pictures: Mapping[str, bytes]) -> Table:
    """Every row over the pictures given: right at rank one, of so many."""
    items = [p for p in _read("rerank_pictures")["pictures"] if _key(p["source"], pictures)]
    files = [pictures[_key(item["source"], pictures)] for item in items]
    table: Table = {}
    for kind in ("short", "sentence", "zh"):
        asked = [(item[kind], files, n) for n, item in enumerate(items)]
        table[kind] = _count(rank, asked)
        table[f"{kind}, of 8"] = _count(rank, _of_eight([i[kind] for i in items], files))
    table["mixed, the picture is right"] = _count(rank, _pictures_among_texts(items, files))
    table["mixed, the text is right"] = _count(rank, _texts_among_pictures(files))
    return table


def judging(judge: Judge, pictures: Mapping[str, bytes]) -> Said:
    """How often each answer was given to each right answer, over the pictures given."""
    test = _read("entailment")
    said: Said = Counter()
    for name, source in test["pictures"].items():
        if key := _key(source, pictures):
            triples = [t for t in test["triples"] if t["picture"] == name]
            answers = judge(pictures[key], [t["hypothesis"] for t in triples])
            said.update((t["label"], answer) for t, answer in zip(triples, answers, strict=True))
    return said


def summary(said: Said) -> Table:
    """The three figures that are quoted together."""
    decided = {pair: n for pair, n in said.items() if pair[1] != "maybe"}
    maybe = {pair: n for pair, n in said.items() if pair[0] == "maybe"}
    return {
        "right": (sum(n for (gold, given), n in said.items() if gold == given), said.total()),
        "right when decided": (
            sum(n for (gold, given), n in decided.items() if gold == given),
            sum(decided.values()),
        ),
        "maybe, not said yes": (
            sum(n for (_, given), n in maybe.items() if given != "yes"),
            sum(maybe.values()),
        ),
    }


def shortfalls(table: Table, measured: Table) -> list[str]:
    """The rows that lie more than one item under what was measured, in words."""
    return [
        f"{row}: {table[row][0]} of {table[row][1]}, measured {right} of {of}"
        for row, (right, of) in measured.items()
        if table[row][0] * of < (right - 1) * table[row][1]
    ]


Asked = tuple[str, Sequence[Document], int]  # query, documents, number of the right one


def _count(rank: Rank, asked: Sequence[Asked]) -> tuple[int, int]:
    right = sum(rank(query, documents)[0] == answer for query, documents, answer in asked)
    return right, len(asked)


def _of_eight(queries: Sequence[str], files: Sequence[bytes]) -> list[Asked]:
    """Five draws of seven others for each picture; all others, where there are fewer."""
    return [
        (queries[n], [files[n], *_drawn(files, n, draw * 1000 + n, 7)], 0)
        for draw in range(DRAWS)
        for n in range(len(files))
    ]


def _pictures_among_texts(items: Sequence[Any], files: Sequence[bytes]) -> list[Asked]:
    asked: list[Asked] = []
    for n, item in enumerate(items):
        chance = random.Random(n)
        others = chance.sample(files[:n] + files[n + 1 :], min(3, len(files) - 1))
        asked.append((item["short"], [files[n], *others, *chance.sample(_rights(), 4)], 0))
    return asked


def _texts_among_pictures(files: Sequence[bytes]) -> list[Asked]:
    rights = _rights()
    asked: list[Asked] = []
    for n, item in enumerate(_read("rerank_text")["en"]):
        chance = random.Random(n)
        others = chance.sample(rights[:n] + rights[n + 1 :], 3)
        pictures = chance.sample(files, min(4, len(files)))
        asked.append((item["query"], [rights[n], *others, *pictures], 0))
    return asked


def _drawn(files: Sequence[bytes], n: int, seed: int, count: int) -> list[bytes]:
    others = [*files[:n], *files[n + 1 :]]
    return random.Random(seed).sample(others, min(count, len(others)))


def _rights() -> list[str]:
    return [item["documents"][item["right"]] for item in _read("rerank_text")["en"]]


def _key(source: str, pictures: Mapping[str, bytes]) -> str:
    """Under which name the picture is given, or nothing."""
    keys: Iterator[str] = (key for key in (source, source.removeprefix("photos/")))
    return next((key for key in keys if key in pictures), "")


def _path(source: str, folder: Path) -> Path | None:
    if source.startswith("photos/"):
        return HERE / source
    if source.startswith("debian:"):
        package, path = source.removeprefix("debian:").split("/", 1)
        return folder / DEBIAN[package] / path
    package, path = source.split(":")
    spec = find_spec(package)
    return Path(spec.origin).parent / path if spec and spec.origin else None


def _read(name: str) -> Any:
    return json.loads((HERE / "data" / f"{name}.json").read_text(encoding="utf-8"))
