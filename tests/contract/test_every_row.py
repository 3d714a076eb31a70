"""
Every fault of a checkpoint, for every row of the tables that is one: one sentence that says what to
do, in both languages, and the old model still answers.
"""

import asyncio
import gc
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="Install what real models need: make models")
pytest.importorskip("onnx", reason="Install what real models need: make models")

from app import build_service  # noqa: E402
from backends.errors import ModelLoadError  # noqa: E402
from backends.identity import Ask  # noqa: E402
from backends.serving import State  # noqa: E402
from backends.serving.local import LocalService  # noqa: E402
from backends.serving.record import ModelRecord, Records  # noqa: E402
from backends.settings import Models, Settings  # noqa: E402
from backends.telemetry import Instruments  # noqa: E402
from tests import stubs  # noqa: E402
from tests.tiny.rows import BUILDS, build, rows  # noqa: E402

assert build_service

ROWS = rows()
TORCH = [name for name, (_, model) in ROWS.items() if model.architecture != "onnx"]


def test_every_row_that_is_a_checkpoint_has_a_tiny_one() -> None:
    assert set(BUILDS) == set(ROWS)


def modules() -> int:
    """Parts of networks of torch that are in memory."""
    gc.collect()
    return sum(issubclass(type(each), torch.nn.Module) for each in gc.get_objects())


class Scene:
    """A service that runs a stub, and may be swapped to one real row."""

    def __init__(self, name: str, folder: Path, **group: Any) -> None:
        family, self.model = ROWS[name]
        old = stubs.model(stubs.Recorder("old"))
        self.models = Models(folder=folder / "models", device="cpu", **group)
        self.folder = self.models.folder / self.model.source
        settings = Settings(state_dir=folder, models=self.models)
        models = {"old": old, name: self.model}
        kept = replace(family, models=models, default=lambda settings: "old")
        records = Records(folder / "records")
        self.service = LocalService(kept, settings, Instruments(), records, 60)
        self.revision = 0
        self.error: Exception | None = None  # of the last load, as somebody may keep it

    async def swap(self) -> None:
        self.revision += 1
        await self.service.swap(ModelRecord(self.revision, self.model.name))

    async def refused(self) -> str:
        """The phrase of a load that fails; the old model must still answer."""
        with pytest.raises(ModelLoadError) as said:
            await self.swap()
        self.error = said.value
        assert (await self.service.predict(["a"], Ask())).model == "old"
        front, end = f"{self.model.name} could not be loaded: ", "; old still serves."
        assert said.value.text.startswith(front), said.value.text
        assert said.value.text.endswith(end), said.value.text
        assert said.value.zh.startswith(f"无法加载 {self.model.name}：")
        assert said.value.zh.endswith("；仍由 old 提供服务。")
        assert not said.value.detail, said.value.detail  # foreseen: nothing is left to say
        assert "\n" not in said.value.text
        return said.value.text.removeprefix(front).removesuffix(end)


@asynccontextmanager
async def serving(name: str, folder: Path, **group: Any) -> AsyncIterator[Scene]:
    scene = Scene(name, folder, **group)
    await scene.service.start()
    while (await scene.service.status()).state is State.LOADING:
        await asyncio.sleep(0.01)
    try:
        yield scene
    finally:
        await scene.service.close()


@pytest.mark.parametrize("name", ROWS)
async def test_offline_it_says_which_files_to_put_where(name: str, tmp_path: Path) -> None:
    async with serving(name, tmp_path, hub="off") as scene:
        files = ", ".join(scene.model.files)
        wanted = f"put {files} of {scene.model.source} into {scene.folder}"
        assert await scene.refused() == wanted


@pytest.mark.parametrize("name", ["lychee-rerank-mm", "ofa-large-snli-ve", "hy-mt1.5-1.8b"])
async def test_without_a_network_it_says_the_same_of_its_name_on_that_hub(
    name: str, tmp_path: Path, free_port: int
) -> None:
    async with serving(name, tmp_path, endpoint=f"http://127.0.0.1:{free_port}") as scene:
        repo = dict(scene.model.hubs)["modelscope"]
        assert await scene.refused() == (
            f"http://127.0.0.1:{free_port} cannot be reached; without a network, put "
            f"{', '.join(scene.model.files)} of {repo} into {scene.folder}"
        )


def weights_of(folder: Path) -> Path:
    """The largest of them, were they real."""
    names = ("model.safetensors", "pytorch_model.bin", "inswapper_128.onnx")
    return next(folder / name for name in names if (folder / name).is_file())


def cut_short(folder: Path) -> None:
    file = weights_of(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def lost_shard(folder: Path) -> None:
    shards = {"a": weights_of(folder).name, "b": "model-2-of-2.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))


def half_of_config(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


def half_of_words(folder: Path) -> None:
    file = next(f for f in (folder / "tokenizer.json", folder / "vocab.json") if f.is_file())
    file.write_text(file.read_text(encoding="utf-8")[:-100], encoding="utf-8")


def another_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
    (folder / "config.json").write_text(json.dumps(config))


def lost_weight(folder: Path) -> None:
    """Whole files, and one tensor fewer: libraries put random numbers in its place."""
    from safetensors.torch import load_file, save_file

    file = weights_of(folder)
    is_safe = file.suffix == ".safetensors"
    tensors = load_file(file) if is_safe else torch.load(file, weights_only=True)
    del tensors[sorted(key for key in tensors if "layer" in key)[0]]
    if is_safe:
        save_file(tensors, file, metadata={"format": "pt"})
    else:
        torch.save(tensors, file)


def lost_file(folder: Path) -> None:
    weights_of(folder).unlink()


def not_json(file: str) -> str:
    return rf"/{file} is no JSON; delete it and load again$"


Harm = tuple[Callable[[Path], None], str]
ALL: tuple[Harm, ...] = (
    (cut_short, r"is cut short or damaged|cannot be read as plain weights|cannot be opened"),
    (lost_file, r"^put \S+ of \S+ into /"),
)
CHECKPOINT: tuple[Harm, ...] = (
    (lost_shard, r"^put model-2-of-2\.safetensors of \S+ into /"),
    (half_of_config, not_json(r"config\.json")),
    (half_of_words, not_json(r"(tokenizer|vocab)\.json")),
    (another_model, r"holds another model: its config\.json names GPT2LMHeadModel, gpt2, not"),
    (lost_weight, r"^the (weights|checkpoint) lacks? \S*layer"),
)


@pytest.mark.parametrize("name", ROWS)
async def test_a_damaged_checkpoint_is_one_sentence_and_the_old_model_still_answers(
    name: str, tmp_path: Path
) -> None:
    whole = build(name, tmp_path / "whole")
    before = modules()
    async with serving(name, tmp_path, hub="off") as scene:
        for harm, sentence in (*ALL, *(CHECKPOINT if name in TORCH else ())):
            shutil.copytree(whole, scene.folder)
            harm(scene.folder)
            told = await scene.refused()
            assert re.search(sentence, told), (harm.__name__, told)
            shutil.rmtree(scene.folder)
        assert modules() == before  # what a load that failed had read is given back at once
        shutil.copytree(whole, scene.folder)
        await scene.swap()  # whole, it loads: nothing above was refused for another reason
        assert (await scene.service.status()).model == name
