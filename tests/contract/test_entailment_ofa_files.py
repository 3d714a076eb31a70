"""The folder of an OFA checkpoint: what may be absent, what may not, and what is refused."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from app import build_service  # first: how many threads torch may use is settled there
from backends.engines.entailment import MODELS, Claim, Verdict
from backends.engines.picture import Picture
from backends.errors import ModelLoadError
from backends.settings import Models, Settings

torch = pytest.importorskip("torch", reason="torch is missing: make models")

from backends.engines.entailment.ofa_files import WORDS, fit  # noqa: E402
from tests.tiny import entailment as tiny  # noqa: E402

assert build_service
DECODERS = ("decoder.embed_tokens.weight", "decoder.output_projection.weight")
CLAIMS = [
    Claim(tiny.noise(1), "there are two birds."),
    Claim(tiny.noise(2), "an animal is on furniture", "a cat is on the sofa"),
]


def load(models: Path) -> Any:
    loader = MODELS["ofa-large-snli-ve"].load
    assert loader is not None
    return loader(Settings(models=Models(folder=models)))


def answers(models: Path) -> list[Verdict]:
    engine = load(models)
    try:
        return list(engine.run(CLAIMS, lambda index, part: True))
    finally:
        engine.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    folder = tmp_path_factory.mktemp("plain")
    tiny.build(folder)
    return answers(folder)


def near(found: list[Verdict], expected: list[Verdict], within: float = 1e-6) -> bool:
    return all(
        one.probabilities == pytest.approx(other.probabilities, abs=within)
        for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {f"model.{key}": tensor for key, tensor in state.items()},
        lambda state: {**state, **dict.fromkeys(DECODERS, state[WORDS])},
        lambda state: {k: v for k, v in state.items() if k != WORDS} | {DECODERS[1]: state[WORDS]},
        lambda state: {
            **state,
            "encoder.token_rp_bucket": torch.zeros(4, 4),
            "decoder.image_position_idx": torch.zeros(4),
            "encoder.embed_images.bn1.num_batches_tracked": torch.tensor(7),
            "decoder.image_rel_pos_table_list.0.weight": torch.zeros(4, 4),
        },
    ],
    ids=["prefix", "tied keys present", "only one of the tied keys", "buffers present"],
)
def test_the_same_weights_in_another_dress_answer_the_same(
    tmp_path: Path, plain: list[Verdict], change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.build(tmp_path, change=change)
    assert near(answers(tmp_path), plain)
    assert "not read" not in caplog.text


def test_safetensors_go_before_the_pickle(tmp_path: Path, plain: list[Verdict]) -> None:
    folder = tiny.build(tmp_path, safe=True)
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert near(answers(tmp_path), plain)


@pytest.mark.parametrize("safe", [False, True])
def test_a_half_precision_file_runs_in_float32_on_a_cpu(
    tmp_path: Path, plain: list[Verdict], safe: bool
) -> None:
    tiny.build(tmp_path, change=lambda state: {k: t.half() for k, t in state.items()}, safe=safe)
    found = answers(tmp_path)
    assert near(found, plain, within=0.01)
    assert not near(found, plain)


def test_bfloat16_can_be_asked_for(tmp_path: Path, plain: list[Verdict]) -> None:
    tiny.build(tmp_path)
    loader = MODELS["ofa-large-snli-ve"].load
    assert loader is not None
    engine = loader(Settings(models=Models(folder=tmp_path, dtype="bfloat16")))
    found = list(engine.run(CLAIMS, lambda index, part: True))
    engine.close()
    assert near(found, plain, within=0.05)
    assert not near(found, plain, within=1e-5)


def test_a_pickle_of_torch_before_1_6_is_read(tmp_path: Path, plain: list[Verdict]) -> None:
    folder = tiny.build(tmp_path)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert near(answers(tmp_path), plain)


def test_the_files_may_go_away_once_it_is_loaded(tmp_path: Path, plain: list[Verdict]) -> None:
    folder = tiny.build(tmp_path)
    engine = load(tmp_path)
    for file in folder.iterdir():
        file.write_bytes(b"")
    assert near(list(engine.run(CLAIMS, lambda index, part: True)), plain)
    engine.close()


def test_every_missing_key_is_an_error_that_names_it() -> None:
    state = tiny.weights(9600)
    assert set(fit(state, state)) == set(state)
    for key in state:
        with pytest.raises(ModelLoadError) as said:
            fit({k: tensor for k, tensor in state.items() if k != key}, state)
        assert said.value.text == f"the checkpoint lacks {key}"


def test_a_missing_key_keeps_the_model_from_loading(tmp_path: Path) -> None:
    gone = "decoder.layers.1.cross_attn.k_proj.weight"
    tiny.build(tmp_path, change=lambda state: {k: v for k, v in state.items() if k != gone})
    with pytest.raises(ModelLoadError, match=f"the checkpoint lacks {gone}"):
        load(tmp_path)


def test_many_missing_keys_are_counted() -> None:
    state = tiny.weights(9600)
    kept = {key: tensor for key, tensor in state.items() if not key.startswith("decoder.")}
    with pytest.raises(ModelLoadError, match=r"lacks decoder\..*, decoder\..* and \d+ more$"):
        fit(kept, state)


def test_a_surplus_key_is_a_warning_that_names_it(
    tmp_path: Path, plain: list[Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    tiny.build(tmp_path, change=lambda s: {**s, "encoder.layers.0.gamma": torch.ones(3)})
    with caplog.at_level(logging.WARNING):
        assert near(answers(tmp_path), plain)
    (record,) = (r for r in caplog.records if "keys that are not read" in r.message)
    assert vars(record)["keys"] == "encoder.layers.0.gamma"


def test_a_tensor_of_another_shape_or_type_is_named() -> None:
    state = tiny.weights(9600)
    key = "encoder.layers.0.fc1.weight"
    for wrong in (state[key][:5], state[key].to(torch.int8)):
        with pytest.raises(ModelLoadError, match=f"{key} of the checkpoint is .* config.json want"):
            fit({**state, key: wrong}, state)


def test_untied_words_are_another_variant() -> None:
    state = tiny.weights(9600)
    with pytest.raises(ModelLoadError, match="differ; this variant of OFA is not supported"):
        fit({**state, DECODERS[0]: state[WORDS] + 1}, state)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "bart"),
        ("use_ofasys", True),
        ("use_gamma_feature", True),
        ("encoder_normalize_before", False),
        ("decoder_normalize_before", False),
        ("normformer", False),
        ("interpolate_position", True),
        ("use_image_feature", False),
        ("share_attn_bias", True),
        ("entangle_position_embedding", True),
        ("share_decoder_input_output_embed", False),
        ("resnet_type", "vit"),
        ("activation_function", "silu"),
        ("d_model", "32"),
        ("encoder_layers", 10**9),
    ],
)
def test_another_variant_of_the_network_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    tiny.build(tmp_path, config={field: value})
    with pytest.raises(ModelLoadError, match=rf"config\.json: {field}: .* is not supported"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"options": {"type": "mplug"}}, r"configuration\.json: model\.type: "),
        ({"options": {"language": "zh"}}, r"configuration\.json: model\.language: "),
        ({"options": {"prompt_type": "src"}}, r"configuration\.json: model\.prompt_type: "),
        ({"options": {"answer2label": "../../x"}}, r"configuration\.json: model\.answer2label: "),
        ({"options": {"answer2label": "gone.json"}}, r"put gone\.json, which conf.* names, into /"),
        ({"options": {"patch_image_size": 144}}, "patch_image_size 144 is no multiple"),
        ({"options": {"patch_image_size": 100}}, "patch_image_size 100 is no multiple"),
        ({"options": {"max_src_length": 1100}}, "max_src_length 1100 leaves no room"),
        ({"options": {"prompt": "is it?"}}, "prompt has 0 gaps"),
        ({"config": {"d_model": 30}}, "the attention heads do not divide d_model"),
        ({"config": {"vocab_size": 9000}}, "config.json has room for 9000"),
        ({"answers": ["yes", "no"]}, "ans2label.json must be an object"),
        ({"answers": {"entailment": 0}}, "ans2label.json must be an object"),
        ({"answers": {"yes": 0, "no": 1} | {f"a{n}": n for n in range(63)}}, "2 to 64 answers"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, changed: Any, sentence: str) -> None:
    tiny.build(tmp_path, **changed)
    with pytest.raises(ModelLoadError, match=sentence):
        load(tmp_path)


def test_another_task_is_refused(tmp_path: Path) -> None:
    file = tiny.build(tmp_path) / "configuration.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "task": "image-captioning"}))
    with pytest.raises(ModelLoadError, match=r"configuration\.json: task: "):
        load(tmp_path)


class Runs:
    """What a pickle may hold: a call, made by whoever reads it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path)
    mark = tmp_path / "it ran"
    torch.save({"encoder.layer_norm.bias": Runs(str(mark))}, folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin cannot be read as plain weights"):
        load(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("pytorch_model.bin", b"", "cannot be read as plain weights"),
        ("pytorch_model.bin", b"\x80\x02garbage", "cannot be read as plain weights"),
        ("pytorch_model.bin", b"PK\x03\x04" + b"x" * 99, "cannot be read as plain weights"),
        ("model.safetensors", b"\xff" * 64, "cannot be read as plain weights"),
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[]", r"config\.json: the file: "),
        ("configuration.json", b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    (tiny.build(tmp_path) / name).write_bytes(data)
    with pytest.raises(ModelLoadError, match=rf"{name}.*{sentence}|{sentence}") as said:
        load(tmp_path)
    assert name in said.value.text
    assert "\n" not in said.value.text


@pytest.mark.parametrize("state", [[1, 2], {"model": {"a": 1}}])
def test_a_file_of_more_than_tensors_is_refused(tmp_path: Path, state: Any) -> None:
    folder = tiny.build(tmp_path)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="holds more than named tensors"):
        load(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path)
    (folder / "merges.txt").unlink()
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ModelLoadError, match=r"put merges\.txt, \*model\.\* of iic/ofa_visual"):
        load(tmp_path)


# ---- what the checkpoint says about asking


def test_the_answers_file_is_the_one_that_the_checkpoint_names(
    tmp_path: Path, plain: list[Verdict]
) -> None:
    folder = tiny.build(tmp_path, options={"answer2label": "answers-1.json"})
    (folder / "ans2label.json").rename(folder / "answers-1.json")
    assert near(answers(tmp_path), plain)


def test_a_prompt_with_one_gap_leaves_no_place_for_a_premise(tmp_path: Path) -> None:
    tiny.build(tmp_path, options={"prompt": ' is it true that " {} "? {0.x}'})
    engine = load(tmp_path)
    assert not engine.capabilities.premise
    picture = tiny.noise(1)
    pair = [Claim(picture, "yes"), Claim(picture, "yes", "there are two birds")]
    without, with_it = engine.run(pair, lambda index, part: True)
    engine.close()
    assert without.probabilities == pytest.approx(with_it.probabilities, abs=1e-6)
    assert any("premise was not used" in note.en for note in with_it.evidence)


def test_a_prompt_with_two_gaps_is_for_a_premise(tmp_path: Path, plain: list[Verdict]) -> None:
    tiny.build(tmp_path, options={"prompt": ' text1 " {} " and " {} "?'})
    alone, beside = answers(tmp_path)
    assert near([alone], plain[:1])
    assert not near([beside], plain[1:], within=0.001)


def test_a_checkpoint_may_not_reread_the_question(tmp_path: Path, plain: list[Verdict]) -> None:
    tiny.build(tmp_path, options={"prompt_type": "none"})
    engine = load(tmp_path)
    together = list(engine.run(CLAIMS, lambda index, part: True))
    apart = [engine.run([claim], lambda index, part: True)[0] for claim in CLAIMS]
    engine.close()
    assert near(together, apart, within=1e-5)
    assert not near(together, plain, within=0.001)


def test_a_checkpoint_may_want_the_colours_of_imagenet(
    tmp_path: Path, plain: list[Verdict]
) -> None:
    tiny.build(tmp_path, options={"imagenet_default_mean_and_std": True})
    assert not near(answers(tmp_path), plain, within=0.001)
    engine = load(tmp_path)
    for colour, seen in {
        (0, 0, 0): (-2.117904, -2.035714, -1.804444),
        (255, 255, 255): (2.248908, 2.428571, 2.64),
    }.items():
        pixels = engine._pixels(Picture(9, 9, bytes(colour) * 81))
        assert pixels[:, 5, 5].tolist() == pytest.approx(seen, abs=1e-5)
    engine.close()
