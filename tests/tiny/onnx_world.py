"""
Portraits whose faces the tiny detector knows, and the ONNX route loaded on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backends.engines import fusion
from backends.engines.faces import Face, Pixels
from backends.engines.fusion import MODELS, Blend, Fused, Look
from backends.engines.fusion.onnx_swap import InSwapper
from backends.engines.picture import Picture
from backends.settings import Batching, Inswapper, Models, Settings
from tests.portraits import face_of, photo, picture_of
from tests.tiny import onnx_faces
from tests.tiny.onnx_faces import Planted


@dataclass(frozen=True)
class World:
    """The pictures whose faces the tiny detector knows, and folders of tiny models."""

    hopper: Picture
    astronaut: Picture
    pair: Picture
    same: Path  # its swapper gives the target back
    mixes: Path  # its swapper mixes in half of a colour of the identity


def build(folder: Callable[[str], Path]) -> World:
    """`folder` makes one, of this name."""
    hopper, astronaut = photo("hopper.jpg"), photo("astronaut.png")
    sample = fusion.sample()[0]
    known = [hopper, astronaut, sample.source, sample.target]
    faces = [planted(each.array()) for each in known]
    both = np.zeros((600, 1024, 3), np.uint8)
    both[:600, :512] = hopper.array()
    both[:512, 512:] = astronaut.array()
    faces += [moved(faces[0], both, 0), moved(faces[1], both, 512)]
    folders = []
    for share in (0.0, 0.5):
        where = folder("models")
        onnx_faces.build(where / fusion.INSWAPPER, faces, share)
        folders.append(where)
    return World(hopper, astronaut, picture_of(both), *folders)


def planted(picture: Pixels) -> Planted:
    face: Face = face_of(picture)
    return Planted(picture, face.box, face.five)


def moved(face: Planted, picture: Pixels, right: int) -> Planted:
    x0, y0, x1, y1 = face.box
    return Planted(picture, (x0 + right, y0, x1 + right, y1), face.five + np.float32([right, 0]))


def loaded(folder: Path, device: str = "cpu", **swap: Any) -> InSwapper:
    load = MODELS["inswapper"].load
    assert load is not None
    engine = load(
        Settings(
            models=Models(folder=folder, device=device),
            batching=Batching(engine_threads=1),
            inswapper=Inswapper(**swap),
        )
    )
    assert isinstance(engine, InSwapper)
    return engine


def go_on(index: int, part: Any) -> bool:
    return True


def run(engine: InSwapper, item: Blend | Look) -> Any:
    (output,) = engine.run([item], go_on)
    return output


def change(made: Fused, target: Picture) -> np.ndarray:
    return np.abs(made.picture.array().astype(int) - target.array()).max(2)
