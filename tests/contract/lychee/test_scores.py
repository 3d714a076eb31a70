"""
The Qwen-VL reranker on a tiny checkpoint of the real architecture, in the layout of its hub.

What is compared with is the library's own way: its processor, its padding, its whole output layer.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: run `make models`.")

from transformers import Qwen2_5_VLForConditionalGeneration  # noqa: E402

from backends.engines.picture import Picture  # noqa: E402
from backends.engines.rerank import (  # noqa: E402
    DEFAULT_INSTRUCTION,
    Document,
    Illustrated,
    Pair,
    picture_of,
    text_of,
)
from backends.engines.rerank.qwen_prompt import ImageTextProcessor  # noqa: E402
from backends.engines.rerank.qwen_vl import LYCHEE, QwenVl  # noqa: E402
from tests.tiny import crowd, lychee  # noqa: E402
from tests.tiny.lychee import emit, load, noise  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


RED = Picture(120, 90, b"\xff\0\0" * (120 * 90))
NOISE = noise(600, 450)
QUERIES: tuple[Document, ...] = ("red square", NOISE, Illustrated("which one?", NOISE), "")
TEXTS = ("a picture of a red square", "green", "红色 方块 " * 50, "(punctuation first")
DOCUMENTS: tuple[Document, ...] = (*TEXTS, RED, Illustrated("it is red", noise(300, 60)), "")


def scores(engine: Any, pairs: Sequence[Pair]) -> list[float]:
    return [relevance.score for relevance in engine.run(pairs, emit)]


def alone(query: Document, instruction: str = "") -> list[Pair]:
    """Pairs of requests that hold one document each: nothing is shared."""
    return [Pair(query, each, (), instruction) for each in DOCUMENTS]


def together(query: Document, texts: Sequence[str] = TEXTS) -> list[Pair]:
    return [Pair(query, text, tuple(texts)) for text in texts]


# ---- the template and the score, against the library's own


class Official:
    """The card's way: chat template, processor with padding, softmax over the output layer."""

    def __init__(self, folder: Path) -> None:
        self.processor = ImageTextProcessor.from_pretrained(folder, padding_side="left")
        self.processor.image_processor.size = {
            "shortest_edge": 4 * 28 * 28,
            "longest_edge": 1280 * 28 * 28,
        }
        self.network = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder).eval()

    def batch(self, pairs: Sequence[Pair], side: str = "left") -> Any:
        texts = [
            self.processor.apply_chat_template(
                self.messages(pair), tokenize=False, add_generation_prompt=True
            )
            for pair in pairs
        ]
        images = [
            picture.image()
            for pair in pairs
            for each in (pair.query, pair.document)
            if (picture := picture_of(each)) is not None
        ]
        return self.processor(
            text=texts,
            images=images or None,
            padding=True,
            padding_side=side,
            return_tensors="pt",
        )

    def messages(self, pair: Pair) -> list[dict[str, Any]]:
        said = f"<Instruct>: {pair.instruction or DEFAULT_INSTRUCTION}"
        content: list[dict[str, str]] = [{"type": "text", "text": said}]
        for before, side in (("<Query>:", pair.query), ("\n<Document>:", pair.document)):
            text, picture = text_of(side), picture_of(side)
            content.append({"type": "text", "text": before})
            content += [{"type": "image"}] if picture else []
            content += [{"type": "text", "text": text or "NULL"}] if text or not picture else []
        system = {"type": "text", "text": LYCHEE.system}
        return [
            {"role": "system", "content": [system]},
            {"role": "user", "content": content},
        ]

    def scores(self, batch: Any) -> Any:
        words = [self.processor.tokenizer.convert_tokens_to_ids(w) for w in ("no", "yes")]
        with torch.inference_mode():
            logits = self.network(**batch).logits[:, -1, words].float()
        return torch.softmax(logits, -1)[:, 1]


@pytest.fixture(scope="module")
def official(folder: Path) -> Official:
    return Official(folder / lychee.SOURCE)


