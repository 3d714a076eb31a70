"""
HY-MT1.5 and Hy-MT2 at work, on tiny checkpoints of both sizes' layouts: what is answered, alone
and among many, as parts, to several threads, and until when to a reader who leaves.
"""

import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

WHY = "The models' libraries are not installed: make models"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

from backends.engines.translate import MODELS, Passage  # noqa: E402
from backends.engines.translate.chat import Prompt  # noqa: E402
from backends.engines.translate.hunyuan import ROWS, _Row  # noqa: E402
from backends.errors import BadInput  # noqa: E402
from tests.tiny import hymt  # noqa: E402
from tests.tiny.hymt import BOTH, SIZES, load, run  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

PASSAGES = (
    Passage("The library opens at nine.", "en", "zh"),
    Passage("你好，世界。", "zh", "en"),
    Passage("A biblioteca abre às nove da manhã, e fecha às cinco da tarde.", "auto", "bo"),
    Passage("Merci.", "fr", "de", context="At a bar."),
    Passage("Hello <b>you</b>.", "en", "fr", html=True),
    Passage("A house and a tree.", "en", "ja", glossary=(("house", "家"),)),
    Passage("Dear Sir or Madam,", "en", "ru", style="formal"),
    Passage("one | two | three", "en", "ar", delimiters=True),
)


def brief(name: str, folder: Path, sampling: str = "recommended", most: int = 24) -> Any:
    """As `load`, with short answers: random weights never end one by themselves."""
    engine = load(name, folder, sampling)
    engine.book = replace(engine.book, most=most)
    return engine


@pytest.mark.parametrize(
    ("name", "sampling"), [*((name, "recommended") for name in SIZES), (BOTH[0], "greedy")]
)
def test_an_item_alone_is_the_same_item_among_many(folder: Path, name: str, sampling: str) -> None:
    engine = brief(name, folder, sampling)
    together = run(engine, *PASSAGES)
    assert together == [run(engine, each)[0] for each in PASSAGES]
    assert together == run(engine, *reversed(PASSAGES))[::-1]


def test_the_same_request_gets_the_same_answer_and_drawing_is_not_greedy(folder: Path) -> None:
    drawn, greedy = (brief(BOTH[0], folder, how) for how in ("recommended", "greedy"))
    assert run(drawn, *PASSAGES) == run(drawn, *PASSAGES)
    assert run(drawn, *PASSAGES) != run(greedy, *PASSAGES)


def test_greedy_is_what_plain_generate_says(folder: Path) -> None:
    engine = load(BOTH[0], folder, "greedy")
    source = folder / MODELS[BOTH[0]].source
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    form = "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\n"
    prompt = f"{form}The library opens at nine."
    given = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}],
        add_generation_prompt=True, return_tensors="pt", return_dict=True,
    )  # fmt: skip
    config = transformers.GenerationConfig(
        max_new_tokens=64 + 8 * engine.length(PASSAGES[0].text), do_sample=False,
        repetition_penalty=1.05, suppress_tokens=[engine._words.pad],
        eos_token_id=list(engine._words.ends), pad_token_id=engine._words.pad,
    )  # fmt: skip
    model.generation_config = transformers.GenerationConfig()
    out = model.generate(**given, generation_config=config)[0, given["input_ids"].shape[1] :]
    said = tokenizer.decode(out, skip_special_tokens=True)
    assert run(engine, PASSAGES[0])[0].text == said.strip()


def test_tokens_are_drawn_with_the_chances_of_the_librarys_own_steps() -> None:
    from backends.engines.translate import drawing

    generator = torch.Generator().manual_seed(3)
    spread = torch.tensor([[3.0], [3.0], [1.0], [0.3], [0.1]])  # sure of a few, and of none
    scores = torch.randn(5, 300, generator=generator) * spread
    steps = transformers.LogitsProcessorList(
        [
            transformers.TemperatureLogitsWarper(0.7),
            transformers.TopKLogitsWarper(20),
            transformers.TopPLogitsWarper(0.6),
        ]
    )
    wanted = steps(None, scores.clone()).softmax(-1)
    tokens, chances = drawing.shares(scores)
    ours = torch.zeros_like(scores).scatter(-1, tokens, chances.float())
    assert torch.allclose(ours, wanted, atol=1e-6)
    draw = drawing.Draw(range(5))
    counts = torch.zeros_like(scores)
    for _ in range(4000):
        counts[torch.arange(5), draw(None, scores).argmax(-1)] += 1  # type: ignore[arg-type]
    assert torch.allclose(counts / 4000, wanted, atol=0.05)
    assert not counts[wanted == 0].any()


def test_a_long_text_is_cut_told_in_order_and_joined(folder: Path) -> None:
    engine = brief(BOTH[0], folder, most=100)
    text = "\n\n".join(f"Paragraph {n} is about nothing at all." for n in range(30))
    parts: list[str] = []

    def emit(_index: int, part: str | None) -> bool:
        parts.extend([part] if part is not None else [])
        return True

    (made,) = engine.run([Passage(text, "en", "fr")], emit)
    assert "".join(parts) == made.text
    assert made.text.count("\n\n") >= 5
    assert len(parts) > 50
    assert engine.tokens(Passage(text, "en", "fr")) > 200


def heard(words: Any, tokens: Sequence[int], most: int = 1000) -> list[str]:
    """The parts of an answer that the network makes of these tokens."""
    told: list[str] = []

    def hear(_number: int, added: str, _ended: bool) -> bool:
        told.append(added)
        return True

    row = _Row(0, Prompt("x", 1000, 0), words, most, hear)
    for token in tokens:
        row.take(token)
    return told


ODD = ("ཁྱེད་རང་བདེ་མོ།", "नमस्ते दुनिया", "你好👩‍👩‍👧")


