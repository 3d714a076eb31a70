"""Far too many requests at once: each is answered or told when to come back, and none is lost."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import running

CALLERS = 100
ROUNDS = 3
SETTINGS = {
    "QUARTET_RERANK__CACHED_DOCUMENTS": "0",  # every document costs
    "QUARTET_BATCHING__MAX_QUEUE_SECONDS": "0.2",
    "QUARTET_BATCHING__MAX_BATCH": "2",
}


@pytest.fixture
def server(state_dir: Path) -> Iterator[running.Process]:
    arguments = ("--serve", "rerank", "--port", "0")
    with running.Process(*arguments, state_dir=state_dir, env=SETTINGS) as process:
        yield process.ready()


def body(name: str) -> dict[str, Any]:
    documents = [f"{name} number {n} " + "of the words that take time " * 8 for n in range(4)]
    return {"query": "which one", "documents": documents, "timeout": 120}


async def asked(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.post("/v1/rerank", json=body(name))


async def many(address: str, told: list[httpx.Response]) -> None:
    """Each asks again at once, whatever it is told: nobody here waits as long as they should."""
    limits = httpx.Limits(max_connections=CALLERS)
    async with httpx.AsyncClient(base_url=address, timeout=None, limits=limits) as client:

        async def caller(number: int) -> None:
            for turn in range(ROUNDS):
                told.append(await asked(client, f"{number} {turn}"))

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))


async def test_each_of_too_many_requests_is_answered_or_told_when_to_come_back(
    server: running.Process,
) -> None:
    told: list[httpx.Response] = []
    waiting: list[int] = []

    async def watch() -> None:
        async with httpx.AsyncClient(base_url=server.address, timeout=None) as client:
            while len(told) < CALLERS * ROUNDS:
                state = (await client.get("/readyz")).json()["services"]["rerank"]
                waiting.append(state["in_flight"])
                await asyncio.sleep(0.05)

    await asyncio.gather(many(server.address, told), watch())
    statuses = Counter(answer.status_code for answer in told)
    assert sum(statuses.values()) == CALLERS * ROUNDS
    assert set(statuses) == {200, 429}
    for answer in told:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert len(answer.json()["results"]) == 4
    assert max(waiting) < 4 * CALLERS  # not all of them were let in

    async with httpx.AsyncClient(base_url=server.address, timeout=None) as client:
        assert (await asked(client, "afterwards")).status_code == 200
        state = (await client.get("/readyz")).json()["services"]["rerank"]
    assert state["waiting"] == state["in_flight"] == 0
    assert state["breaker"] == "closed"
    logged = {"answered": statuses[200] + 1, "refused": statuses[429]}
    running.wait_until(
        lambda: {event: len(server.events(event)) for event in logged} == logged,
        "not every request left its one line in the log",
    )
