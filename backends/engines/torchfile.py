"""
Tensors from an old torch file, without torch.

Before its zip format torch wrote three small pickles, a pickled dict of tensors, the list of
their storages, then the storages' bytes. A pickle may run anything, so ours is closed: it knows
an ordered dict and tensors of two types, and refuses everything else. It stops at reading:
nothing is written, and newer files are not understood.
"""

import collections
import math
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_PREAMBLE = 3  # magic number, protocol version, the writer's word sizes
_MEMO = 1_000_000  # a reader makes room for every number below the one that a file names

# What the pickle machine raises about bytes that no writer wrote.
_BROKEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class _Tensor(NamedTuple):
    """Where a tensor lies in its storage; offset and strides count elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Closed(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, *_ = pid
        self.storages[key] = dtype
        return str(key)


def _rebuild(storage: str, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Name to array. Raises pickle.UnpicklingError for a file that is not what it should be."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except _BROKEN as error:
        raise pickle.UnpicklingError(f"{path.name} is not a file of weights: {error}") from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    for _ in range(_PREAMBLE):
        _checked(file).load()
    reader = _checked(file)
    tensors = reader.load()
    keys = _checked(file).load()
    storages = {str(key): _storage(file, reader.storages[key]) for key in keys}
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _checked(file: BinaryIO) -> _Closed:
    """A reader of the next pickle, once it is known that it asks for no room out of all reason."""
    start = file.tell()
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > _MEMO:
            raise pickle.UnpicklingError("it asks for more room than any file of weights")
    file.seek(start)
    return _Closed(file)


def _storage(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(max(0, count) * dtype.itemsize), dtype)


def _array(tensor: _Tensor, storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """A copy in row order: some tensors in the file are stored in another."""
    storage, offset, shape, strides = storages[tensor.storage], *tensor[1:]
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    over_the_end = 0 not in shape and max(last, math.prod(shape) - 1) >= len(storage)
    if min(offset, *strides, *shape, 0) < 0 or over_the_end:
        raise pickle.UnpicklingError("a tensor reaches over the end of its storage")
    steps = [step * storage.itemsize for step in strides]
    view = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
    return np.ascontiguousarray(view)
