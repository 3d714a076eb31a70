"""OFA on a small checkpoint of the published layout: the stock pipeline's figures, and ours."""

import gc
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app import build_service  # first: how many threads torch may use is settled there
from backends.engines.entailment import LABELS, MODELS, Claim, Verdict
from backends.engines.picture import Picture
from backends.errors import BadInput
from backends.settings import Models, Settings

torch = pytest.importorskip("torch", reason="torch is missing: make models")

from torch.nn.modules import module as hooks  # noqa: E402

from backends.engines.entailment.ofa import TOGETHER, Ofa  # noqa: E402
from backends.engines.entailment.ofa_answers import AnswerTrie  # noqa: E402
from backends.engines.entailment.ofa_network import Network, token_buckets  # noqa: E402
from tests.tiny import entailment as tiny  # noqa: E402

assert build_service
GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "ofa_golden.json").read_text(encoding="utf-8")
)["rows"]
STATEMENTS = (
    "A cat is on the sofa.",
    "there are two birds, and a man rides a horse beside them while nobody is looking",
    "yes",
    "the red square is left of the blue circle. " * 4,
    "An animal is on furniture!",
    "no",
)


def loaded(models: Path) -> Ofa:
    load = MODELS["ofa-large-snli-ve"].load
    assert load is not None
    engine = load(Settings(models=Models(folder=models)))
    assert isinstance(engine, Ofa)
    return engine


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder)
    return folder


@pytest.fixture(scope="module")
def engine(models: Path) -> Iterator[Ofa]:
    engine = loaded(models)
    yield engine
    engine.close()


def emit(index: int, part: Any) -> bool:
    return True


def ask(engine: Ofa, statement: str, premise: str = "", seed: int = 1) -> Verdict:
    (verdict,) = engine.run([Claim(tiny.noise(seed), statement, premise)], emit)
    assert verdict is not None
    return verdict


def same(one: Verdict | None, other: Verdict | None, within: float = 1e-5) -> bool:
    assert one is not None
    assert other is not None
    return one.label == other.label and one.probabilities == pytest.approx(
        other.probabilities, abs=within
    )


def claims() -> list[Claim]:
    """Two pictures, long and short statements, some with a premise, mixed."""
    mixed = [
        Claim(tiny.noise(seed), statement, premise)
        for seed in (1, 2)
        for statement in STATEMENTS
        for premise in ("", "a cat is sitting")
    ]
    random.Random(7).shuffle(mixed)
    return mixed


# ---- what it answers


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: str(row["seed"]))
def test_it_answers_what_the_stock_pipeline_answers(engine: Ofa, row: dict[str, Any]) -> None:
    """There, `text` is the hypothesis and `text2` the premise."""
    verdict = ask(engine, row["text"], row["text2"] or "", row["seed"])
    assert verdict.label == row["label"]
    assert max(verdict.probabilities) == pytest.approx(row["score"], abs=1e-4)
    assert verdict.probabilities[LABELS.index(verdict.label)] == max(verdict.probabilities)
    assert sum(verdict.probabilities) == pytest.approx(1)
    assert not verdict.measured


def test_premise_and_hypothesis_are_not_the_same_place(engine: Ofa) -> None:
    row = GOLDEN[2]
    right = ask(engine, row["text"], row["text2"], row["seed"])
    exchanged = ask(engine, row["text2"], row["text"], row["seed"])
    without = ask(engine, row["text"], "", row["seed"])
    assert (right.label, exchanged.label) == ("no", "maybe")
    assert not same(right, without, within=0.01)
    assert same(ask(engine, row["text"], " \n", row["seed"]), without)  # no premise at all


def test_a_claim_gets_the_same_alone_as_among_many(engine: Ofa) -> None:
    batch = claims()
    alone = [engine.run([claim], emit)[0] for claim in batch]
    for some in (batch, batch[::-1], batch[:9]):
        expected = [alone[batch.index(claim)] for claim in some]
        assert all(map(same, engine.run(some, emit), expected))


def test_four_threads_at_once_get_what_one_would(engine: Ofa) -> None:
    batch = claims()
    expected = engine.run(batch, emit)

    def storm(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(4):
            some = chance.sample(range(len(batch)), chance.randint(1, 12))
            assert all(engine.tokens(batch[n]) > 36 for n in some)
            answers = engine.run([batch[n] for n in some], emit)
            assert all(same(answer, expected[n]) for n, answer in zip(some, answers, strict=True))
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(storm, range(4)))


