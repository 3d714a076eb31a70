"""The closed reader of old torch files: what it reads, and that a file cannot run anything."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from backends.engines.torchfile import read_tensors

PROTOCOL, STOP = b"\x80\x02", b"."
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
Spec = tuple[str, int, tuple[int, ...], tuple[int, ...]]  # storage, offset, shape, strides


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def together(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(spec: Spec, kind: str = "FloatStorage") -> bytes:
    """A tensor as torch pickles it, opcode by opcode."""
    storage, offset, shape, strides = spec
    where = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(storage) + text("cpu")
    body = b"(" + where + number(99) + b"tQ" + number(offset) + together(shape) + together(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + body + b"\x89" + ORDERED_DICT + b"tR"


def written(folder: Path, value: bytes, *storages: np.ndarray, preamble: bytes = b"") -> Path:
    """A file with one tensor, "w", and storages named 0, 1, …"""
    parts = [preamble or pickle.dumps(0x1950A86A20F9469CFC6C, 2)]
    parts += [pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    parts += [PROTOCOL + ORDERED_DICT + text("w") + value + b"s" + STOP]
    parts += [pickle.dumps([str(n) for n in range(len(storages))], 2)]
    for storage in storages:
        parts += [struct.pack("<q", storage.size), storage.tobytes()]
    path = folder / "weights.pth"
    path.write_bytes(b"".join(parts))
    return path


SIX = np.arange(6, dtype=np.float32)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (("0", 0, (2, 3), (3, 1)), [[0, 1, 2], [3, 4, 5]]),
        (("0", 0, (3, 2), (1, 3)), [[0, 3], [1, 4], [2, 5]]),  # not stored in row order
        (("0", 2, (2,), (3,)), [2, 5]),
        (("0", 5, (), ()), 5),
        (("0", 0, (0, 3), (3, 1)), np.zeros((0, 3))),
    ],
)
def test_tensors_are_read_with_their_offsets_and_strides(
    tmp_path: Path, spec: Spec, expected: object
) -> None:
    read = read_tensors(written(tmp_path, tensor(spec), SIX))["w"]
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, np.asarray(expected))


def test_whole_numbers_are_read_too(tmp_path: Path) -> None:
    value = tensor(("0", 1, (2,), (1,)), kind="LongStorage")
    assert read_tensors(written(tmp_path, value, np.arange(3)))["w"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "foreign",
    [
        b"cos\nsystem\n" + b"(" + text("true") + b"tR",
        b"cbuiltins\neval\n" + b"(" + text("1") + b"tR",
        b"ctorch\nDoubleStorage\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nCounter\n)R",
    ],
)
def test_a_foreign_class_is_refused_wherever_it_stands(tmp_path: Path, foreign: bytes) -> None:
    name = foreign.split(b"\n")[0][1:].decode()
    for path in (
        written(tmp_path, foreign, SIX),
        written(tmp_path, tensor(("0", 0, (1,), (1,))), SIX, preamble=PROTOCOL + foreign + STOP),
    ):
        with pytest.raises(pickle.UnpicklingError, match=rf"{name}\..* has no place"):
            read_tensors(path)


@pytest.mark.parametrize(
    "spec",
    [
        ("0", 0, (7,), (1,)),
        ("0", 4, (3,), (1,)),
        ("0", 0, (2, 3), (6, 1)),
        ("0", -1, (1,), (1,)),
        ("0", 5, (6,), (-1,)),
        ("0", 0, (-1,), (1,)),
        ("0", 0, (2**31 - 1, 2**31 - 1), (0, 0)),  # the same number again and again
    ],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path: Path, spec: Spec) -> None:
    with pytest.raises(pickle.UnpicklingError, match="over the end of its storage"):
        read_tensors(written(tmp_path, tensor(spec), SIX))


@pytest.mark.parametrize(
    "damaged",
    [
        b".",
        b"no pickle at all",
        b"\x80\x06.",  # a protocol of the future
        PROTOCOL + STOP,
        PROTOCOL + b"(" * 1000 + STOP,
        PROTOCOL + b"I1\nI2\ns" + STOP,
    ],
)
def test_whatever_else_a_file_holds_is_told_as_no_file_of_weights(
    tmp_path: Path, damaged: bytes
) -> None:
    path = written(tmp_path, tensor(("0", 0, (1,), (1,))), SIX, preamble=damaged)
    with pytest.raises(pickle.UnpicklingError):
        read_tensors(path)


def test_a_file_cannot_ask_for_room_that_it_does_not_fill(tmp_path: Path) -> None:
    greedy = PROTOCOL + b"Nr\xff\xff\xff\x7f" + STOP  # a reader would make room for two billion
    path = written(tmp_path, tensor(("0", 0, (1,), (1,))), SIX, preamble=greedy)
    with pytest.raises(pickle.UnpicklingError, match="more room than any file"):
        read_tensors(path)