@pytest.mark.parametrize("text", ODD)
def test_half_characters_are_never_passed_on(folder: Path, text: str) -> None:
    words = load(BOTH[0], folder)._words
    told = heard(words, [*words.ids(text), words.ends[0]])
    assert "".join(told) == text
    assert len(told) > len(list(filter(None, told)))  # some tokens are no whole character
    assert not [part for part in told if "\ufffd" in part]


@pytest.mark.parametrize("text", ODD)
def test_an_answer_that_is_cut_off_ends_with_a_whole_character(folder: Path, text: str) -> None:
    words = load(BOTH[0], folder)._words
    ids = words.ids(text)
    for most in range(1, len(ids) + 1):
        told = "".join(heard(words, ids, most))
        assert text.startswith(told)
        assert told == words.text(ids[:most]).rstrip("\ufffd")  # and no whole one is lost


def test_a_mark_of_the_chat_in_an_answer_is_not_shown(folder: Path) -> None:
    words = load(BOTH[0], folder)._words
    mark = words.tokenizer.token_to_id(hymt.SMALL["user"])
    told = heard(words, [*words.ids("one"), mark, *words.ids(" two"), words.ends[0]])
    assert "".join(told) == "one two"


def test_no_answer_is_longer_than_its_text_may_become_and_a_cut_one_says_so(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    own = engine._words.length(PASSAGES[0].text)
    assert steps_of(engine, PASSAGES[:1], lambda i, p: True) == 64 + 8 * own
    engine = brief(BOTH[0], folder, most=9)
    assert steps_of(engine, PASSAGES[:2], lambda i, p: True) == 9
    (warning,) = run(engine, PASSAGES[0])[0].warnings
    assert warning[0].startswith("The answer was cut off at its longest length once")


class Counting:
    """An `emit` whose caller of row `index` leaves after `last` parts or questions."""

    def __init__(self, last: dict[int, int]) -> None:
        self.last = last
        self.calls: dict[int, int] = {}

    def __call__(self, index: int, part: str | None) -> bool:
        self.calls[index] = self.calls.get(index, 0) + 1
        return self.calls[index] < self.last.get(index, 10**9)


def steps_of(engine: Any, batch: Sequence[Passage], emit: Any) -> int:
    """How many tokens the network made for a batch: its forward passes."""
    counted = []
    hook = engine._network.register_forward_hook(lambda *_: counted.append(1))
    engine.run(batch, emit)
    hook.remove()
    return len(counted)


def test_a_caller_who_left_stops_the_model_within_two_tokens(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    whole = steps_of(engine, PASSAGES[:1], lambda i, p: True)
    assert whole > 60
    for last in (2, 10, 30):
        emit = Counting({0: last})
        steps = steps_of(engine, PASSAGES[:1], emit)
        assert last - 1 <= steps <= last - 1 + 2
        assert emit.calls[0] == last  # and nobody is asked again


def test_who_left_a_long_text_is_not_read_for_either(folder: Path) -> None:
    """A long text runs in waves, and each would begin with reading its pieces."""
    engine = brief(BOTH[0], folder)
    text = "\n".join(f"Line {n} is about nothing at all." for n in range(5 * ROWS))
    passages = [Passage(text, "en", "zh"), PASSAGES[0]]
    assert steps_of(engine, passages[:1], Counting({0: 10})) <= 2  # its rows are asked one by one
    made = engine.run(passages, Counting({0: 10}))
    assert made[1] == run(engine, PASSAGES[0])[0]


def test_in_a_batch_only_the_one_who_left_is_stopped(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    alone = run(engine, PASSAGES[0])[0]
    emit = Counting({1: 5})
    made = engine.run(PASSAGES[:2], emit)
    assert made[0] == alone
    assert emit.calls[1] == 5
    assert len(made[1].text) < 60


@pytest.mark.parametrize("name", SIZES)
def test_four_threads_get_what_one_gets(folder: Path, name: str) -> None:
    engine = brief(name, folder)
    alone = {each: run(engine, each)[0] for each in PASSAGES}
    start = threading.Barrier(4)
    inside: list[int] = []
    overlaps: list[int] = []
    engine._network.register_forward_pre_hook(lambda *_: inside.append(1))
    engine._network.register_forward_hook(lambda *_: overlaps.append(len(inside)) or inside.clear())

    def storm(number: int) -> int:
        start.wait(60)
        for n in range(6):
            passages = [PASSAGES[(number + n + k) % len(PASSAGES)] for k in range(1 + n % 3)]
            assert run(engine, *passages) == [alone[each] for each in passages]
        return 6

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(storm, range(4))) == 24
    assert set(overlaps) == {1}  # one wave at a time has the device


def test_four_threads_count_tokens_as_one_does(folder: Path) -> None:
    """Padding and truncation are state inside a tokenizer: ours has none to share."""
    engine = load(BOTH[0], folder)
    texts = ["word " * n for n in range(1, 40)]
    alone = [engine._words.prompt(text) for text in texts]

    def count(_: int) -> bool:
        return all([engine._words.prompt(t) for t in texts] == alone for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(count, range(4)))


def test_an_unknown_language_is_refused_by_name(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    with pytest.raises(BadInput, match=r"HY-MT1\.5 1\.8B does not know Catalan") as refused:
        run(engine, Passage("Bon dia.", "ca", "en"))
    assert refused.value.field == "source"


def test_a_closed_engine_gives_its_weights_back(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    run(engine, PASSAGES[0])
    network = weakref.ref(engine._network)
    weight = weakref.ref(engine._network.model.embed_tokens.weight)
    engine.close()
    gc.collect()
    assert (network(), weight()) == (None, None)