def test_another_picture_gets_another_answer(engine: Ofa) -> None:
    assert not same(ask(engine, "yes", seed=1), ask(engine, "yes", seed=2), within=0.01)


def test_a_picture_is_squashed_to_what_the_network_looks_at(engine: Ofa) -> None:
    wide = tiny.noise(1, side=192).image().resize((300, 60))
    verdict = engine.run([Claim(Picture(300, 60, wide.tobytes()), "yes")], emit)[0]
    small = wide.resize((tiny.SIDE, tiny.SIDE), resample=3)
    square = Picture(tiny.SIDE, tiny.SIDE, small.tobytes())
    assert same(verdict, engine.run([Claim(square, "yes")], emit)[0])


# ---- texts


def test_a_text_over_the_limit_is_cut_and_the_answer_says_so(engine: Ofa) -> None:
    words = " ".join(f"word{n}" for n in range(300))
    long, other = ask(engine, words), ask(engine, f"{words} and a cat")
    assert same(long, other)
    assert [note.en for note in long.evidence] == [
        "The text is longer than this model reads; its end was not read."
    ]
    assert "未读取" in long.evidence[0].zh
    assert ask(engine, "yes", words).evidence == long.evidence
    assert not ask(engine, "yes").evidence
    assert engine.tokens(Claim(tiny.noise(1), words)) == 36 + 80 + 2


@pytest.mark.parametrize("statement", ["", " \n", "!!!", "/"])
def test_a_statement_without_words_is_refused(engine: Ofa, statement: str) -> None:
    claim = Claim(tiny.noise(1), statement)
    for refused in (lambda: engine.tokens(claim), lambda: engine.run([claim], emit)):
        with pytest.raises(BadInput, match="A statement is empty") as caught:
            refused()
        assert caught.value.field == "statements"


@pytest.mark.parametrize(
    "text",
    ["\0\0", "a \ud800 b", "🌍" * 200, "</s><pad>", "<code_5> {}", "ﬀ\u0301", "{0.x}", '" "?'],
)
def test_odd_texts_are_answered(engine: Ofa, text: str) -> None:
    for verdict in (ask(engine, text), ask(engine, "yes", text)):
        assert sum(verdict.probabilities) == pytest.approx(1)


def test_another_language_gets_an_answer_and_a_warning(engine: Ofa) -> None:
    for statement, premise in (("有一只猫。", ""), ("a cat", "ein Hund ist da")):
        (note,) = ask(engine, statement, premise).evidence
        assert note.group == "note"
        assert note.en.startswith("This model was trained on English")


