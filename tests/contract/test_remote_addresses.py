"""Several addresses of one service: which is asked, which rests, and what they say together."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.errors import Overloaded, Unavailable
from backends.serving import State
from backends.serving.remote import RemoteService
from tests import faults
from tests.faults import (
    PAIRS,
    answered,
    answers,
    breaks_off,
    closes,
    floods,
    hangs,
    resets,
    response,
    says,
    serving,
)
from tests.remote import ask, asking, leaving_nothing, until

HALF = "The rerank service broke off in the middle of its answer."


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    await asyncio.to_thread(lambda: None)  # the loop's own pool is there before and after
    with leaving_nothing():
        yield


# ---- two addresses


@pytest.mark.parametrize(
    "behaviour",
    [resets, closes, says("503 X", "Unavailable", "The rerank service is leaving.")],
    ids=["resets", "closes", "drains"],
)
async def test_what_nothing_was_answered_to_is_asked_once_more_elsewhere(behaviour: Any) -> None:
    async with serving(behaviour) as bad, serving(answers(answered())) as good:
        async with asking(bad.address, good.address) as service:
            for _ in range(4):
                answer = await service.predict(PAIRS, ask())
                assert answer.pod == good.address.removeprefix("http://")
        assert len(bad.asked) >= 1
        assert len(good.asked) == 4


async def test_a_request_that_two_pods_did_not_take_is_asked_of_no_third() -> None:
    async with serving(resets) as one, serving(resets) as two, serving(resets) as three:
        async with asking(one.address, two.address, three.address) as service:
            with pytest.raises(Unavailable, match="closed the connection"):
                await service.predict(PAIRS, ask())
        assert len(one.asked) + len(two.asked) + len(three.asked) == 2


async def test_the_pod_with_the_least_open_requests_is_asked_and_equals_in_turn() -> None:
    async with (
        serving(hangs) as busy,
        serving(answers(answered())) as free,
        asking(busy.address, free.address) as service,
    ):
        two = [asyncio.create_task(service.predict(PAIRS, ask())) for _ in range(2)]
        await until(lambda: len(busy.asked) == len(free.asked) == 1, "both were never asked")
        await asyncio.wait(two, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):
            await service.predict(PAIRS, ask())
        assert (len(busy.asked), len(free.asked)) == (1, 6)
        busy.behaviour = answers(answered())
        for task in two:
            task.cancel()
        await asyncio.gather(*two, return_exceptions=True)
        for _ in range(6):
            await service.predict(PAIRS, ask())
        assert (len(busy.asked), len(free.asked)) == (4, 9)


async def test_a_pod_takes_only_so_many_requests_of_one_portal() -> None:
    async with serving(hangs) as pod, asking(pod.address, connections=2) as service:
        waiting = [asyncio.create_task(service.predict(PAIRS, ask())) for _ in range(2)]
        await until(lambda: len(pod.asked) == 2, "it was never asked")
        with pytest.raises(Overloaded, match="too many requests open") as refused:
            await service.predict(PAIRS, ask())
        assert refused.value.retry_after == 1
        assert len(pod.asked) == 2
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# ---- an address where nobody is


@contextmanager
def deaf() -> Iterator[str]:
    """An address that takes no connection and refuses none: its queue of two is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            for each in waiting:
                each.close()


@contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so that nobody else gets it, and not listening
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("where", [nobody, deaf])
async def test_a_dead_address_is_found_out_and_then_costs_nothing(where: Any) -> None:
    with where() as address:
        async with asking(
            address, connect_seconds=0.1, look_seconds=0.2, failures=3, rest_seconds=60
        ) as service:
            met = 0
            while True:
                try:
                    service.admit()
                except Unavailable as error:
                    refused = error
                    break
                with pytest.raises(Unavailable, match=r"^The rerank service cannot be reached\.$"):
                    await service.predict(PAIRS, ask())
                met += 1
                assert met <= 3, "the address is still asked"
            assert refused.text.startswith("The rerank service ")
            assert "It is tried again in 60 s." in refused.text
            assert refused.retry_after == 60
            status = await service.status()
            assert (status.state, status.model, status.is_ready) == (State.FAILED, "", False)
            assert status.reason.startswith("The rerank service ")
            assert [pod.state for pod in status.pods] == [State.FAILED]


