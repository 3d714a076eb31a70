"""
From a face in a picture to the square that a network knows, and back. Pure arrays.

A square is found by five points (both eyes, nose, mouth corners; the picture's left first), laid
on the places that a network was trained with by the similarity that fits best. Pixels are RGB.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from backends.engines.faces import Floats, Pixels

Matrix = NDArray[np.float64]
"""2 × 3: a point of the picture to a point of the square."""

# As published with the networks: ArcFace's template on 112 pixels, and FFHQ's on 512.
_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_FFHQ = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
ARCFACE_112 = _ARCFACE / 112  # in sides of the square
ARCFACE_128 = (_ARCFACE + np.array([8, 0])) / 128
FFHQ_512 = _FFHQ / 512

_OVAL = (0.44, 0.49)  # half axes of a face in a square of ARCFACE_128, ears left out
_BROWS = 0.28  # height of the brows in a square of ARCFACE_128
_MOUTH = (0.501, 0.721)
_LIPS = (0.17, 0.12)  # half axes of an ellipse around them


def fitted(five: Floats, template: NDArray[np.float64], side: int) -> Matrix:
    """The similarity (turn, scale, shift) that lays the points on the template best (Umeyama)."""
    points, wanted = np.asarray(five, np.float64), template * side
    middle, goal = points.mean(0), wanted.mean(0)
    here, there = points - middle, wanted - goal
    u, sizes, v = np.linalg.svd(there.T @ here / len(points))
    straight = np.array([1.0, np.sign(np.linalg.det(u @ v))])  # a face is never mirrored
    turn = u @ np.diag(straight) @ v
    scale = (sizes * straight).sum() / max(here.var(0).sum(), 1e-12)
    return np.concatenate([scale * turn, (goal - scale * turn @ middle)[:, None]], 1)


def scale_of(matrix: Matrix) -> float:
    """Pixels of the square for one of the picture."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def cut(picture: Pixels, matrix: Matrix, side: int) -> Pixels:
    """The square's pixels; beyond the picture's edge its last pixels go on."""
    shrink = int(1 / max(scale_of(matrix), 1e-6))
    if shrink > 1:  # bilinear sampling alone would skip pixels
        size = (max(1, picture.shape[1] // shrink), max(1, picture.shape[0] // shrink))
        by = np.array([picture.shape[1] / size[0], picture.shape[0] / size[1]])
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        smaller = matrix.copy()  # a pixel's number is its centre: p = by · (q + ½) − ½
        smaller[:, 2] += matrix[:, :2] @ ((by - 1) / 2)
        smaller[:, :2] = matrix[:, :2] * by
        picture, matrix = small, smaller
    pixels = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(pixels, np.uint8)


def bounds(shape: tuple[int, ...], matrix: Matrix, side: int) -> tuple[int, int, int, int]:
    """The picture's pixels (left, top, right, bottom) that the square covers."""
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    back = cv2.invertAffineTransform(matrix)
    at = corners @ back[:, :2].T + back[:, 2]
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(at.min(0)), 0, limit).astype(int)
    high = np.clip(np.ceil(at.max(0)) + 1, 0, limit).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def laid_back(square: Floats, matrix: Matrix, box: tuple[int, int, int, int]) -> Floats:
    """The square in the picture's own pixels within the box; its edge goes on beyond it."""
    left, top, right, bottom = box
    back = np.asarray(cv2.invertAffineTransform(matrix))
    back[:, 2] -= (left, top)
    pixels = cv2.warpAffine(
        square,
        back,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(pixels, np.float32)


def face_region(side: int, mouth: str = "source", forehead: float | None = None) -> Floats:
    """
    How much of a square of ARCFACE_128 is the face, 0 to 1: round, fading, zero at the rim.
    Without the mouth where it is to stay the target's; `forehead` 0 ends at the brows.
    """
    at = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(at, at)
    away = (np.abs(x - 0.5) / _OVAL[0]) ** 3 + (np.abs(y - 0.5) / _OVAL[1]) ** 3
    part = _faded((1 - np.cbrt(away)) / 0.28)
    if forehead is not None and forehead < 1:
        part *= _faded((y - _BROWS * (1 - forehead) + 0.04) / 0.08)
    if mouth == "target":
        across, down = (x - _MOUTH[0]) / _LIPS[0], (y - _MOUTH[1]) / _LIPS[1]
        part *= _faded((np.hypot(across, down) - 1) / 0.5)
    return np.asarray(part, np.float32)


def _faded(ramp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothly from 0 to 1 where the ramp does."""
    ramp = np.clip(ramp, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def planes(pixels: Pixels, scale: float, middle: float = 0.0) -> Floats:
    """Height × width × 3 bytes to 1 × 3 × height × width: (byte − middle) / scale."""
    values = (pixels.astype(np.float32) - middle) / scale
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)
