"""The folder of a Qwen-VL reranker: what is read from it, and what is refused before it answers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: run `make models`.")

from backends.engines.rerank import Pair  # noqa: E402
from backends.engines.rerank.qwen_vl import QwenVl, check_rotation  # noqa: E402
from backends.errors import ModelLoadError  # noqa: E402
from tests.tiny import lychee  # noqa: E402
from tests.tiny.lychee import emit, load  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ROOT = Path(__file__).parents[3]
PAIRS = [Pair("red", text, ()) for text in ("a picture of a red square", "green", "红色 方块", "")]


def scores(engine: QwenVl) -> list[float]:
    return [relevance.score for relevance in engine.run(PAIRS, emit)]


def test_the_checkpoint_is_the_older_layout_and_its_weights_are_its_own(folder: Path) -> None:
    config = json.loads((folder / lychee.SOURCE / "config.json").read_text())
    assert config["torch_dtype"] == "float32"
    assert config["rope_scaling"]["type"] == "mrope"
    assert "text_config" not in config


def test_the_number_type_of_the_settings_is_in_force(folder: Path, engine: QwenVl) -> None:
    half = load(folder, dtype="bfloat16")
    assert half._scorer._network.dtype == torch.bfloat16
    assert half._scorer._direction.dtype == torch.float32  # the judgement itself is not rounded
    assert engine._scorer is not None
    assert engine._scorer._network.dtype == torch.float32
    far = np.abs(np.subtract(scores(half), scores(engine)))
    assert 0 < far.max() < 0.1
    half.close()


def broken(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / lychee.SOURCE
    shutil.copytree(folder / lychee.SOURCE, copy)
    return copy


def test_a_tokenizer_that_splits_yes_or_no_is_refused(tmp_path: Path) -> None:
    lychee.build(tmp_path / lychee.SOURCE, words=("no",))
    with pytest.raises(ModelLoadError, match="2 tokens of 'no', not one"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("", "no chat template"),
        ("always the same", "does not show the user's words once"),
        (lychee.CHAT.replace("<|image_pad|>", "<img>"), "does not write <|image_pad|>"),
        (lychee.CHAT.replace("{{ content['text'] }}", "{{ content['text'] }} "), "plainly"),
    ],
)
def test_a_chat_template_that_writes_another_prompt_is_refused(
    folder: Path, tmp_path: Path, template: str, sentence: str
) -> None:
    copy = broken(folder, tmp_path)
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    with pytest.raises(ModelLoadError, match=sentence.replace("|", r"\|")):
        load(tmp_path)


def test_rotary_frequencies_that_were_not_computed_are_refused(folder: Path) -> None:
    engine = load(folder)
    network = engine._scorer._network
    check_rotation(network)
    for part in (network.language_model.rotary_emb, network.visual.rotary_pos_emb):
        kept = part.inv_freq.clone()
        part.inv_freq.zero_()
        with pytest.raises(ModelLoadError, match="rotary frequencies"):
            check_rotation(network)
        part.inv_freq.copy_(kept)
    engine.close()


def test_another_rotation_than_the_models_is_refused_at_load(folder: Path, tmp_path: Path) -> None:
    file = broken(folder, tmp_path) / "config.json"
    config = json.loads(file.read_text())
    config["rope_scaling"] |= {"type": "linear", "factor": 4.0}
    file.write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="rotary frequencies of its text part"):
        load(tmp_path)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    copy = broken(folder, tmp_path)
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"put preprocessor_config\.json of vec-ai/lychee"):
        load(tmp_path)


def test_it_loads_without_torchvision_and_never_asks_for_it(folder: Path) -> None:
    code = f"""
import sys
from pathlib import Path
sys.modules["torchvision"] = None  # an import of it fails
from backends.engines.rerank import MODELS, Pair
from backends.settings import Models, Settings
engine = MODELS["lychee-rerank-mm"].load(Settings(models=Models(folder=Path({str(folder)!r}))))
print(engine.run([Pair("a", "b", ())], lambda i, p: True)[0].score)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1
    assert "torchvision" not in (ROOT / "requirements.txt").read_text().replace(
        "No torchvision", ""
    )
