"""Another model for a service elsewhere: its pods take the record, refuse it, or are away."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import Parts
from backends.errors import (
    BadInput,
    Conflict,
    ModelLoadError,
    QuartetError,
    Unavailable,
)
from backends.families import Family
from backends.ops.cluster import Ref
from backends.ops.local import CONTEXT, LocalCluster
from backends.serving import State
from backends.serving.record import ModelRecord, Records
from backends.settings import Internal, Models, Settings
from tests import echo, stubs
from tests.remote import TOKEN, ask, asking, leaving_nothing, serving, until
from tests.running import in_thread


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    await asyncio.to_thread(lambda: None)
    with leaving_nothing():
        yield


# ---- which model


def models(*names: str) -> Family:
    made = [stubs.model(lambda settings, n=name: echo.Exact(n), name) for name in names]

    def breaks(settings: Settings) -> Any:
        raise KeyError("what it said")

    return echo.exact(*made, stubs.model(breaks, "broken"))


async def test_a_swap_reaches_every_pod_and_is_told_by_the_next_answer(tmp_path: Path) -> None:
    family = models("one", "two")
    with serving(family, tmp_path / "a") as a, serving(family, tmp_path / "b") as b:
        async with asking(a, b, family=family) as service:
            await service.swap(ModelRecord(1, "two"))
            answers = [await service.predict(echo.pairs("a"), ask()) for _ in range(4)]
            status = await service.status()
            await service.swap(ModelRecord(1, "two"))  # an old revision does nothing
            with pytest.raises(Conflict, match=r"now two, revision 1\. Review again"):
                await service.swap(ModelRecord(1, "one"))
    assert {(each.model, each.revision) for each in answers} == {("two", 1)}
    assert {each.pod for each in answers} == {a.removeprefix("http://"), b.removeprefix("http://")}
    assert [(pod.model, pod.revision) for pod in status.pods] == [("two", 1)] * 2
    assert Records(tmp_path / "a" / "records").read("rerank") == ModelRecord(
        1, "two", by="internal"
    )


REFUSED: list[tuple[str, type[QuartetError], str]] = [
    (
        "broken",
        ModelLoadError,
        r"broken could not be loaded: .*\(KeyError\).*; one still serves\. 'what it said'$",
    ),
    ("huge", BadInput, "No model called 'huge' can be loaded here"),
]


@pytest.mark.parametrize(("model", "kind", "sentence"), REFUSED)
async def test_a_swap_that_a_pod_refuses_is_told_as_it_was_there(
    tmp_path: Path, model: str, kind: type[QuartetError], sentence: str
) -> None:
    family = models("one")
    with serving(family, tmp_path) as pod:
        async with asking(pod, family=family) as service:
            with pytest.raises(kind, match=sentence):
                await service.swap(ModelRecord(1, model))
            assert (await service.predict(echo.pairs("a"), ask())).model == "one"


async def test_a_wrong_token_is_one_sentence(tmp_path: Path) -> None:
    family = models("one", "two")
    settings = Settings(state_dir=tmp_path, internal=Internal(token=SecretStr("another")))
    parts = Parts(settings, {"rerank": family}, may_ask=False)
    app = parts.application()
    parts.dress(app, identity=None)
    with in_thread(app) as pod:
        async with asking(pod, family=family) as service:
            with pytest.raises(Unavailable, match="did not take this portal's internal token"):
                await service.swap(ModelRecord(1, "two"))


async def test_a_pod_that_is_away_during_a_swap_gets_the_record_when_it_is_back(
    tmp_path: Path, free_port: int
) -> None:
    family = models("one", "two")
    Records(tmp_path / "records").write("rerank", ModelRecord(1, "two"), seen=0)
    away = f"http://127.0.0.1:{free_port}"
    with serving(family, tmp_path / "a") as a:
        async with asking(
            a, away, family=family, state=tmp_path / "records", watch=0.05, rest_seconds=0.05
        ) as service:
            await service.swap(ModelRecord(1, "two"))
            status = await service.status()
            assert [(pod.model, pod.is_ready) for pod in status.pods] == [
                ("two", True),
                ("", False),
            ]
            with serving_at(family, tmp_path / "b", free_port):
                await until(lambda: both_run(service, "two"), "it was never given the record")


@contextmanager
def serving_at(family: Family, state: Path, port: int) -> Iterator[None]:
    settings = Settings(state_dir=state, internal=Internal(token=SecretStr(TOKEN)))
    parts = Parts(settings, {"rerank": family}, may_ask=False)
    app = parts.application()
    parts.dress(app, identity=None)
    with in_thread(app, port=port):
        yield


async def both_run(service: Any, model: str) -> bool:
    return [pod.model for pod in (await service.status()).pods] == [model] * 2


async def test_a_record_that_a_pod_cannot_load_is_tried_once(tmp_path: Path) -> None:
    tries: list[int] = []

    def breaks(settings: Settings) -> Any:
        tries.append(1)
        raise OSError("no memory")

    family = echo.exact(stubs.model(echo.Exact("one")), stubs.model(breaks, "broken"))
    Records(tmp_path / "records").write("rerank", ModelRecord(1, "broken"), seen=0)
    with serving(family, tmp_path / "pod") as pod:
        async with asking(pod, family=family, state=tmp_path / "records", watch=0.02) as service:
            await until(lambda: tries, "the record was never given")
            await asyncio.sleep(0.2)
            assert (await service.predict(echo.pairs("a"), ask())).model == "one"
    assert tries == [1]


# ---- Admin


async def test_admin_sees_every_pod_with_its_model(tmp_path: Path, free_port: int) -> None:
    family = models("one", "two")
    away = f"http://127.0.0.1:{free_port}"
    ref = Ref(CONTEXT, "", "rerank")
    with serving(family, tmp_path / "a") as a, serving(family, tmp_path / "b") as b:
        async with asking(a, b, away, family=family) as service:
            records = Records(tmp_path / "records")
            cluster = LocalCluster({"rerank": service}, {"rerank": family}, records, Models())
            (before,) = (await cluster.workloads()).value
            await cluster.write_record(ref, ModelRecord(1, "two"), seen=0)
            await cluster.roll(ref, 1)
            (after,) = (await cluster.workloads()).value
            await service.swap(ModelRecord(5, "one"))  # by somebody else
            (moved,) = (await cluster.workloads()).value
            with pytest.raises(Conflict):
                await cluster.write_record(ref, ModelRecord(2, "two"), seen=1)
            await cluster.write_record(ref, ModelRecord(6, "two"), seen=5)
    assert (before.wanted, before.ready, before.record) == (3, 2, ModelRecord(0, "one"))
    assert [pod.name for pod in before.pods] == [
        address.removeprefix("http://") for address in (a, b, away)
    ]
    assert [pod.phase for pod in before.pods] == ["Running", "Running", "Failed"]
    assert before.pods[2].reason == "The rerank service cannot be reached."
    assert [(pod.model, pod.revision) for pod in after.pods[:2]] == [("two", 1)] * 2
    assert after.record.model == "two"
    assert moved.record == ModelRecord(5, "one")


async def test_while_one_pod_leaves_and_the_other_loads_requests_are_not_refused_unasked() -> None:
    """The other may be ready by now: only asking tells."""
    async with asking("http://127.0.0.1:1", "http://127.0.0.1:2") as service:
        leaves, loads = service._pods._pods
        ready = replace(loads.status, model="exact", state=State.READY)
        leaves._hear(replace(ready, state=State.FAILED, reason="It is leaving."))
        loads._hear(replace(loads.status, model="", state=State.LOADING))
        status = service._pods.status()
    assert (status.state, status.model) == (State.LOADING, "exact")
