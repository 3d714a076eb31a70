"""
Small checkpoints and services that fetch them: what every test of loading needs.

The hubs' own libraries speak to a small hub on loopback; the engine is a stand-in that only needs
its files to be there.
"""

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.engines import Model, weights
from backends.engines.download import ENVIRONMENT
from backends.errors import ModelLoadError
from backends.identity import Ask
from backends.serving import State
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Models, Settings
from backends.telemetry import Instruments
from tests import stubs
from tests.hub import Hub
from tests.running import ROOT

HUBS = ("modelscope", "huggingface")
TITLES = {"modelscope": "ModelScope", "huggingface": "Hugging Face"}
FILES = ("config.json", "*.safetensors")
LARGE = 24_000_000  # Hugging Face's library hands on what it reads in pieces of 10 MB


def safetensors(size: int, seed: int = 1) -> bytes:
    """A whole file of weights: `size` bytes of one tensor."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(head)) + head + random.Random(seed).randbytes(size)


SMALL = {"config.json": b'{"architectures": ["Small"]}', "model.safetensors": safetensors(40_000)}


def checkpoint(**more: Any) -> Model:
    """A model whose loader wants its files; its engine is a stub."""

    def load(settings: Settings) -> Any:
        weights.find("o/n", FILES, settings.models)
        return stubs.Recorder("real")

    given = {"source": "o/n", "files": FILES, "hubs": tuple((name, "o/n") for name in HUBS)}
    return stubs.model(load, "real", **{**given, **more})


@asynccontextmanager
async def serving(folder: Path, models: Models, *rows: Model) -> AsyncIterator[LocalService]:
    old = stubs.model(lambda settings: stubs.Recorder("old"), "old")
    settings = Settings(state_dir=folder, models=models)
    family = stubs.family(old, *rows)
    service = LocalService(family, settings, Instruments(), Records(folder / "records"), 60)
    await service.start()
    while (await service.status()).state is State.LOADING:
        await asyncio.sleep(0.01)
    try:
        yield service
    finally:
        await service.close()


async def refused(folder: Path, models: Models, model: Model) -> str:
    """The sentence with which a swap to the model fails; the old one must still answer."""
    async with serving(folder, models, model) as service:
        with pytest.raises(ModelLoadError) as said:
            await service.swap(ModelRecord(1, "real"))
        assert (await service.predict(["a"], Ask())).model == "old"
        text = said.value.text
        assert said.value.zh.startswith("无法加载 real：")
        assert not said.value.detail  # foreseen: the sentence has all there is to say
        assert text.startswith("real could not be loaded: "), text
        assert text.endswith("; old still serves."), text
        return text.removeprefix("real could not be loaded: ").removesuffix("; old still serves.")


def place(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / "o" / "n").mkdir(parents=True, exist_ok=True)
        (folder / "o" / "n" / name).write_bytes(data)


def group(folder: Path, served: Hub, name: str, **more: Any) -> Models:
    return Models(folder=folder / "models", hub=name, endpoint=served.url, **more)


def request(folder: Path, endpoint: str, name: str) -> str:
    """A line for the process that fetches."""
    asked = {"hub": name, "endpoint": endpoint, "token": "", "repo": "o/n", "pins": {}}
    return json.dumps({**asked, "patterns": FILES, "folder": str(folder / "o" / "n")}) + "\n"


@contextmanager
def fetching(
    folder: Path,
    endpoint: str,
    *program: str,
    name: str = "modelscope",
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The process that fetches, asked for the checkpoint."""
    with subprocess.Popen(
        [sys.executable, *(program or ("-m", "backends.engines.hub"))],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(request(folder, endpoint, name))
        process.stdin.flush()
        yield process


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says next."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def last_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says last."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readlines()[-1]))
