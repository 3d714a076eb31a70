"""
Faces to try fusion on, made from two free portraits: other heads, turned heads, a group.

A mirrored, recoloured copy of one face is not a second face: jaw, chin, nose and eyes must be
others. So the mesh is moved and the photo with it.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from backends.engines.faces import CHIN, FOREHEAD, Face, Floats, Pixels, shared_finder
from backends.engines.fusion import geometry
from backends.engines.picture import Picture
from backends.engines.pictures import read_picture

PHOTOS = Path(__file__).parent / "photos"


def photo(name: str) -> Picture:
    return read_picture((PHOTOS / name).read_bytes())


def picture_of(pixels: Pixels | Image.Image) -> Picture:
    pixels = np.asarray(pixels)
    return Picture(pixels.shape[1], pixels.shape[0], pixels.tobytes())


def face_of(pixels: Pixels) -> Face:
    """The only face."""
    (face,) = shared_finder().find(pixels)
    return face


def another_head(
    pixels: Pixels,
    jaw: float = 0.16,
    nose: float = 0.2,
    eyes: float = 0.12,
    tall: float = 0.08,
) -> Pixels:
    """The photo of somebody else: another jaw, chin, nose and distance of the eyes; darker."""
    face = face_of(pixels)
    at = face.landmarks[:, :2].astype(np.float64)
    up = at[FOREHEAD] - at[CHIN]
    up /= np.linalg.norm(up)
    right = np.array([-up[1], up[0]])
    centre = at[geometry.OVAL].mean(0)
    x, y = (at - centre) @ right, (at - centre) @ up
    wide, high = np.ptp(x), np.ptp(y)

    def near(point: int, reach: float) -> np.ndarray:
        return np.exp(-((at - at[point]) ** 2).sum(1) / (reach * wide) ** 2)

    low = np.clip(-y / (high * 0.5), 0, 1)
    moved = x * (1 + jaw * low) + nose * (near(98, 0.1) + near(327, 0.1)) * (x - x[4])
    for eye in (159, 386):
        moved -= eyes * near(eye, 0.16) * np.sign(x[eye]) * wide * 0.25
    placed = centre + np.outer(moved, right) + np.outer(y * (1 + tall * low), up)
    head = _moved(pixels, at.astype(np.float32), placed.astype(np.float32))
    dark = 255 * (head[:, ::-1] / 255.0) ** 1.4
    return np.ascontiguousarray(np.rint(dark).astype(np.uint8))


def turned_head(pixels: Pixels, degrees: float) -> Pixels:
    """The same head, turned by so many degrees more to the picture's right."""
    face = face_of(pixels)
    return _moved(pixels, face.landmarks[:, :2], turned_points(face, degrees)[:, :2])


def turned_points(face: Face, degrees: float) -> Floats:
    """The mesh of the face, turned about its middle."""
    angle = np.radians(degrees)
    middle = face.landmarks[geometry.OVAL].mean(0)
    x, y, z = (face.landmarks - middle).T
    turned = (x * np.cos(angle) - z * np.sin(angle), y, x * np.sin(angle) + z * np.cos(angle))
    return np.asarray(np.stack(turned, 1) + middle, np.float32)


def _moved(pixels: Pixels, points: Floats, placed: Floats) -> Pixels:
    """The photo with its mesh `points` moved to `placed`, and everything far away still."""
    still = geometry.with_rings(points)
    placing = geometry.pinned(geometry.with_rings(placed), still)
    warp = geometry.warp(placing, pixels.shape[:2], 1)
    where = warp.map_to(still)
    ys, xs = np.mgrid[: pixels.shape[0], : pixels.shape[1]].astype(np.float32)
    where = np.where(warp.inside[..., None], where, np.stack([xs, ys], -1))
    read = cv2.remap(
        pixels,
        np.ascontiguousarray(where[..., 0]),
        np.ascontiguousarray(where[..., 1]),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(read, np.uint8)


@cache
def group() -> Pixels:
    """Six people in one picture, 1500 × 1000: warped, scaled and tilted copies of two."""
    astronaut, hopper = photo("astronaut.png").array(), photo("hopper.jpg").array()
    people = (
        (astronaut, 1.0, 0),
        (another_head(hopper), 0.8, 12),
        (another_head(astronaut, jaw=-0.12, nose=-0.1, eyes=-0.1, tall=0.12), 0.7, -20),
        (hopper, 0.45, 25),
        (another_head(astronaut), 0.85, -8),
        (another_head(hopper, jaw=-0.1, nose=-0.15, eyes=-0.08, tall=-0.06), 0.55, 0),
    )
    canvas = Image.new("RGB", (1500, 1000), (70, 80, 95))
    for at, (pixels, scale, tilt) in enumerate(people):
        copy = Image.fromarray(pixels)
        size = (round(copy.width * scale), round(copy.height * scale))
        copy = copy.resize(size, Image.Resampling.LANCZOS)
        copy = copy.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=(70, 80, 95))
        canvas.paste(copy.crop((0, 0, 490, 490)), (at % 3 * 500, at // 3 * 500))
    return np.asarray(canvas)
