"""
Where a real model's files lie, whether they are whole, and the sentences for when they are not.

A checkpoint is the folder that its hub offers, unchanged, below `QUARTET_MODELS__FOLDER` and the
checkpoint's name: `models/vec-ai/lychee-rerank-mm/config.json`. `download` fetches; this module
looks. Nothing here needs a model library: a file of weights says in its head what it holds.
"""

import json
import struct
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import settings
from backends.engines import Model
from backends.engines.hub import amount
from backends.errors import ModelLoadError, OutOfMemory

_ONE = threading.RLock()


def find(source: str, files: Iterable[str], group: settings.Models) -> Path:
    """
    The folder of the checkpoint `source`, such as "vec-ai/lychee-rerank-mm". `files` are the
    names or patterns ("*.safetensors") that must be there. Raises ModelLoadError, naming what is
    missing and where to put it.
    """
    folder = group.folder / source
    if lacking := missing(folder, files):
        where = f"{', '.join(lacking)} of {source} into {folder.absolute()}"
        raise ModelLoadError(
            f"put {where}",
            zh=f"请将 {source} 的 {'、'.join(lacking)} 放入 {folder.absolute()}",
        )
    return folder


def missing(folder: Path, files: Iterable[str]) -> list[str]:
    """What the patterns ask for, or an index of shards names, and is not in the folder."""
    lacking = [name for name in files if not any(folder.glob(name))]
    for index in sorted(folder.glob("*.index.json")):
        shards = sorted(set(_read(index).get("weight_map", {}).values()))
        lacking += [name for name in shards if not (folder / name).is_file()]
    return lacking


def is_on_disk(model: Model, group: settings.Models) -> bool:
    """Whether all of a checkpoint's files are here; what they hold is looked at when it loads."""
    if not model.files:
        return False
    try:
        return not missing(group.folder / model.source, model.files)
    except (ModelLoadError, OSError):
        return False


def inspect(model: Model, group: settings.Models) -> None:
    """What can be told before a library reads it. Raises ModelLoadError."""
    folder = find(model.source, model.files, group)
    for file in sorted(folder.glob("*.json")):
        _read(file)
    _check_architecture(model, folder)
    for file in sorted(folder.glob("*.safetensors")):
        read_head(file)


def _check_architecture(model: Model, folder: Path) -> None:
    if not model.architecture or not (folder / "config.json").is_file():
        return
    config = _read(folder / "config.json")
    named = [*(config.get("architectures") or []), config.get("model_type", "")]
    if model.architecture not in named:
        found = ", ".join(filter(None, named))
        raise ModelLoadError(
            f"{folder.absolute()} holds another model: its config.json names "
            f"{found or 'no architecture'}, not {model.architecture}",
            zh=f"{folder.absolute()} 中是另一个模型：其 config.json 写的是 "
            f"{found or '（无）'}，而不是 {model.architecture}",
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What a file of weights says of itself: how many numbers, and how many bytes they take."""

    numbers: int
    bytes: int


def read_head(file: Path) -> Head:
    """Of a safetensors file. Raises ModelLoadError where it is cut short or none at all."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            size = file.stat().st_size
            table = json.loads(opened.read(length)) if length <= size else {}
        tensors = [entry for name, entry in table.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=-1)
        numbers = sum(_product(entry["shape"]) for entry in tensors)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file) from error
    if end < 0 or 8 + length + end != size:
        raise _unreadable(file)
    return Head(numbers, end)


def _unreadable(file: Path) -> ModelLoadError:
    folder, size = file.parent.absolute(), amount(file.stat().st_size)
    return ModelLoadError(
        f"{file.name} in {folder} is cut short or damaged ({size}); delete it and load the model "
        "again",
        zh=f"{folder} 中的 {file.name} 不完整或已损坏（{size}）；请删除后重新加载模型",
    )


