"""A portal's service and real pods: uvicorn, our routes, exact engines."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import Parts
from backends.engines.rerank import Relevance
from backends.errors import (
    BadInput,
    ModelLoadError,
    Overloaded,
    TimedOut,
    Unavailable,
)
from backends.serving import Answer
from backends.serving.wire.exact import MEDIA_TYPE
from backends.settings import Limits, Settings
from backends.telemetry import JsonLines
from tests import echo, stubs
from tests.remote import ask, asking, leaving_nothing, serving, until
from tests.running import in_thread

ECHO = echo.EchoShape()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    await asyncio.to_thread(lambda: None)
    with leaving_nothing():
        yield


# ---- asking


async def test_what_comes_back_is_what_the_engine_gave(tmp_path: Path) -> None:
    documents = [f"{n} " * (n % 70) for n in range(600)]
    items = echo.pairs(*documents, query="query \u4e2d")
    with serving(echo.exact(), tmp_path) as pod:
        async with asking(pod) as service:
            answer = await service.predict(items, ask())
            status = await service.status()
    assert list(answer) == [echo.score(document) for document in documents]
    assert {relevance.cut for relevance in answer} == {True, False}
    assert (answer.model, answer.revision, answer.tokens) == ("exact", 0, 600)
    assert answer.pod == pod.removeprefix("http://")
    assert answer.ran > 0
    assert (status.is_ready, status.model, status.device) == (True, "exact", "CPU")


async def test_a_pods_warnings_reach_the_portals_caller(tmp_path: Path) -> None:
    body = {"query": "q", "documents": ["short", "long " * 100], "instruction": "be kind"}
    with (
        serving(echo.exact(), tmp_path) as pod,
        serving(echo.exact(), tmp_path, remote=(pod,)) as portal,
    ):
        direct, passed = [
            await asyncio.to_thread(httpx.post, f"{address}/v1/rerank", json=body)
            for address in (pod, portal)
        ]
    assert passed.json()["results"] == direct.json()["results"]
    assert passed.json()["warnings"] == direct.json()["warnings"]
    assert "documents[1] is longer than exact reads" in passed.json()["warnings"][1]
    assert passed.json()["usage"] == direct.json()["usage"]
    same = ("x-model", "x-model-revision")
    assert [passed.headers[name] for name in same] == [direct.headers[name] for name in same]
    assert passed.headers["x-pod"] == pod.removeprefix("http://")
    assert "x-pod" not in direct.headers


async def test_what_a_portal_took_is_not_too_large_for_a_pod_with_the_same_limits(
    tmp_path: Path,
) -> None:
    limits = Limits(body_bytes=20_000)
    headers = {"accept": MEDIA_TYPE}
    with serving(echo.exact(), tmp_path, limits=limits) as pod:

        async def status(size: int, **more: Any) -> int:
            body = {"query": "q", "documents": ["x" * size]}
            answer = await asyncio.to_thread(httpx.post, f"{pod}/v1/rerank", json=body, **more)
            return answer.status_code

        assert await status(19_000) == 200
        assert await status(25_000) == 422
        assert await status(25_000, headers=headers) == 200
        assert await status(45_000, headers=headers) == 422


async def test_both_logs_know_a_request_by_the_same_id(tmp_path: Path) -> None:
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    handler.setFormatter(JsonLines())
    log = logging.getLogger("backends.routes.tally")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with (
            serving(echo.exact(), tmp_path) as pod,
            serving(echo.exact(), tmp_path, remote=(pod,)) as portal,
        ):
            await asyncio.to_thread(
                httpx.post,
                f"{portal}/v1/rerank",
                json={"query": "q", "documents": ["d"]},
                headers={"x-request-id": "one-of-many"},
            )
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["one-of-many"] * 2
    assert [line.get("pod") for line in lines] == [None, pod.removeprefix("http://")]


async def test_the_portal_cleans_and_checks_before_it_asks(tmp_path: Path) -> None:
    engine = echo.Exact("exact")
    family = echo.exact(stubs.model(engine))
    with serving(family, tmp_path) as pod, serving(family, tmp_path, remote=(pod,)) as portal:
        engine.batches.clear()
        for body, status in (
            (b'{"query": "", "documents": ["a"]}', 422),
            (b'{"query": "q", "documents": ["a"], "model": "other"}', 422),
            (b'{"query": "q", "documents": ["a\\u0000b \\ud800"]}', 200),
        ):
            got = await asyncio.to_thread(httpx.post, f"{portal}/v1/rerank", content=body)
            assert got.status_code == status, got.text
        assert got.json()["warnings"] == [
            "Characters that are not text were removed from documents[0]."
        ]
    assert engine.seen == ["ab "]


async def test_an_overloaded_pod_is_an_overloaded_portal(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    engine = echo.Exact("exact", gate=gate, length=lambda pair: 1 + 10**9 * (pair.query == "big"))
    family = echo.exact(stubs.model(engine))
    with (
        serving(family, tmp_path, max_batch=1) as pod,
        serving(family, tmp_path, remote=(pod,)) as portal,
    ):
        gate.clear()
        async with httpx.AsyncClient(base_url=portal, timeout=30) as client:
            big = {"query": "big", "documents": ["a", "b", "c", "d"]}
            first = asyncio.create_task(client.post("/v1/rerank", json=big))
            await until(lambda: waits(client), "it never waited")
            refused = await client.post("/v1/rerank", json=big)
            async with asking(pod) as service:
                with pytest.raises(Overloaded, match="The rerank service is busy") as raised:
                    # more than a socket holds: the pod refuses before it has read it
                    await service.predict(echo.pairs("a " * 5_000_000), ask())
            gate.set()
            assert (await first).status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error_type"] == "Overloaded"
    assert refused.json()["error"].startswith("The rerank service is busy: ")
    told = {"error", "error_type", "request_id"}
    assert set(refused.json()) - {"message", "detail"} == told
    assert int(refused.headers["retry-after"]) >= 1
    assert raised.value.retry_after is not None
    assert raised.value.zh.startswith("服务繁忙")


async def waits(client: httpx.AsyncClient) -> bool:
    status = (await client.get("/readyz")).json()["services"]["rerank"]
    return int(status["waiting"]) > 0


async def test_bad_input_that_only_the_engine_sees_comes_through(tmp_path: Path) -> None:
    blame = BadInput("The query has 600 tokens; exact reads 512.", zh="查询过长。", field="query")
    engine = echo.Exact("exact", fails=lambda item: blame if item == "bad" else None)
    with serving(echo.exact(stubs.model(engine)), tmp_path) as pod:
        async with asking(pod) as service:
            with pytest.raises(BadInput) as raised:
                await service.predict(echo.pairs("bad"), ask())
    told = raised.value
    assert (told.text, told.zh, told.field) == (blame.text, blame.zh, blame.field)


async def test_a_bug_in_a_pod_is_told_without_its_trace(tmp_path: Path) -> None:
    engine = echo.Exact("exact", fails=lambda item: KeyError(item) if item == "bad" else None)
    with serving(echo.exact(stubs.model(engine)), tmp_path) as pod:
        async with asking(pod) as service:
            with pytest.raises(Unavailable, match=r"^Something went wrong in the rerank service"):
                await service.predict(echo.pairs("bad"), ask())


async def test_a_pod_that_is_still_loading_says_so(tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(settings: Settings) -> Any:
        assert gate.wait(20)
        return echo.Exact("exact")

    family = echo.exact(stubs.model(slow, "exact"))
    settings = Settings(state_dir=tmp_path)
    parts = Parts(settings, {"rerank": family}, may_ask=False)
    app = parts.application()
    parts.dress(app, identity=None)
    with in_thread(app, ready=False) as pod:
        async with asking(pod, watch=0.02) as service:
            with pytest.raises(ModelLoadError, match="still loading") as refused:
                await service.predict(echo.pairs("a"), ask())
            assert refused.value.retry_after == 2
            assert not (await service.status()).is_ready
            gate.set()
            await until(lambda: ready(service), "it never got ready")
            assert len(await service.predict(echo.pairs("a"), ask())) == 1


async def ready(service: Any) -> bool:
    return bool((await service.status()).is_ready)


# ---- leaving and time


async def test_a_caller_who_leaves_takes_the_entries_in_the_pod_along(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    engine = echo.Exact("exact", gate=gate)
    family = echo.exact(stubs.model(engine, threads=1))
    with (
        serving(family, tmp_path, max_batch=1) as pod,
        serving(family, tmp_path, remote=(pod,)) as portal,
    ):
        gate.clear()
        engine.batches.clear()
        async with httpx.AsyncClient(base_url=portal, timeout=30) as client:
            body = {"query": "q", "documents": [f"left {n}" for n in range(8)]}
            left = asyncio.create_task(client.post("/v1/rerank", json=body))
            await until(lambda: engine.batches, "it never ran")
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left
        async with httpx.AsyncClient(base_url=pod) as client:
            await until(lambda: idle(client), "the pod still holds its entries")
            gate.set()
    assert len(engine.seen) < 8


async def idle(client: httpx.AsyncClient) -> bool:
    status = (await client.get("/readyz")).json()["services"]["rerank"]
    return int(status["waiting"]) == int(status["in_flight"]) == 0


async def test_the_seconds_left_are_the_pods_deadline(tmp_path: Path) -> None:
    gate = threading.Event()
    gate.set()
    engine = echo.Exact("exact", gate=gate)
    with serving(echo.exact(stubs.model(engine)), tmp_path) as pod:
        gate.clear()
        async with asking(pod) as service, httpx.AsyncClient(base_url=pod) as client:
            with pytest.raises(TimedOut, match="did not answer in the time that was asked for"):
                await service.predict(echo.pairs("a"), ask(0.3))
            await until(lambda: idle(client), "the pod still holds its entries")
            gate.set()


# ---- streams


def spoken(engine: echo.Echo, state: Path, **more: Any) -> Any:
    return serving(echo.echo(engine), state, **more)


async def test_parts_come_through_as_they_are_made_and_then_the_answer(tmp_path: Path) -> None:
    steps = threading.Semaphore(100)  # the sample runs freely

    def between(word: str) -> None:
        assert steps.acquire(timeout=20)

    engine = echo.Echo(between)
    with spoken(engine, tmp_path) as pod:
        while steps.acquire(blocking=False):
            pass
        async with asking(pod, family=echo.echo(engine), shape=ECHO) as service:
            stream = service.stream("one two three", ask())
            parts = []
            for _ in range(3):
                parts.append(await anext(stream))
                assert engine.heard[-1:] == [True]
                steps.release()  # the engine goes on only after the part arrived here
            answer = await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
    assert parts == ["one", "two", "three"]
    assert isinstance(answer, Answer)
    assert list(answer) == ["ONE TWO THREE"]
    assert (answer.model, answer.revision, answer.tokens) == ("echo", 0, 1)
    assert answer.pod == pod.removeprefix("http://")


async def test_a_reader_that_stops_is_noticed_by_the_engine(tmp_path: Path) -> None:
    go = threading.Event()
    go.set()

    def between(word: str) -> None:
        assert go.wait(20)

    engine = echo.Echo(between)
    with spoken(engine, tmp_path) as pod:
        engine.heard.clear()
        go.clear()
        async with (
            asking(pod, family=echo.echo(engine), shape=ECHO) as service,
            httpx.AsyncClient(base_url=pod) as client,
        ):
            stream = service.stream("one two three", ask())
            assert await anext(stream) == "one"
            await stream.aclose()  # type: ignore[attr-defined]
            await until(lambda: quiet(client), "the pod still holds its entry")
            go.set()
            await until(lambda: len(engine.heard) == 3, "the engine never went on")
    assert engine.heard == [True, False, False]


async def quiet(client: httpx.AsyncClient) -> bool:
    status = (await client.get("/readyz")).json()["services"]["translate"]
    return int(status["in_flight"]) == 0


async def test_a_portals_own_readers_hear_the_stream_too(tmp_path: Path) -> None:
    engine = echo.Echo()
    with spoken(engine, tmp_path) as pod, spoken(engine, tmp_path, remote=(pod,)) as portal:
        body = {"text": "one two", "stream": True}
        got = await asyncio.to_thread(httpx.post, f"{portal}/v1/translate", json=body)
    events = [json.loads(line[6:]) for line in got.text.split("\n\n") if line]
    assert [event["delta"] for event in events[:-1]] == ["one", "two"]
    assert events[-1]["text"] == "ONE TWO"
    assert events[-1]["served_by"]["pod"] == pod.removeprefix("http://")


async def test_a_stream_that_fails_before_its_first_part_is_a_plain_error(tmp_path: Path) -> None:
    with spoken(echo.Echo(), tmp_path) as pod:
        family = echo.echo(echo.Echo())
        async with asking(pod, family=family, shape=ECHO) as service:
            with pytest.raises(BadInput, match=r"text is empty\.") as raised:
                await anext(service.stream("", ask()))
    assert raised.value.zh == "文本为空。"


async def test_a_stream_that_fails_on_its_way_ends_with_its_sentence(tmp_path: Path) -> None:
    def between(word: str) -> None:
        if word == "two":
            raise ModelLoadError("The weights fell out.")

    engine = echo.Echo(between)
    with spoken(engine, tmp_path) as pod:
        async with asking(pod, family=echo.echo(engine), shape=ECHO) as service:
            stream = service.stream("one two three", ask())
            assert [await anext(stream), await anext(stream)] == ["one", "two"]
            with pytest.raises(ModelLoadError, match=r"The weights fell out\."):
                await anext(stream)


async def test_a_model_that_does_not_stream_answers_at_once(tmp_path: Path) -> None:
    with serving(echo.exact(), tmp_path) as pod:
        async with asking(pod) as service:
            parts = [part async for part in service.stream(echo.pairs("a")[0], ask())]
    (answer,) = parts
    assert list(answer) == [echo.score("a")]


def test_scores_of_the_stub_are_scores() -> None:
    assert echo.score("a") == Relevance(97 / 997)