@pytest.mark.parametrize("query", QUERIES, ids=["text", "picture", "both", "empty"])
def test_rows_and_scores_are_those_of_the_librarys_own_processor(
    engine: QwenVl, official: Official, query: Document
) -> None:
    pairs = alone(query)
    batch = official.batch(pairs)
    for n, pair in enumerate(pairs):
        row, kept = engine._prompt.row(pair), batch["attention_mask"][n].bool()
        assert list(row.ids) == batch["input_ids"][n][kept].tolist()
        assert list(row.kinds) == batch["mm_token_type_ids"][n][kept].tolist()
        assert engine.tokens(pair) == int(kept.sum())
    expected = official.scores(batch)
    assert float(expected.max() - expected.min()) > 0.05  # or the comparison proves nothing
    assert scores(engine, pairs) == pytest.approx(expected.tolist(), abs=1e-6)


def test_an_instruction_changes_the_score_and_none_is_the_default(engine: QwenVl) -> None:
    plain, default, other = scores(
        engine,
        [Pair("red", "red", (), said) for said in ("", DEFAULT_INSTRUCTION, "Find the opposite")],
    )
    assert plain == pytest.approx(default, abs=1e-6)
    assert abs(plain - other) > 1e-3


def test_the_faults_that_say_nothing_would_be_seen_here(official: Official) -> None:
    """Padding on the right, and pictures whose tokens are not marked: other scores, no error."""
    pairs = alone(NOISE)
    good = official.scores(official.batch(pairs))
    assert float((official.scores(official.batch(pairs, "right")) - good).abs().max()) > 1e-2
    unmarked = official.batch(pairs)
    del unmarked["mm_token_type_ids"]
    assert float((official.scores(unmarked) - good).abs().max()) > 1e-3


def test_a_row_with_pictures_whose_tokens_are_not_marked_is_never_run(engine: QwenVl) -> None:
    row = engine._prompt.row(Pair("red", RED, ()))
    unmarked = replace(row, kinds=(0,) * len(row.kinds))
    assert engine._scorer is not None
    with pytest.raises(RuntimeError, match="must say which of its tokens they are"):
        engine._scorer.score([unmarked], [False])


def test_visual_tokens_are_known_from_the_size_alone_and_stay_within_bounds(
    engine: QwenVl, official: Official
) -> None:
    chance = random.Random(0)
    sizes = [(chance.randint(1, 1600), chance.randint(1, 1600)) for _ in range(24)]
    sizes += [(1, 1), (28, 28), (2600, 13), (2000, 1500)]
    looks = engine._prompt._looks
    for width, height in sizes:
        if max(width, height) > 200 * min(width, height):
            continue
        picture = Picture(width, height, bytes(width * height * 3))
        made = official.processor.image_processor(images=[picture.image()], return_tensors="pt")
        assert looks.grid(picture) == tuple(made["image_grid_thw"][0].tolist())
        assert 4 <= looks.tokens(picture) <= 1280


# ---- alone, in a batch, with a shared part


def test_a_pair_scores_the_same_alone_as_in_any_batch(engine: QwenVl) -> None:
    batch = [pair for query in QUERIES for pair in alone(query)]
    one_by_one = [scores(engine, [pair])[0] for pair in batch]
    assert scores(engine, batch) == pytest.approx(one_by_one, abs=1e-6)
    assert scores(engine, batch[::-1])[::-1] == pytest.approx(one_by_one, abs=1e-6)


