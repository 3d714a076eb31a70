"""A blend on a disk is the blend that was sent, to the pixel."""

import numpy as np
import pytest

from backends.engines.fusion import Blend, Fused
from backends.engines.fusion.marking import STATEMENT
from backends.engines.fusion.packing import finish, pack, unpack
from backends.engines.pictures import Note, Picture


def noise(width: int, height: int, seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Picture(width, height, pixels.tobytes())


def blend(**controls: object) -> Blend:
    return Blend(noise(40, 30, 1), noise(17, 64, 2), **controls)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "controls",
    [
        {},
        {"source_face": 2, "target_face": 0, "blend": 0.1, "shape": 0.9, "light": 0.0},
        {"mouth": "target", "forehead": 0.3},
    ],
)
def test_a_blend_comes_back_as_it_was(controls: dict[str, object]) -> None:
    item = blend(**controls)
    assert unpack(pack(item)) == item


def test_what_was_cut_short_is_not_taken_for_a_blend() -> None:
    packed = pack(blend())
    picture, controls = packed.index(b"\x89PNG"), packed.index(b"{")
    for damaged in (
        b"",
        packed[:9],
        packed[:-1],
        packed + b"x",
        b"JUNK" + packed[4:],
        packed[:picture] + b"rubbish!" + packed[picture + 8 :],
        packed[:controls] + b"[" + packed[controls + 1 :],
        packed.replace(b'"blend": 0', b'"blend": 9'),
    ):
        with pytest.raises(ValueError, match="not a packed blend"):
            unpack(damaged)


def test_the_owner_gets_a_marked_picture_and_the_notes() -> None:
    picture = noise(200, 150, 3)
    file, notes = finish(Fused(picture, (Note("It may look flat.", "可能不够立体。"),)))
    assert file.startswith(b"\x89PNG")
    assert STATEMENT.encode() in file
    assert notes == (("It may look flat.", "可能不够立体。"),)
