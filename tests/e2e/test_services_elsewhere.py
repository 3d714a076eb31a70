"""The portal and its services in processes of their own: killed, brought back, replaced in turn."""

import asyncio
import collections
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import Process, free_ports, wait_until

CLIENTS = 8
BODY = {
    "query": "a lamp for reading",
    "documents": [f"Chapter {n}. " + "A tale told again. " * 10 for n in range(6)],
}
# What a request may end with while its service is being killed: each is the whole sentence.
LOST = {
    "The rerank service closed the connection before it answered.",
    "The rerank service broke off in the middle of its answer.",
    "The rerank service cannot be reached.",
    "The rerank service cannot be reached. It is tried again in 1 s.",
    "The rerank service cannot be reached. It is tried again in 2 s.",
    "The rerank service closed the connection before it answered. It is tried again in 1 s.",
    "The rerank service closed the connection before it answered. It is tried again in 2 s.",
    "The rerank model is still loading.",
}


class Load:
    """Closed-loop clients: each asks again as soon as it is answered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.counts: collections.Counter[str] = collections.Counter()
        self.going = True

    async def client(self, http: httpx.AsyncClient) -> None:
        while self.going:
            answer = await http.post("/v1/rerank", json=BODY)
            value = answer.json()
            if answer.status_code == 429:
                self.counts["429"] += 1
                await asyncio.sleep(int(answer.headers["retry-after"]))
            elif answer.status_code == 200:
                assert len(value["results"]) == len(BODY["documents"])
                self.counts["200"] += 1
                self.counts[answer.headers["x-pod"]] += 1
            else:
                assert {"error", "error_type", "request_id"} <= set(value)
                self.counts[f"{answer.status_code} {value['error']}"] += 1
                await asyncio.sleep(0.02)

    @property
    def failed(self) -> dict[str, int]:
        return {name: count for name, count in self.counts.items() if name.startswith("5")}

    async def more(self, name: str, count: int) -> None:
        """Until so many more of these were counted."""
        due = self.counts[name] + count
        await asyncio.to_thread(wait_until, lambda: self.counts[name] >= due, f"no more {name}")


@asynccontextmanager
async def loading(address: str) -> AsyncIterator[Load]:
    load = Load(address)
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
        clients = [asyncio.create_task(load.client(http)) for _ in range(CLIENTS)]
        try:
            yield load
        finally:
            load.going = False
            await asyncio.gather(*clients)  # none hangs, none met a surprise
            print(dict(load.counts))


def serve(port: int, state_dir: Path) -> Process:
    return Process("--serve", "rerank", "--port", str(port), state_dir=state_dir)


@contextmanager
def portal(state_dir: Path, *ports: int) -> Iterator[Process]:
    addresses = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    env = {"QUARTET_REMOTE__RERANK": f"[{addresses}]"}
    with Process("--port", "0", state_dir=state_dir, env=env) as process:
        wait_until(lambda: pods_ready(process) == len(ports), "its pods were never ready")
        yield process


def rerank(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{process.address}/readyz").json()["services"]["rerank"]
    return found


def probe(process: Process) -> int:
    return httpx.get(f"{process.address}/readyz").status_code


def pods_ready(process: Process) -> int:
    return [pod["state"] for pod in rerank(process)["pods"]].count("ready")


async def pods_are_ready(process: Process, count: int) -> None:
    sorry = f"there were never {count} pods ready"
    await asyncio.to_thread(wait_until, lambda: pods_ready(process) == count, sorry)


async def test_a_service_that_is_killed_under_load_is_said_to_be_gone_and_comes_back(
    tmp_path: Path,
) -> None:
    (port,) = free_ports(1)
    with serve(port, tmp_path / "pod") as pod, portal(tmp_path / "portal", port) as quartet:
        pod.ready()
        async with loading(quartet.address) as load:
            await load.more("200", 20)
            assert load.failed == {}
            pod.process.send_signal(signal.SIGKILL)
            await pods_are_ready(quartet, 0)
            answered = load.counts["200"]
            gone = "503 The rerank service cannot be reached. It is tried again in 2 s."
            await load.more(gone, 3)
            assert load.counts["200"] == answered  # it has no engine to fall back to
            status = rerank(quartet)
            assert (status["state"], status["model"]) == ("failed", "")
            assert status["reason"] == "The rerank service cannot be reached."
            page = await asyncio.to_thread(httpx.get, f"{quartet.address}/")
            assert page.status_code == 200
            own = "its own services, which need no pod, were never ready"
            await asyncio.to_thread(wait_until, lambda: probe(quartet) == 200, own)
            assert rerank(quartet)["state"] == "failed"
            with serve(port, tmp_path / "pod"):
                await load.more("200", 20)
                await pods_are_ready(quartet, 1)
        assert {name[4:] for name in load.failed} <= LOST
        assert not [line for line in quartet.logged if "Traceback" in line]


async def test_with_two_addresses_the_other_one_answers_for_the_killed(tmp_path: Path) -> None:
    one, two = free_ports(2)
    with (
        serve(one, tmp_path / "one") as killed,
        serve(two, tmp_path / "two"),
        portal(tmp_path / "portal", one, two) as quartet,
    ):
        async with loading(quartet.address) as load:
            await load.more(f"127.0.0.1:{one}", 20)
            await load.more(f"127.0.0.1:{two}", 20)
            killed.process.send_signal(signal.SIGKILL)
            await pods_are_ready(quartet, 1)
            await load.more("200", 40)
        # an answer that had begun cannot be asked for again
        assert set(load.failed) <= {"503 The rerank service broke off in the middle of its answer."}


async def test_replacing_two_services_in_turn_fails_no_request(tmp_path: Path) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        running = {p: stack.enter_context(serve(p, tmp_path / str(p))) for p in ports}
        quartet = stack.enter_context(portal(tmp_path / "portal", *ports))
        async with loading(quartet.address) as load:
            for port, process in running.items():
                await load.more(f"127.0.0.1:{port}", 20)
                process.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait) == 0
                fresh = stack.enter_context(serve(port, tmp_path / str(port)))
                await asyncio.to_thread(fresh.ready)
                await pods_are_ready(quartet, 2)  # the portal looks every second or two
            await load.more("200", 40)
        assert load.failed == {}


@pytest.mark.parametrize("value", ["rerank:7860", '["rerank:7860"]', '["http://a/?b"]', "[7]"])
def test_a_wrong_address_is_one_sentence(tmp_path: Path, value: str) -> None:
    env = {"QUARTET_REMOTE__RERANK": value}
    with Process("--port", "0", state_dir=tmp_path, env=env) as quartet:
        assert quartet.wait() == 1
        wait_until(lambda: bool(quartet.logged), "it said nothing")
        assert quartet.logged[0].startswith("QUARTET_REMOTE__")
        assert len(quartet.logged) == 1
