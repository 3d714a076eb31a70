"""
A GPU's memory: running out of it becomes an error that the batcher knows, and what an engine held
is given back. Import it in loaders only.
"""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from backends.errors import OutOfMemory


@contextmanager
def enough_memory() -> Iterator[None]:
    """
    Around all that `run` does on the device. The batcher then tries the batch in halves, once.
    Nothing is freed here: torch gives up its cache before it gives up.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            "The model ran out of memory on its GPU. Send less at once, or try again.",
            zh="模型的 GPU 显存不足。请减少内容，或稍后重试。",
        ) from error


def give_back() -> None:
    """
    When an engine closes, after the last reference to its weights went: its memory to the device
    and to the system. Modules of transformers refer to each other in rings, and glibc keeps what
    threads freed.
    """
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)