async def test_beside_a_dead_address_the_other_answers_everything() -> None:
    async with serving(answers(answered())) as good:
        with deaf() as address:
            async with asking(
                address, good.address, connect_seconds=0.1, look_seconds=0.2, rest_seconds=60
            ) as service:
                for _ in range(10):
                    await service.predict(PAIRS, ask())
                status = await service.status()
                assert status.is_ready
                assert sorted(pod.is_ready for pod in status.pods) == [False, True]


def is_refused(service: RemoteService) -> bool:
    try:
        service.admit()
    except Unavailable:
        return True
    return False


async def test_a_pod_that_comes_back_is_asked_again() -> None:
    async with (
        serving(resets, look=resets) as pod,
        asking(pod.address, failures=1, rest_seconds=0.05, watch=0.02) as service,
    ):
        await until(lambda: is_refused(service), "it is still asked")
        with pytest.raises(Unavailable):
            await service.predict(PAIRS, ask())
        pod.behaviour, pod.look = answers(answered()), answers(faults.READY)
        await until(lambda: not is_refused(service), "it was never found again")
        assert len(await service.predict(PAIRS, ask())) == 2
        assert (await service.status()).is_ready


async def test_when_the_last_pod_drains_another_that_just_came_back_is_found() -> None:
    drains = says("503 X", "Unavailable", "The rerank service is leaving; ask another one.")
    async with (
        serving(closes, look=closes) as back,
        serving(drains) as leaving,
        asking(back.address, leaving.address, failures=1, rest_seconds=60) as service,
    ):
        status = await service.status()
        assert [pod.is_ready for pod in status.pods] == [False, True]
        back.behaviour, back.look = answers(answered()), answers(faults.READY)
        answer = await service.predict(PAIRS, ask())
        assert answer.pod == back.address.removeprefix("http://")


# ---- what a pod says of itself


LOOKS: dict[str, tuple[Any, State, str]] = {
    "ready": (answers(faults.READY), State.READY, ""),
    "loading": (answers(faults.ready(state="loading")), State.LOADING, ""),
    "failed": (answers(faults.ready(state="failed", reason="No.")), State.FAILED, "No."),
    "draining": (answers(faults.ready(state="draining")), State.DRAINING, ""),
    "a newer one": (answers(faults.ready(colour="red")), State.READY, ""),
    "an unknown model": (
        answers(faults.ready(model="huge")),
        State.FAILED,
        "The rerank service runs a model that this portal does not know; both must be the same "
        "version of Quartet.",
    ),
    "another service": (
        answers(faults.ready(service="fusion")),
        State.FAILED,
        "There is no rerank service at the address that this portal was given.",
    ),
    "nonsense": (
        answers(response(b"<html>")),
        State.FAILED,
        "There is no rerank service at the address that this portal was given.",
    ),
    "silent": (
        hangs,
        State.FAILED,
        "The rerank service took the connection and did not say how it is.",
    ),
    "half": (breaks_off(faults.READY), State.FAILED, HALF),
    "endless": (floods, State.FAILED, "There is no rerank service at the address"),
}


@pytest.mark.parametrize("name", LOOKS)
async def test_a_pods_own_word_becomes_the_status(name: str) -> None:
    look, state, reason = LOOKS[name]
    async with serving(hangs, look) as pod, asking(pod.address, look_seconds=0.3) as service:
        status = await service.status()
        assert status.state is state
        assert status.reason.startswith(reason)
        assert bool(reason) == bool(status.reason)
        assert status.pod == ""
        assert [each.pod for each in status.pods] == [pod.address.removeprefix("http://")]


async def test_many_who_ask_how_it_is_share_one_question() -> None:
    async with serving(hangs) as pod, asking(pod.address) as service:
        await asyncio.gather(*(service.status() for _ in range(20)))
        await service.status()
        assert pod.looks == 1


async def test_several_pods_are_one_status(tmp_path: Path) -> None:
    old = answers(faults.ready(revision=1, waiting=2, in_flight=3))
    new = answers(faults.ready(revision=2, waiting=1, in_flight=1))
    away = answers(faults.ready(revision=3, state="loading", loading="exact"))
    async with (
        serving(hangs, old) as one,
        serving(hangs, new) as two,
        serving(hangs, away) as off,
        asking(one.address, two.address, off.address) as service,
    ):
        status = await service.status()
    assert (status.state, status.revision) == (State.READY, 2)
    assert (status.waiting, status.in_flight, status.loading) == (3, 4, "exact")
    assert [pod.revision for pod in status.pods] == [1, 2, 3]