def _product(shape: Iterable[int]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result


def needed(folder: Path, dtype: str, *, on_gpu: bool) -> int:
    """Bytes that the weights take once loaded; computed from the heads, or the files' own size."""
    heads = [read_head(file) for file in folder.glob("*.safetensors")]
    if not heads:
        files = (file for pattern in ("*.bin", "*.onnx") for file in folder.glob(pattern))
        return sum(file.stat().st_size for file in files)
    if dtype == "auto" and on_gpu:
        return sum(head.bytes for head in heads)
    size = 2 if dtype in ("bfloat16", "float16") else 4
    return size * sum(head.numbers for head in heads)


def check_memory(model: Model, group: settings.Models, free: Mapping[str, int]) -> None:
    """
    Refuse what cannot fit, before it makes the system kill us. The weights alone are counted: what
    a batch takes besides depends on what is asked. `free` is bytes by device; of several GPUs the
    largest counts, because NVML's order need not be CUDA's.
    """
    on_cards = [size for name, size in free.items() if name.startswith("cuda")]
    on_gpu = bool(on_cards) and group.device != "cpu"
    room = max(on_cards) if on_gpu else free.get("host")
    need = needed(group.folder / model.source, group.dtype, on_gpu=on_gpu)
    if room is not None and need > room:
        where, where_zh = ("the GPU", "GPU") if on_gpu else ("this machine", "本机")
        raise ModelLoadError(
            f"its weights alone need {amount(need)} of memory, and {where} has {amount(room)} free",
            zh=f"仅其权重就需要 {amount(need)} 内存，而{where_zh}仅剩 {amount(room)}",
        )


def foreseen(error: BaseException) -> ModelLoadError | None:
    """Why a loader failed, as one phrase; None for what nobody thought of."""
    if isinstance(error, ModelLoadError):
        return error
    is_full = isinstance(error, MemoryError | OutOfMemory)  # the other name is torch's
    if is_full or type(error).__name__ == "OutOfMemoryError":
        return ModelLoadError(
            "there is not enough memory for it; free some, or choose a smaller model",
            zh="内存不足；请释放内存，或选择更小的模型",
        )
    if type(error).__name__ == "SafetensorError":
        return ModelLoadError(
            f"a file of its weights is damaged ({first_line(error)}); delete it and load again",
            zh=f"权重文件已损坏（{first_line(error)}）；请删除后重新加载",
        )
    if isinstance(error, OSError) and error.strerror and error.filename:
        name = Path(str(error.filename)).name
        return ModelLoadError(
            f"{name} cannot be read: {error.strerror}", zh=f"无法读取 {name}：{error.strerror}"
        )
    return None


def unforeseen(error: BaseException, number: str) -> ModelLoadError:
    """
    A bug, or a file that breaks a library in a way of its own. What the library said may name
    paths of this machine, so a visitor gets the number under which the log has it.
    """
    kind = type(error).__name__
    return ModelLoadError(
        f"an error stopped it that was not foreseen ({kind}); whoever runs this portal finds it "
        f"in the log under {number}",
        zh=f"出现了意料之外的错误（{kind}）；管理员可在日志中按编号 {number} 查看详情",
        detail=first_line(error),
    )


def first_line(error: BaseException) -> str:
    """An error's first line, short enough for a sentence."""
    first = next(iter(str(error).strip().splitlines()), "")
    return first if len(first) <= 200 else f"{first[:200]}…"


def _read(path: Path) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelLoadError(
            f"{path.absolute()} is no JSON; delete it and load again",
            zh=f"{path.absolute()} 不是 JSON；请删除后重新加载",
        ) from error
    return value if isinstance(value, dict) else {}


@contextmanager
def libraries() -> Iterator[None]:
    """
    Around an engine's import and load: a missing library becomes the command that brings it. One
    at a time in a process, for what transformers changes meanwhile is everybody's: its own module,
    which another replaces; how weights are tied; the number type that torch takes by itself.
    """
    try:
        with _ONE:
            yield
    except ModuleNotFoundError as error:
        name = (error.name or str(error)).partition(".")[0]
        raise ModelLoadError(
            f"the library {name} is missing; `make models` installs it",
            zh=f"缺少库 {name}；可用 `make models` 安装",
        ) from error
    except Exception as error:
        _let_go(error)
        raise


def _let_go(error: BaseException) -> None:
    """
    What a load that failed had read already is given back at once, to the device too: its error
    goes on, and keeps every frame that led to it.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    if "torch" in sys.modules:
        from backends.engines.memory import give_back

        give_back()
