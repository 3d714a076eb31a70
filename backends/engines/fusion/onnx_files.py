"""
The ONNX files that a user supplies, as networks: how each opens, and on which device it runs.

What each file is, is told by `supplied`; here a file of another shape is refused, and so is what
onnxruntime does silently.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from backends.engines import weights
from backends.engines.picture import Note
from backends.errors import ModelLoadError, OutOfMemory

log = logging.getLogger(__name__)

Tensor: TypeAlias = NDArray[np.float32]

_FULL = re.compile("failed to allocate memory|out of memory|bad_?alloc", re.IGNORECASE)

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Network:
    """One file, loaded. `run` may be called from any number of threads at once."""

    def __init__(self, path: Path, device: str, threads: int) -> None:
        """`device` as in the settings: auto, cpu, cuda or cuda:1."""
        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # its warnings go past our log; we look ourselves, below
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=providers(device, _offered())
            )
        except Exception as error:  # its errors share no base class of their own
            raise self.wrong(
                f"cannot be opened ({weights.first_line(error) or type(error).__name__})"
            ) from error
        self._session.disable_fallback()  # later, a GPU that fails is an error, not a slow answer
        for given in self._session.get_inputs():
            if given.type != "tensor(float)":
                raise self.wrong(f"takes {given.type}, not float32")

    @property
    def on_gpu(self) -> bool:
        return CUDA in self._session.get_providers()

    def inputs(self) -> dict[str, list[Any]]:
        """Shapes by name; a side that is free is None or a word."""
        return {given.name: given.shape for given in self._session.get_inputs()}

    def one_input(self, rank: int, last: Sequence[int]) -> str:
        """The name of the input of that rank, whose last sides are `last` or free."""
        for name, shape in self.inputs().items():
            sides = shape[-len(last) :]
            if len(shape) == rank and all(
                not isinstance(side, int) or side == wanted
                for side, wanted in zip(sides, last, strict=True)
            ):
                return name
        shapes = "; ".join(f"{name} {shape}" for name, shape in self.inputs().items())
        raise self.wrong(f"has no input …×{'×'.join(map(str, last))} of rank {rank} ({shapes})")

    def run(self, **given: Tensor) -> list[Tensor]:
        """All outputs, in the order of the file. Raises OutOfMemory."""
        try:
            outputs = self._session.run(None, given)
        except Exception as error:  # as above
            if not _FULL.search(str(error)):
                raise
            raise OutOfMemory(
                f"{self.path.name} ran out of memory. Send a smaller picture, or try again.",
                zh=f"{self.path.name} 内存不足。请使用较小的图片，或稍后重试。",
            ) from error
        return [np.asarray(made, np.float32) for made in outputs]

    def close(self) -> None:
        """Gives the memory back now, whoever still holds this. Never during `run`."""
        del self._session

    def wrong(self, what: str) -> ModelLoadError:
        """The file is not what its name says: one phrase that names it."""
        return ModelLoadError(
            f"{self.path.name} in {self.path.parent.absolute()} {what}; put the original file there"
        )


def providers(device: str, offered: Sequence[str]) -> list[Any]:
    """What to ask onnxruntime for: the GPU where it is wanted and offered, else the CPU."""
    if device == "cpu" or CUDA not in offered:
        return [CPU]
    card = int(device.partition(":")[2] or 0)
    return [(CUDA, {"device_id": card, "arena_extend_strategy": "kSameAsRequested"}), CPU]


def fallen_back(device: str, on_gpu: Mapping[str, bool], offered: Sequence[str]) -> Note | None:
    """
    Why the CPU does what a GPU was to do, in a sentence; None where it does not. onnxruntime
    itself goes on silently.
    """
    slow = [name for name, on in on_gpu.items() if not on]
    if device == "cpu" or not slow:
        return None
    if CUDA not in offered:
        return Note(
            f"It runs on the CPU, slowly: QUARTET_MODELS__DEVICE is {device}, and this onnxruntime "
            "has no CUDA; for a GPU, put onnxruntime-gpu in its place.",
            f"目前在 CPU 上运行，速度较慢：QUARTET_MODELS__DEVICE 为 {device}，"
            "而此 onnxruntime 不含 CUDA；如需 GPU，请换成 onnxruntime-gpu。",
        )
    return Note(
        f"It runs on the CPU, slowly: QUARTET_MODELS__DEVICE is {device}, and onnxruntime fell "
        f"back for {', '.join(slow)}; its CUDA or cuDNN libraries do not fit this machine.",
        f"目前在 CPU 上运行，速度较慢：QUARTET_MODELS__DEVICE 为 {device}，"
        f"但 onnxruntime 对 {'、'.join(slow)} 退回了 CPU；其 CUDA 或 cuDNN 库与本机不符。",
    )


def fall_back_of(device: str, networks: Sequence[Network]) -> Note | None:
    """The same of what is loaded."""
    return fallen_back(device, {each.path.name: each.on_gpu for each in networks}, _offered())


def _offered() -> list[str]:
    return list(onnxruntime.get_available_providers())
