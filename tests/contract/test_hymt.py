"""
HY-MT1.5 and Hy-MT2 on tiny checkpoints of both sizes' layouts, loaded by the rows' own loaders.

What fails in silence with real weights (a wrong ending, a leaked setting, a missing weight) fails
here by name.
"""

import gc
import json
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

WHY = "The models' libraries are not installed: make models"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

from backends.engines.translate import MODELS, SAMPLE, Passage, Translation  # noqa: E402
from backends.errors import BadInput, ModelLoadError  # noqa: E402
from backends.settings import Models, Settings, Translate  # noqa: E402
from tests.tiny import hymt  # noqa: E402

SIZES = {"hy-mt1.5-1.8b": "1.8B", "hy-mt1.5-7b": "7B", "hy-mt2-1.8b": "1.8B", "hy-mt2-7b": "7B"}
BOTH = ("hy-mt1.5-1.8b", "hy-mt2-7b")
PASSAGES = (
    Passage("The library opens at nine.", "en", "zh"),
    Passage("你好，世界。", "zh", "en"),
    Passage("A biblioteca abre às nove da manhã, e fecha às cinco da tarde.", "auto", "bo"),
    Passage("Merci.", "fr", "de", context="At a bar."),
    Passage("Hello <b>you</b>.", "en", "fr", html=True),
    Passage("A house and a tree.", "en", "ja", glossary=(("house", "家"),)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    for seed, (name, size) in enumerate(SIZES.items()):
        hymt.build(made / MODELS[name].source, size, seed=seed)
    return made


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(name: str, folder: Path, sampling: str = "recommended", **models: Any) -> Any:
    row = MODELS[name]
    assert row.load is not None
    group = Models(folder=folder, device="cpu", **models)
    return row.load(Settings(models=group, translate=Translate(sampling=sampling)))


def brief(name: str, folder: Path, sampling: str = "recommended", most: int = 24) -> Any:
    """As `load`, with short answers: random weights never end one by themselves."""
    engine = load(name, folder, sampling)
    engine.book = replace(engine.book, most=most)
    return engine


def run(engine: Any, *passages: Passage) -> list[Translation]:
    made: list[Translation] = engine.run(passages, lambda index, part: True)
    return made


# ---- loading


@pytest.mark.parametrize("name", SIZES)
def test_every_row_loads_its_checkpoint_and_answers_the_sample(folder: Path, name: str) -> None:
    engine = load(name, folder)
    made = run(engine, *SAMPLE)
    assert [each.target for each in made] == ["pt", "en"]
    assert all(each.text for each in made)
    assert (engine.model, engine.device) == (name, "CPU")
    engine.close()


def test_nothing_of_it_imports_torchvision(folder: Path) -> None:
    load(BOTH[0], folder).close()
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("name", BOTH)
def test_a_prompt_is_the_checkpoints_own_template_and_ends_where_the_model_speaks(
    folder: Path, name: str
) -> None:
    words = load(name, folder)._words
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / MODELS[name].source)
    for text in ("Hello.", "你好\n\n世界", " two  spaces\n"):
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        assert tokenizer.decode(words.prompt(text)) == rendered
        assert rendered.endswith(hymt.ENDINGS[SIZES[name]])


@pytest.mark.parametrize("name", BOTH)
def test_the_marks_of_the_chat_in_a_text_are_text(folder: Path, name: str) -> None:
    words = load(name, folder)._words
    marks = hymt.MARKS[SIZES[name]].values()
    text = "End. " + " ".join(marks) + " Now say yes."
    special = {words.tokenizer.token_to_id(mark) for mark in marks}
    assert not special & set(words.ids(text))
    assert words.text(words.ids(text)) == text


@pytest.mark.parametrize("name", BOTH)
def test_an_answer_ends_at_the_checkpoints_own_mark(folder: Path, name: str) -> None:
    words = load(name, folder)._words
    assert words.ends == (words.tokenizer.token_to_id(hymt.MARKS[SIZES[name]]["eos"]),)
    assert words.pad == words.tokenizer.token_to_id(hymt.MARKS[SIZES[name]]["pad"])


def test_nothing_of_the_checkpoints_settings_leaks_into_ours(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    source = folder / MODELS[BOTH[0]].source
    theirs = transformers.GenerationConfig.from_pretrained(source)
    assert (theirs.max_new_tokens, theirs.do_sample) == (7, True)
    ours, _ = engine._network._prepare_generation_config(engine._config(50))
    assert (ours.max_new_tokens, ours.do_sample, ours.repetition_penalty) == (50, False, 1.05)
    assert ours.top_k != theirs.top_k
    assert ours.suppress_tokens == [engine._words.pad]
    assert len(engine._words.ids(run(engine, PASSAGES[0])[0].text)) > 7


@pytest.mark.parametrize("name", BOTH)
def test_embeddings_are_tied_as_the_config_says_and_rope_follows_alpha(
    folder: Path, name: str
) -> None:
    network = load(name, folder)._network
    tied = network.lm_head.weight is network.model.embed_tokens.weight
    assert tied is (SIZES[name] == "1.8B")
    size = network.config.head_dim
    base = 10_000.0 * 1000.0 ** (size / (size - 2))
    wanted = 1 / base ** (torch.arange(0, size, 2).double() / size)
    assert torch.allclose(network.model.rotary_emb.inv_freq.double(), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "wanted"), [("auto", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16")]
)
def test_the_number_type_is_what_was_asked_for(folder: Path, dtype: str, wanted: str) -> None:
    engine = load(BOTH[0], folder, dtype=dtype)
    assert {str(p.dtype) for p in engine._network.parameters()} == {f"torch.{wanted}"}
    assert run(engine, PASSAGES[0])[0].text


def change_config(at: Path, **fields: Any) -> None:
    config = json.loads((at / "config.json").read_text())
    (at / "config.json").write_text(json.dumps(config | fields))


def another_kind(at: Path) -> None:
    change_config(at, model_type="llama")


def other_shape(at: Path) -> None:
    change_config(at, head_dim=16)


def lost_weight(at: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(at / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, at / "model.safetensors", metadata={"format": "pt"})


def no_template(at: Path) -> None:
    (at / "chat_template.jinja").unlink()


def other_ending(at: Path) -> None:
    template = at / "chat_template.jinja"
    template.write_text(template.read_text() + "Answer:")


def rewrites(at: Path) -> None:
    template = at / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("message['content']", "message['content']|upper")
    )


WRONG = [
    (another_kind, "holds a llama model, not hunyuan_v1_dense"),
    (other_shape, r"the weights lack model.layers.0.self_attn.\w+.weight, "),
    (lost_weight, r"the weights lack model.layers.1.mlp.up_proj.weight \(1 in all\)"),
    (no_template, "no fast tokenizer with a chat template"),
    (other_ending, "take the checkpoint's own chat_template.jinja"),
    (rewrites, "take the checkpoint's own chat_template.jinja"),
]


@pytest.mark.parametrize(("harm", "sentence"), WRONG)
def test_a_checkpoint_that_is_wrong_in_silence_is_refused(
    tmp_path: Path, harm: Any, sentence: str
) -> None:
    at = hymt.build(tmp_path / MODELS[BOTH[0]].source)
    harm(at)
    with pytest.raises(ModelLoadError, match=sentence):
        load(BOTH[0], tmp_path)


def test_rope_frequencies_that_are_not_the_configs_are_refused(folder: Path) -> None:
    from backends.engines.translate.checkpoint import _check_frequencies

    network = load(BOTH[0], folder)._network
    _check_frequencies(network)
    network.model.rotary_emb.inv_freq *= 1.01
    with pytest.raises(ModelLoadError, match="RoPE"):
        _check_frequencies(network)


def test_what_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"put config.json, .* of tencent/HY-MT1.5-1.8B into"):
        load(BOTH[0], tmp_path)


# ---- answering


@pytest.mark.parametrize("sampling", ["greedy", "recommended"])
@pytest.mark.parametrize("name", BOTH)
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
    scores = torch.randn(5, 300, generator=generator) * 3
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


def test_half_characters_are_never_passed_on(folder: Path) -> None:
    from backends.engines.translate.chat import Prompt
    from backends.engines.translate.hunyuan import _Row

    words = load(BOTH[0], folder)._words
    for text in ("ཁྱེད་རང་བདེ་མོ།", "नमस्ते दुनिया", "你好👩‍👩‍👧"):
        told: list[str] = []

        def hear(_n: int, added: str, _ended: bool, told: list[str] = told) -> bool:
            told.append(added)
            return True

        row = _Row(0, Prompt("x", 1000, 0), words, 1000, hear)
        for token in [*words.ids(text), words.ends[0]]:
            row.take(token)
        assert "".join(told) == text
        assert not [part for part in told if "\ufffd" in part]


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


def test_in_a_batch_only_the_one_who_left_is_stopped(folder: Path) -> None:
    engine = load(BOTH[0], folder)
    alone = run(engine, PASSAGES[0])[0]
    emit = Counting({1: 5})
    made = engine.run(PASSAGES[:2], emit)
    assert made[0] == alone
    assert emit.calls[1] == 5
    assert len(made[1].text) < 60


def test_four_threads_get_what_one_gets(folder: Path) -> None:
    engine = brief(BOTH[1], folder)
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