# ---- steps, and those who leave


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each part of a network is run."""
    parts: Counter[str] = Counter()

    def count(part: Any, given: Any, result: Any) -> None:
        parts[type(part).__name__] += 1

    handle = hooks.register_module_forward_hook(count)
    try:
        yield parts
    finally:
        handle.remove()


def test_statements_share_one_look_at_their_picture(engine: Ofa) -> None:
    batch = [Claim(tiny.noise(50), f"there are {n} birds") for n in range(17)]  # 8, 8 and 1
    with counted() as parts:
        engine.run(batch, emit)
        assert (parts["Stem"], parts["Encoder"], parts["Decoder"]) == (1, 3, 3)
        engine.run(batch[:1], emit)
        assert (parts["Stem"], parts["Encoder"], parts["Decoder"]) == (1, 4, 4)


def test_those_who_left_are_not_computed_for(engine: Ofa) -> None:
    batch = [Claim(tiny.noise(60 + n), "there are two birds") for n in range(4)]
    with counted() as parts:
        assert engine.run(batch, lambda index, part: False) == [None] * 4
        assert not parts
    whole = engine.run(batch, emit)
    with counted() as parts:
        some = engine.run(batch, lambda index, part: index in (1, 3))
        assert parts["Encoder"] == 1
    assert [verdict is None for verdict in some] == [True, False, True, False]
    assert same(some[1], whole[1])
    assert same(some[3], whole[3])


def test_who_leaves_while_pictures_are_looked_at_is_not_computed_for(engine: Ofa) -> None:
    batch = [Claim(tiny.noise(75 + n), "there are two birds") for n in range(2)]
    with counted() as parts:
        assert engine.run(batch, lambda index, part: not parts["Stem"]) == [None] * 2
        assert (parts["Stem"], parts["Encoder"]) == (1, 0)


def test_a_run_stops_between_two_steps_when_everyone_has_left(engine: Ofa) -> None:
    batch = [Claim(tiny.noise(70), f"there are {n} birds") for n in range(3 * TOGETHER)]
    with counted() as parts:
        verdicts = engine.run(batch, lambda index, part: not parts["Decoder"])
        assert parts["Decoder"] == 1
    assert sum(verdict is not None for verdict in verdicts) == TOGETHER


def test_a_closed_engine_keeps_neither_weights_nor_pictures(models: Path) -> None:
    def kept() -> tuple[int, int]:
        """Networks, and pictures as the network sees them: 36 patches of 32 numbers."""
        gc.collect()
        objects = gc.get_objects()
        tensors = [each for each in objects if type(each) is torch.Tensor]
        looks = sum(tensor.shape == (36, tiny.WIDTH) for tensor in tensors)
        return sum(type(each) is Network for each in objects), looks

    before = kept()
    engine = loaded(models)
    engine.run([Claim(tiny.noise(n), "yes") for n in range(80, 84)], emit)
    assert kept() == (before[0] + 1, before[1] + 4)
    engine.close()
    assert kept() == before
    assert engine.model == "ofa-large-snli-ve"  # which somebody may hold on to


# ---- places in a text


def test_how_far_two_words_are_apart_is_told_as_in_training() -> None:
    """One by one up to 128; beyond, ever more distances share a row of the table."""
    rows = token_buckets(256, 1024)[:, 0].tolist()
    told = {0: 255, 1: 256, 127: 382, 128: 383, 129: 384, 200: 411, 512: 468, 1023: 510}
    assert {apart: rows[apart] for apart in told} == told
    assert token_buckets(256, 1024)[0].tolist() == [510 - row for row in rows]


# ---- the trie of answers


@pytest.mark.parametrize(
    "answers",
    [
        [[5], [6], [7]],
        [[5], [5, 6], [5, 6, 7], [8]],
        [[5, 6, 7], [5, 6, 8], [9, 6], [9, 7], [10, 11, 12]],
        [[5, 6], [5, 6, 7, 8], [5, 9]],
    ],
)
def test_each_answer_gets_the_sum_along_its_way(answers: Sequence[Sequence[int]]) -> None:
    """Against the plain way: every answer in a row of its own, every token a softmax."""
    random_ = torch.Generator().manual_seed(3)
    words, question = torch.randn(16, 8, generator=random_), 3

    def hidden(path: Sequence[int]) -> Any:
        """As a decoder does: each place knows the tokens up to it, and no further."""
        return words[[1, 2, 4, *path]].cumsum(0).tanh()

    trie = AnswerTrie(answers, end=2)
    assert len(trie.rows) <= len(answers)
    longest = max(map(len, trie.rows)) + question
    rows = torch.stack(
        [
            torch.nn.functional.pad(h := hidden(row), (0, 0, 0, longest - len(h)))
            for row in trie.rows
        ]
    )
    scores = trie.log_probabilities(rows[None], torch.tensor([question - 1]), words)
    whole = [[*answer, 2] for answer in answers]
    for n, path in enumerate(whole):
        expected = 0.0
        for at, token in enumerate(path):
            ways = sorted({p[at] for p in whole if len(p) > at and p[:at] == path[:at]})
            logits = words[ways] @ hidden(path)[question - 1 + at]
            expected += float(logits.log_softmax(-1)[ways.index(token)])
        assert float(scores[0, n]) == pytest.approx(expected, abs=1e-5)


def test_answers_of_one_token_need_one_row() -> None:
    assert AnswerTrie([[5], [6], [7]], end=2).rows == ((),)


def test_answers_beyond_yes_and_no_count_as_maybe(tmp_path: Path) -> None:
    tiny.build(tmp_path, answers={"yes": 0, "no": 1, "maybe": 2, "maybe yes": 3, "a cat is": 4})
    engine = loaded(tmp_path)
    batch = claims()
    verdicts = engine.run(batch, emit)
    alone = [engine.run([claim], emit)[0] for claim in batch]
    assert all(map(same, verdicts, alone))
    assert all(verdict and sum(verdict.probabilities) == pytest.approx(1) for verdict in verdicts)
    assert {verdict.label for verdict in verdicts if verdict} <= set(LABELS)
