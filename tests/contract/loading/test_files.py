"""A checkpoint that is here: what is seen to be wrong with it before and while it is loaded."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from backends.settings import Models, Settings
from tests import stubs
from tests.checkpoints import (
    SMALL,
    checkpoint,
    fetching,
    group,
    place,
    refused,
    safetensors,
    told,
)
from tests.hub import Hub, hub

pytest.importorskip("modelscope_hub", reason="Install what real models need: make models")
pytest.importorskip("huggingface_hub", reason="Install what real models need: make models")


async def test_a_checkpoint_that_is_not_whole_is_named(tmp_path: Path) -> None:
    models = Models(folder=tmp_path / "models", hub="off")
    whole = tmp_path / "models" / "o" / "n"
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    shards = {
        "config.json": SMALL["config.json"],
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1-of-2.safetensors": safetensors(1000),
    }
    place(tmp_path / "models", shards)
    assert await refused(tmp_path / "1", models, checkpoint()) == (
        f"put model-2-of-2.safetensors of o/n into {whole}"
    )
    place(tmp_path / "models", {"model-2-of-2.safetensors": safetensors(1000)[:-1]})
    assert await refused(tmp_path / "2", models, checkpoint()) == (
        f"model-2-of-2.safetensors in {whole} is cut short or damaged (1.1 kB); delete it and "
        "load the model again"
    )


async def test_a_shard_that_the_hub_lacks_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1-of-2.safetensors": safetensors(1000),
    }
    with hub(o__n=files) as served:
        models = group(tmp_path, served, "modelscope")
        assert await refused(tmp_path, models, checkpoint()) == (
            f"put model-2-of-2.safetensors of o/n into {tmp_path}/models/o/n"
        )


async def test_another_architecture_is_refused_before_it_is_read(
    tmp_path: Path, small: Hub
) -> None:
    model = checkpoint(architecture="Large")
    assert await refused(tmp_path, group(tmp_path, small, "modelscope"), model) == (
        f"{tmp_path}/models/o/n holds another model: its config.json names Small, not Large"
    )


async def test_weights_larger_than_the_memory_are_refused_before_they_are_read(
    tmp_path: Path,
) -> None:
    models = Models(folder=tmp_path / "models", hub="off", device="cpu")
    numbers = 10**12
    head = json.dumps(
        {"w": {"dtype": "F16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}}
    ).encode()
    place(tmp_path / "models", {**SMALL, "model.safetensors": struct.pack("<Q", len(head)) + head})
    os.truncate(tmp_path / "models/o/n/model.safetensors", 8 + len(head) + 2 * numbers)  # a hole
    told = await refused(tmp_path, models, checkpoint())
    assert told.startswith("its weights alone need 4000 GB of memory, and this machine has ")


async def test_a_loader_without_memory_is_one_sentence(tmp_path: Path) -> None:
    class OutOfMemoryError(RuntimeError):
        """Its name is torch's."""

    for error in (MemoryError(), OutOfMemoryError("CUDA out of memory.\nTried to allocate")):

        def load(settings: Settings, error: Exception = error) -> Any:
            raise error

        models = Models(folder=tmp_path, hub="off")
        assert await refused(
            tmp_path / type(error).__name__, models, stubs.model(load, "real")
        ) == ("there is not enough memory for it; free some, or choose a smaller model")


def test_a_missing_library_becomes_the_command_that_brings_it(tmp_path: Path) -> None:
    lacks = "import sys; sys.modules['modelscope_hub'] = None; import backends.engines.hub.__main__"
    with fetching(tmp_path, "", "-c", lacks) as process:
        assert told(process) == {"done": 0, "total": 0}
        assert told(process) == {
            "failed": "the library modelscope_hub is missing; `make models` installs it",
            "zh": "缺少库 modelscope_hub；可用 `make models` 安装",
        }
