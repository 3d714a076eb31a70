"""Text cross-encoders on tiny checkpoints: BERT, as MiniLM is, and XLM-RoBERTa, as bge is."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: run `make models`.")

from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: E402

from backends.engines import Capabilities  # noqa: E402
from backends.engines.picture import Picture  # noqa: E402
from backends.engines.rerank import MODELS, Pair  # noqa: E402
from backends.errors import BadInput, ModelLoadError  # noqa: E402
from backends.settings import Models, Settings  # noqa: E402
from tests.tiny import cross_encoder, crowd  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BERT, XLM_R = "ms-marco-minilm-l6-v2", "bge-reranker-v2-m3"
LONGEST = {BERT: 512, XLM_R: 1024}
RED = Picture(2, 2, b"\xff\0\0" * 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    cross_encoder.build_bert(models / cross_encoder.MINILM)
    cross_encoder.build_xlm_roberta(models / cross_encoder.BGE)
    return models


def loaded(name: str, models: Path, **group: Any) -> Any:
    load = MODELS[name].load
    assert load is not None
    return load(Settings(models=Models(folder=models, **group)))


@pytest.fixture(scope="module", params=[BERT, XLM_R])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    engine = loaded(request.param, folder)
    yield engine
    engine.close()


def emit(index: int, part: Any) -> bool:
    return True


def scores(engine: Any, pairs: list[Pair]) -> list[float]:
    return [relevance.score for relevance in engine.run(pairs, emit)]


TEXTS = ("a small desk light", "Grain prices fell.", "", "重排 文档", "the tilt of the axis " * 30)
PAIRS = [Pair(query, text, TEXTS) for query in ("a lamp for reading", "季节") for text in TEXTS]


def test_scores_are_the_sigmoid_of_the_librarys_own_answer(engine: Any, folder: Path) -> None:
    own = folder / MODELS[engine.model].source
    tokenizer = AutoTokenizer.from_pretrained(own)
    network = AutoModelForSequenceClassification.from_pretrained(own).eval()
    sides = [pair.query for pair in PAIRS], [pair.document for pair in PAIRS]
    with torch.inference_mode():
        logits = network(**tokenizer(*sides, padding=True, return_tensors="pt")).logits.view(-1)
    expected = torch.sigmoid(logits)
    assert float(expected.max() - expected.min()) > 0.05  # or the comparison proves nothing
    assert scores(engine, PAIRS) == pytest.approx(expected.tolist(), abs=1e-6)


def test_only_the_model_with_two_kinds_of_tokens_is_told_them(engine: Any) -> None:
    row = engine._row(PAIRS[0])
    assert bool(row.kinds) == (engine.model == BERT)
    assert set(row.kinds) == ({0, 1} if row.kinds else set())


def test_a_pair_scores_the_same_alone_as_in_any_batch(engine: Any) -> None:
    alone = [scores(engine, [pair])[0] for pair in PAIRS]
    assert scores(engine, PAIRS) == pytest.approx(alone, abs=1e-6)
    assert scores(engine, PAIRS[::-1])[::-1] == pytest.approx(alone, abs=1e-6)


def test_four_threads_at_once_get_what_one_would(engine: Any) -> None:
    expected = dict(zip(PAIRS, scores(engine, PAIRS), strict=True))
    lengths = {pair: engine.tokens(pair) for pair in PAIRS}

    def storm(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(10):
            some = chance.sample(PAIRS, chance.randint(1, 8))
            assert [engine.tokens(pair) for pair in some] == [lengths[pair] for pair in some]
            assert scores(engine, some) == pytest.approx([expected[p] for p in some], abs=1e-6)
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(storm, range(4)))


def test_one_thread_at_a_time_has_the_tokenizer(folder: Path) -> None:
    """Padding and truncation are state inside a fast tokenizer."""
    engine = loaded(BERT, folder)
    words = engine._tokenizer = crowd.Crowd(engine._tokenizer)
    crowd.four(lambda n: engine.tokens(PAIRS[n % len(PAIRS)]))
    assert words.most == 1
    engine.close()


def test_only_the_document_is_cut_and_the_answer_says_so(engine: Any) -> None:
    long = "the tilt of the planet's axis " * 3000
    short, cut = engine.run([Pair("a lamp", "short", ()), Pair("a lamp", long, ())], emit)
    assert (short.cut, cut.cut) == (False, True)
    most = LONGEST[engine.model]
    assert most - 2 <= engine.tokens(Pair("a lamp", long, ())) <= most
    query = engine._row(Pair("a lamp", "", ())).ids[:-2]
    assert engine._row(Pair("a lamp", long, ())).ids[: len(query)] == query


def test_a_checkpoint_with_room_for_less_is_not_read_beyond_it(tmp_path: Path) -> None:
    """XLM-RoBERTa counts its positions from behind the padding token's number, which is 1."""
    cross_encoder.build_xlm_roberta(tmp_path / cross_encoder.BGE, positions=130)
    engine = loaded(XLM_R, tmp_path)
    pair = Pair("a lamp", "the tilt of the planet's axis " * 300, ())
    assert engine.tokens(pair) == 128
    assert engine.run([pair], emit)[0].cut
    engine.close()


def test_a_query_that_leaves_no_room_is_refused(engine: Any) -> None:
    with pytest.raises(BadInput, match=r"with the document\. Shorten the query") as said:
        engine.tokens(Pair("what causes the seasons " * 400, "a document", ()))
    assert said.value.field == "query"


@pytest.mark.parametrize(
    ("pair", "field"), [(Pair("red", RED, ()), "documents"), (Pair(RED, "red", ()), "query")]
)
def test_a_picture_is_refused_with_the_name_of_who_reads_it(
    engine: Any, pair: Pair, field: str
) -> None:
    for ask in (engine.tokens, lambda pair: engine.run([pair], emit)):
        with pytest.raises(BadInput, match="lychee-rerank-mm can") as said:
            ask(pair)
        assert said.value.field == field


def test_what_looks_like_the_models_own_marks_is_plain_text(engine: Any) -> None:
    special = set(engine._tokenizer.all_special_ids) - {engine._tokenizer.unk_token_id}
    for text in ("a [SEP] b [CLS]", "a </s> b <s>"):
        row = engine._row(Pair("a lamp", text, ()))
        assert sum(i in special for i in row.ids) == (3 if engine.model == BERT else 4)


@pytest.mark.parametrize("text", ["", " \n", "\0\0", "\ud800", "🌍" * 9, "\u0301", "a\0b"])
def test_odd_texts_are_scored_between_0_and_1_on_either_side(engine: Any, text: str) -> None:
    found = scores(engine, [Pair("a lamp", text, ()), Pair(text, "a lamp", ())])
    assert all(0 <= score <= 1 for score in found)


def test_a_classifier_of_several_answers_is_refused(tmp_path: Path) -> None:
    cross_encoder.build_bert(tmp_path / cross_encoder.MINILM, labels=3)
    with pytest.raises(ModelLoadError, match="answers 3 numbers"):
        loaded(BERT, tmp_path)


def test_a_tokenizer_that_does_not_tell_the_sides_apart_is_refused(tmp_path: Path) -> None:
    cross_encoder.build_bert(tmp_path / cross_encoder.MINILM, kinds=False)
    with pytest.raises(ModelLoadError, match="does not tell the query's tokens"):
        loaded(BERT, tmp_path)


def test_it_says_what_it_cannot_do(engine: Any) -> None:
    assert MODELS[engine.model].capabilities == Capabilities()
