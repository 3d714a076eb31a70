"""
The folder of an HY-MT checkpoint, of both sizes' layouts, through the rows' own loaders.

What fails in silence with real weights (a wrong ending, a leaked setting, a missing weight) fails
here by name.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

WHY = "The models' libraries are not installed: make models"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

from backends.engines.translate import MODELS, SAMPLE, Passage  # noqa: E402
from backends.errors import ModelLoadError  # noqa: E402
from tests.tiny import hymt  # noqa: E402
from tests.tiny.hymt import BOTH, SIZES, load, run  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

PASSAGE = Passage("The library opens at nine.", "en", "zh")


@pytest.mark.parametrize("name", SIZES)
def test_every_row_loads_its_checkpoint_and_answers_the_sample(folder: Path, name: str) -> None:
    engine = load(name, folder)
    made = run(engine, *SAMPLE)
    assert [each.target for each in made] == ["pt", "en"]
    assert all(each.text for each in made)
    assert (engine.model, engine.device) == (name, "CPU")
    engine.close()


# What the network reads for PASSAGE of each row: its layout's frame, its book's words.
CHINESE = "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\n"
HY15 = "Translate the following segment into French, without additional explanation.\n\n"
HY2 = (
    "Translate the following text into French. Note that you should only output the translated "
    "result without any additional explanation:\n\n"
)
SMALL = "<｜hy_begin▁of▁sentence｜><｜hy_User｜>{}The library opens at nine.<｜hy_Assistant｜>"
LARGE = "<|startoftext|>{}The library opens at nine.<|extra_0|>"
READ = {
    "hy-mt1.5-1.8b": (SMALL, HY15, 2048),
    "hy-mt1.5-7b": (LARGE, HY15, 2048),
    "hy-mt2-1.8b": (SMALL, HY2, 4096),
    "hy-mt2-7b": (LARGE, HY2, 4096),
}


@pytest.mark.parametrize("name", SIZES)
def test_what_the_network_of_each_row_reads_is_known_to_the_letter(folder: Path, name: str) -> None:
    engine = load(name, folder)
    read: list[list[int]] = []
    engine._network.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].tolist()[0]), with_kwargs=True
    )
    frame, words, most = READ[name]
    for target, said in (("zh", CHINESE), ("fr", words)):
        read.clear()
        engine.run([replace(PASSAGE, target=target)], lambda index, part: False)
        assert engine._words.tokenizer.decode(read[0], skip_special_tokens=False) == (
            frame.format(said)
        )
    assert engine.book.most == most


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


@pytest.mark.parametrize("name", BOTH)
def test_nothing_of_the_checkpoints_settings_leaks_into_ours(folder: Path, name: str) -> None:
    engine = load(name, folder)
    source = folder / MODELS[name].source
    theirs = transformers.GenerationConfig.from_pretrained(source)
    assert (theirs.max_new_tokens, theirs.do_sample) == (7, True)
    ours, _ = engine._network._prepare_generation_config(engine._config(50))
    assert (ours.max_new_tokens, ours.do_sample, ours.repetition_penalty) == (50, False, 1.05)
    assert ours.top_k != theirs.top_k
    assert ours.top_p != theirs.top_p
    assert ours.suppress_tokens == [engine._words.pad]
    assert len(engine._words.ids(run(engine, PASSAGE)[0].text)) > 7


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
    assert run(engine, PASSAGE)[0].text


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


def separate_words(at: Path) -> None:
    change_config(at, tie_word_embeddings=False)


def other_rope(at: Path) -> None:
    change_config(at, rope_scaling={"type": "linear", "alpha": 1000.0, "factor": 1.0})


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
    (separate_words, r"the weights lack lm_head.weight \(1 in all\)"),
    (other_rope, r"RoPE frequencies are not those of its config\.json"),
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


def test_embeddings_that_are_tied_against_the_config_are_refused(tmp_path: Path) -> None:
    """The config says that there is one matrix, and the weights hold two."""
    change_config(hymt.build(tmp_path / MODELS[BOTH[1]].source, "7B"), tie_word_embeddings=True)
    with pytest.raises(ModelLoadError, match=r"not tied as the checkpoint's config\.json says"):
        load(BOTH[1], tmp_path)


def test_rope_frequencies_that_are_not_the_configs_are_refused(folder: Path) -> None:
    from backends.engines.translate.checkpoint import _check_frequencies, _rope

    network, given = load(BOTH[0], folder)._network, _rope(folder / MODELS[BOTH[0]].source)
    _check_frequencies(network, given)
    with pytest.raises(ModelLoadError, match="RoPE"):
        _check_frequencies(network, given | {"alpha": 1.0})  # a library that forgot it
    network.model.rotary_emb.inv_freq *= 1.01
    with pytest.raises(ModelLoadError, match="RoPE"):
        _check_frequencies(network, given)


@pytest.mark.parametrize(
    ("file", "field", "value", "ends"),
    [
        ("tokenizer_config.json", "eos_token", hymt.SMALL["other"], {"eos", "other"}),
        ("generation_config.json", "eos_token_id", 4, {"eos", "other"}),
        ("generation_config.json", "eos_token_id", [1, 4], {"eos", "other"}),
        ("generation_config.json", "eos_token_id", None, {"eos"}),
    ],
)
def test_whatever_names_a_token_that_ends_an_answer_is_believed(
    tmp_path: Path, file: str, field: str, value: Any, ends: set[str]
) -> None:
    at = hymt.build(tmp_path / MODELS[BOTH[0]].source)
    given = json.loads((at / file).read_text())
    (at / file).write_text(json.dumps(given | {field: value}))
    words = load(BOTH[0], tmp_path)._words
    assert {words.tokenizer.token_to_id(hymt.SMALL[name]) for name in ends} == set(words.ends)


def test_where_nothing_else_names_it_the_chat_template_tells_what_ends_a_turn(
    tmp_path: Path,
) -> None:
    at = hymt.build(tmp_path / MODELS[BOTH[0]].source)
    (at / "generation_config.json").unlink()
    given = json.loads((at / "tokenizer_config.json").read_text())
    (at / "tokenizer_config.json").write_text(json.dumps(given | {"eos_token": hymt.SMALL["bos"]}))
    words = load(BOTH[0], tmp_path)._words
    assert words.tokenizer.token_to_id(hymt.SMALL["eos"]) in words.ends


def test_what_is_missing_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"put config.json, .* of tencent/HY-MT1.5-1.8B into"):
        load(BOTH[0], tmp_path)
