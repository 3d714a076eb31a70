"""
A blend as bytes on a disk, and back, to the pixel.

What is packed holds controls and what draws the pictures; a camera's notes about time and place
were left behind when they were read.
"""

import json
import struct
import sys
from dataclasses import fields
from typing import Any

from backends.engines.fusion import Blend, Finished, Fused
from backends.engines.fusion.marking import as_png, marked
from backends.engines.picture import Picture, PictureLimits
from backends.engines.pictures import read_picture
from backends.errors import BadInput

_HEAD = struct.Struct("<4sIII")  # our letters; bytes of controls, source, target
_LETTERS = b"QJ1\n"
_BROKEN = (BadInput, OSError, RecursionError, SyntaxError, TypeError, ValueError, struct.error)
_CONTROLS = tuple(f.name for f in fields(Blend) if f.name not in ("source", "target"))


def pack(item: Blend) -> bytes:
    controls = json.dumps({name: getattr(item, name) for name in _CONTROLS}).encode()
    source, target = item.source.as_file(), item.target.as_file()
    head = _HEAD.pack(_LETTERS, len(controls), len(source), len(target))
    return b"".join((head, controls, source, target))


def unpack(data: bytes) -> Blend:
    """The same blend. Raises ValueError for bytes that `pack` did not write."""
    try:
        return _unpacked(data)
    except _BROKEN as error:
        raise ValueError("not a packed blend") from error


def _unpacked(data: bytes) -> Blend:
    letters, *lengths = _HEAD.unpack_from(data)
    if letters != _LETTERS or len(data) != _HEAD.size + sum(lengths):
        raise ValueError("not a packed blend")
    at = _HEAD.size
    parts = []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    controls: dict[str, Any] = json.loads(parts[0])
    return Blend(_picture(parts[1]), _picture(parts[2]), **controls)


def finish(output: Fused | Finished) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """What the owner gets: a marked PNG, and what to say beside it."""
    notes = tuple((note.en, note.zh) for note in output.notes)
    if isinstance(output, Finished):
        return output.file, notes
    return as_png(marked(output.picture)), notes


def _picture(data: bytes) -> Picture:
    """The caps held when it was read first; here it is our own."""
    return read_picture(data, limits=PictureLimits(bytes=len(data), pixels=sys.maxsize))
