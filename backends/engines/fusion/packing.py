"""
A blend as bytes on a disk, and back: pixels as PNG, so that nothing is lost or added.

What is packed holds pixels and controls only; a camera's notes about time and place were left
behind when the picture was read.
"""

import json
import struct
from dataclasses import fields
from io import BytesIO
from typing import Any

from PIL import Image

from backends.engines.fusion import Blend, Fused
from backends.engines.fusion.marking import as_png, marked
from backends.engines.picture import Picture
from backends.errors import BadInput

_HEAD = struct.Struct("<4sIII")  # our letters; bytes of controls, source, target
_LETTERS = b"QJ1\n"
_BROKEN = (BadInput, OSError, RecursionError, SyntaxError, TypeError, ValueError, struct.error)
_CONTROLS = tuple(f.name for f in fields(Blend) if f.name not in ("source", "target"))


def pack(item: Blend) -> bytes:
    controls = json.dumps({name: getattr(item, name) for name in _CONTROLS}).encode()
    source, target = _png(item.source), _png(item.target)
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


def finish(output: Fused) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """What the owner gets: a marked PNG, and what to say beside it."""
    notes = tuple((note.en, note.zh) for note in output.notes)
    return as_png(marked(output.picture)), notes


def _png(picture: Picture) -> bytes:
    file = BytesIO()
    picture.image().save(file, "PNG", compress_level=1)  # a fifth of the pixels' bytes, quickly
    return file.getvalue()


def _picture(data: bytes) -> Picture:
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        return Picture(image.width, image.height, image.convert("RGB").tobytes())
