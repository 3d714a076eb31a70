"""Pods that break, on purpose and over real sockets: one sentence each, and nothing is left."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from backends.errors import BadInput, ModelLoadError, Overloaded, TimedOut, Unavailable
from backends.serving import State
from tests import echo, faults
from tests.faults import (
    PAIRS,
    answered,
    answers,
    breaks_off,
    closes,
    drips,
    floods,
    hangs,
    resets,
    response,
    says,
    serving,
)
from tests.remote import ask, asking, leaving_nothing, until


def zipped() -> bytes:
    """Small on the wire; nobody asked for it, so nobody unpacks it."""
    packed = gzip.compress(b" " * 1_000_000)
    return response(packed, content_encoding="gzip", x_model="exact", x_model_revision="0")


def hangs_after(data: bytes) -> Any:
    async def behave(exchange: faults.Exchange) -> None:
        await exchange.send(data)
        await exchange.hung_up()

    return behave


async def all_of(parts: AsyncIterator[Any], heard: list[Any]) -> None:
    async for part in parts:
        heard.append(part)


ECHOES = answers(faults.ready("translate", "echo"))
SPOKEN: dict[str, Any] = {"family": echo.echo(echo.Echo()), "shape": echo.EchoShape()}


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    await asyncio.to_thread(lambda: None)  # the loop's own pool is there before and after
    with leaving_nothing():
        yield


NONSENSE = "answered in a way that this portal cannot read; both must be the same version"
HALF = "The rerank service broke off in the middle of its answer."
CLOSED = "The rerank service closed the connection before it answered."
LARGE = "answer is larger than this portal takes"
LATE = "The rerank service did not answer in the time that was asked for. Send less at once"

BROKEN: dict[str, tuple[Any, type[Exception], str]] = {
    "hangs": (hangs, TimedOut, LATE),
    "resets": (resets, Unavailable, CLOSED),
    "closes": (closes, Unavailable, CLOSED),
    "half a head": (answers(b"HTTP/1.1 200 OK\r\ncontent-"), Unavailable, CLOSED),
    "half a body": (breaks_off(answered()), Unavailable, HALF),
    "half a body, reset": (breaks_off(answered(), reset=True), Unavailable, HALF),
    "another protocol": (answers(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), Unavailable, NONSENSE),
    "endless head": (answers(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000), Unavailable, NONSENSE),
    "no JSON": (answers(response(b"<html>", x_model="exact")), Unavailable, NONSENSE),
    "deep JSON": (answers(response(b"[" * 100_000)), Unavailable, NONSENSE),
    "other JSON": (answers(response(b"[1, 2]", x_model="exact")), Unavailable, NONSENSE),
    "zipped": (answers(zipped()), Unavailable, NONSENSE),
    "too few outputs": (answers(answered(PAIRS[:1])), Unavailable, NONSENSE),
    "too many outputs": (answers(answered([*PAIRS, *PAIRS])), Unavailable, NONSENSE),
    "no model": (answers(answered(x_model_revision="new")), Unavailable, NONSENSE),
    "unknown model": (answers(answered(x_model="huge")), Unavailable, "model that this portal"),
    "a redirect": (answers(response(b"", "302 Found", location="/")), Unavailable, NONSENSE),
    "no content": (answers(response(b"", "204 No Content")), Unavailable, NONSENSE),
    "too large": (answers(response(b" " * 200_001)), Unavailable, LARGE),
    "endless": (floods, Unavailable, LARGE),
    "slow": (drips(answered(), 0.02), TimedOut, LATE),
    "not there": (answers(response(b"", "404 Not Found")), Unavailable, "There is no rerank"),
    "failed": (says("500 X", "InternalError", "Sorry."), Unavailable, "Something went wrong in"),
    "a proxy's 502": (answers(response(b"<html>", "502 X")), Unavailable, "cannot be reached"),
    "a proxy's 429": (answers(response(b"", "429 X")), Overloaded, "The rerank service is busy."),
    "a long story": (says("503 X", "Unavailable", "a\n" * 900), Unavailable, r"(a ){250}…"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_pod_that_breaks_is_one_sentence(name: str) -> None:
    behaviour, kind, sentence = BROKEN[name]
    async with serving(behaviour) as pod, asking(pod.address, answer_bytes=200_000) as service:
        with pytest.raises(kind, match=sentence) as raised:
            await service.predict(PAIRS, ask(0.4 if kind is TimedOut else 20))
        assert type(raised.value) is kind
        text = raised.value.text  # type: ignore[attr-defined]
        assert "\n" not in text
        assert pod.address.removeprefix("http://") not in text
        assert len(pod.asked) == 1


async def test_what_a_pod_refuses_comes_through_as_it_was_said() -> None:
    said = [
        (says("429 X", "Overloaded", "Busy.", "忙。", Retry_After="7"), Overloaded, 7),
        (says("503 X", "ModelLoadError", "Still loading.", "加载中。"), ModelLoadError, None),
        (says("503 X", "Unavailable", "Failing.", "失败。", Retry_After="60"), Unavailable, 60),
        (says("422 X", "BadInput", "The query is long.", "查询过长。"), BadInput, None),
        (says("504 X", "TimedOut", "Too late.", "太迟。"), TimedOut, None),
    ]
    for behaviour, kind, again in said:
        async with serving(behaviour) as pod, asking(pod.address) as service:
            with pytest.raises(kind) as raised:
                await service.predict(PAIRS, ask())
            assert type(raised.value) is kind
            assert raised.value.retry_after == again  # type: ignore[attr-defined]
            assert raised.value.text.endswith(".")  # type: ignore[attr-defined]
            assert raised.value.zh.endswith("。")  # type: ignore[attr-defined]
            assert "accept: application/vnd.quartet+json" in pod.asked[0].head


async def test_an_answer_says_which_pod_and_model_gave_it() -> None:
    timing = {"server_timing": "queue;dur=1.5, run;dur=20.0", "x_model_revision": "4"}
    async with serving(answers(answered(**timing))) as pod, asking(pod.address) as service:
        answer = await service.predict(PAIRS, ask())
    assert list(answer) == [echo.score("one"), echo.score("two")]
    assert (answer.model, answer.revision, answer.tokens) == ("exact", 4, 2)
    assert (answer.queued, answer.ran) == (0.0015, 0.02)
    assert answer.pod == pod.address.removeprefix("http://")


async def test_deadline_request_id_and_trace_travel_with_a_request() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving(answers(answered())) as pod, asking(pod.address) as service:
        await service.predict(PAIRS, ask(5, request_id="abc", trace=trace))
        await service.predict(PAIRS, ask(5, trace="00-\u4e2d\r\nx: y"))
    first, second = (exchange.head.lower() for exchange in pod.asked)
    assert "\r\nx-request-id: abc\r\n" in first
    assert f"\r\ntraceparent: {trace}\r\n" in first
    seconds = float(first.partition("x-timeout: ")[2].partition("\r\n")[0])
    assert 0 < seconds <= 5
    assert "traceparent" not in second
    assert "x-request-id" not in second


async def test_a_caller_who_leaves_closes_the_pods_connection() -> None:
    async with serving(hangs) as pod, asking(pod.address) as service:
        pod.behaviour = pod.noting_who_leaves(hangs)
        asked = asyncio.create_task(service.predict(PAIRS, ask()))
        await until(lambda: pod.asked, "it was never asked")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await until(lambda: pod.left == 1, "the connection stayed open")
        with pytest.raises(TimedOut):
            await service.predict(PAIRS, ask(0.1))
        await until(lambda: pod.left == 2, "the connection stayed open")


async def test_an_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    async with serving(floods) as pod, asking(pod.address, answer_bytes=200_000) as service:
        pod.behaviour = pod.noting_who_leaves(floods)
        with pytest.raises(Unavailable, match=LARGE):
            await service.predict(PAIRS, ask())
        await until(lambda: pod.left == 1, "the connection stayed open")


async def test_a_request_whose_time_is_over_is_not_sent() -> None:
    async with serving(answers(answered())) as pod, asking(pod.address) as service:
        with pytest.raises(TimedOut):
            await service.predict(PAIRS, ask(-1))
        assert pod.asked == []


async def test_nothing_to_ask_is_refused_here() -> None:
    async with serving(answers(answered())) as pod, asking(pod.address) as service:
        with pytest.raises(BadInput, match="at least one item"):
            await service.predict([], ask())
        assert pod.asked == []


# ---- streams


def events(*values: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    return head + b"".join(b"data: " + value + b"\n\n" for value in values)


PARTS = (b'{"index":0,"part":"one"}', b'{"index":0,"part":"two"}')
WHOLE = orjson.dumps(
    {
        "outputs": ["ONE TWO"],
        "usage": {"total_tokens": 2},
        "served_by": {"model": "echo", "revision": 3, "queued": 0.5, "ran": 1},
    }
)

STREAMS: dict[str, tuple[Any, type[Exception], str]] = {
    "ends early": (answers(events(*PARTS)), Unavailable, "broke off in the middle"),
    "ends in an event": (answers(events(*PARTS, WHOLE)[:-9]), Unavailable, "broke off in the"),
    "resets": (breaks_off(events(*PARTS, *PARTS), reset=True), Unavailable, "broke off in the"),
    "nonsense": (answers(events(*PARTS, b"{")), Unavailable, NONSENSE),
    "no list of served": (answers(events(*PARTS, b'{"outputs": ["A"]}')), Unavailable, NONSENSE),
    "endless event": (answers(events(*PARTS) + b"data: " + b"x" * 9000), Unavailable, LARGE),
    "error": (
        answers(
            events(*PARTS) + b'event: error\ndata: {"error": "No.", "error_type": "TimedOut"}\n\n'
        ),
        TimedOut,
        "No.",
    ),
    "error of another": (
        answers(events(*PARTS) + b"event: error\ndata: oh\n\n"),
        Unavailable,
        "went wrong in the",
    ),
    "hangs": (hangs_after(events(*PARTS)), TimedOut, "did not answer in the time"),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_breaks_is_one_sentence_after_the_parts_that_came(name: str) -> None:
    behaviour, kind, sentence = STREAMS[name]
    heard: list[str] = []
    async with (
        serving(behaviour, ECHOES) as pod,
        asking(pod.address, answer_bytes=5000, **SPOKEN) as service,
    ):
        stream = service.stream("one two", ask(1 if name == "hangs" else 20))
        with pytest.raises(kind, match=sentence) as raised:
            await all_of(stream, heard)
        assert type(raised.value) is kind
    assert heard[:1] == ["one"]
    assert set(heard) <= {"one", "two"}


@pytest.mark.parametrize(
    "pieces", [drips(events(*PARTS, WHOLE), 0), answers(events(*PARTS, WHOLE))]
)
async def test_a_stream_is_heard_however_it_is_cut_into_pieces(pieces: Any) -> None:
    async with serving(pieces, ECHOES) as pod, asking(pod.address, **SPOKEN) as service:
        one, two, answer = [part async for part in service.stream("one two", ask())]
    assert (one, two, list(answer)) == ("one", "two", ["ONE TWO"])
    assert (answer.model, answer.revision, answer.queued, answer.ran) == ("echo", 3, 0.5, 1)
    assert answer.pod == pod.address.removeprefix("http://")


async def test_a_closed_service_ends_a_stream_too() -> None:
    spoken = hangs_after(events(*PARTS))
    async with serving(spoken, ECHOES) as pod, asking(pod.address, **SPOKEN) as service:
        stream = service.stream("one two", ask())
        assert [await anext(stream), await anext(stream)] == ["one", "two"]
        rest = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        await service.close()
        with pytest.raises(Unavailable, match="The portal is leaving"):
            await rest


@pytest.mark.parametrize(
    "name", ["half a body", "hangs", "failed", "a proxy's 429", "no JSON", "another protocol"]
)
async def test_what_was_answered_or_may_still_be_is_never_asked_twice(name: str) -> None:
    behaviour, kind, _ = BROKEN[name]
    async with serving(behaviour) as one, serving(behaviour) as two:
        async with asking(one.address, two.address) as service:
            with pytest.raises(kind):
                await service.predict(PAIRS, ask(0.3 if kind is TimedOut else 20))
        assert len(one.asked) + len(two.asked) == 1


# ---- leaving


async def test_a_service_that_is_closed_answers_everyone_who_waits() -> None:
    async with serving(hangs) as pod, asking(pod.address) as service:
        waiting = [asyncio.create_task(service.predict(PAIRS, ask())) for _ in range(3)]
        await until(lambda: len(pod.asked) == 3, "it was never asked")
        await service.close()
        for task in waiting:
            with pytest.raises(Unavailable, match="The portal is leaving"):
                await task
        with pytest.raises(Unavailable, match="The portal is leaving"):
            await service.predict(PAIRS, ask())
        assert (await service.status()).state is State.CLOSED


async def test_a_drain_refuses_new_work_and_waits_for_the_old() -> None:
    go = asyncio.Event()

    async def later(exchange: faults.Exchange) -> None:
        await go.wait()
        await exchange.send(answered())

    async with serving(later) as pod, asking(pod.address) as service:
        accepted = asyncio.create_task(service.predict(PAIRS, ask()))
        await until(lambda: pod.asked, "it was never asked")
        draining = asyncio.create_task(service.drain(20))
        await asyncio.sleep(0.02)
        with pytest.raises(Unavailable, match="leaving"):
            service.admit()
        assert not draining.done()
        assert (await service.status()).state is State.DRAINING
        go.set()
        await draining
        assert len(await accepted) == 2