@pytest.mark.parametrize("query", QUERIES[:3], ids=["text", "picture", "both"])
def test_a_shared_part_gives_the_scores_of_whole_rows(engine: QwenVl, query: Document) -> None:
    assert engine._scorer is not None
    whole = scores(engine, [Pair(query, text, ()) for text in TEXTS])
    before = engine._scorer.prefixes_run
    shared = scores(engine, together(query))
    assert engine._scorer.prefixes_run == before + 1
    assert shared == pytest.approx(whole, abs=5e-6)
    assert scores(engine, together(query)[2:]) == pytest.approx(whole[2:], abs=5e-6)
    assert engine._scorer.prefixes_run == before + 1  # the next batch of the request has it


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([Pair("red?", RED, TEXTS), Pair("red?", Illustrated("x", RED), TEXTS)], "pictures"),
        ([Pair(NOISE, RED, TEXTS)], "a picture query with a picture document"),
        ([Pair("red?", "alone", ("alone",))], "one document"),
        ([Pair("red?", "long " * 600, ("long", "other"))], "under a fourth of the row"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_part_is_shared_only_where_it_is_proved_and_worth_it(
    engine: QwenVl, pairs: list[Pair], why: str
) -> None:
    assert engine._scorer is not None
    before = engine._scorer.prefixes_run
    engine.run(pairs, emit)
    assert engine._scorer.prefixes_run == before
    for pair in pairs:
        assert engine.tokens(pair) == len(engine._prompt.row(pair).ids)


def test_a_text_querys_part_is_shared_above_a_fourth_of_the_row(engine: QwenVl) -> None:
    seen = set()
    for words in range(1, 200, 3):
        pair = Pair("red?", "long " * words, ("a", "b"))
        row = engine._prompt.row(pair)
        is_shared = engine.tokens(pair) < len(row.ids)
        assert is_shared is (row.shared / len(row.ids) > 0.25)
        seen.add(is_shared)
    assert seen == {True, False}


def test_documents_of_a_shared_part_cost_their_own_tokens_and_a_share(engine: QwenVl) -> None:
    rows = [engine._prompt.row(pair) for pair in together(NOISE)]
    costs = [engine.tokens(pair) for pair in together(NOISE)]
    own = [len(row.ids) - row.shared for row in rows]
    assert all(
        0 <= cost - mine - rows[0].shared / 4 < 1 for cost, mine in zip(costs, own, strict=True)
    )
    assert len({row.ids[: row.shared] for row in rows}) == 1


def test_a_picture_is_encoded_once_however_many_rows_show_it(folder: Path) -> None:
    engine = load(folder)
    seen: list[bytes] = []
    looks = engine._scorer._looks
    pixels = looks.pixels
    looks.pixels = lambda picture: seen.append(picture.digest) or pixels(picture)
    engine.run([Pair(NOISE, each, ()) for each in (RED, "a", RED, Illustrated("x", RED))], emit)
    engine.run([Pair(NOISE, RED, ())], emit)
    assert sorted(seen) == sorted({NOISE.digest, RED.digest})
    engine.close()


def test_one_thread_at_a_time_has_the_tokenizer_and_one_the_device(folder: Path) -> None:
    """Padding and truncation are state inside a fast tokenizer; a network notes its last run."""
    engine = load(folder)
    words = engine._prompt._tokenizer = crowd.Crowd(engine._prompt._tokenizer)
    network = engine._scorer._network = crowd.Crowd(engine._scorer._network)
    pairs = alone(RED)
    crowd.four(lambda n: engine.run([pairs[n % len(pairs)]], emit))
    assert (words.most, network.most) == (1, 1)
    engine.close()


def test_four_threads_at_once_get_what_one_would(engine: QwenVl) -> None:
    batch = [pair for query in QUERIES for pair in (*alone(query), *together(query))]
    expected = scores(engine, batch)
    lengths = [engine.tokens(pair) for pair in batch]

    def storm(seed: int) -> bool:
        chance = random.Random(seed)
        for _ in range(4):
            some = chance.sample(range(len(batch)), chance.randint(1, 8))
            assert [engine.tokens(batch[n]) for n in some] == [lengths[n] for n in some]
            found = scores(engine, [batch[n] for n in some])
            assert found == pytest.approx([expected[n] for n in some], abs=5e-6)
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(storm, range(4)))
