"""
SCRFD: boxes and five points of every face, from one look at a picture of at most 640 pixels.

The file is InsightFace's detector with points: nine outputs, for cells of 8, 16 and 32 pixels
their scores, boxes and points, two anchors a cell. Which face it is, nobody here knows.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from backends.engines.faces import Floats, Pixels
from backends.engines.fusion.alignment import planes
from backends.engines.fusion.onnx_files import Network

SIDE = 640
STRIDES = (8, 16, 32)
ANCHORS = 2
MIN_SCORE = 0.5
MAX_OVERLAP = 0.4
# How far a nose stands out, in distances between the eyes: so far it moves when a head turns.
# Fitted to the meshes of our two portraits, turned by −35° to 35°.
_NOSE = 0.67


@dataclass(frozen=True, slots=True, eq=False)
class FivePoints:
    """
    One face, in the units of `faces.Face`. `five` are both eyes, nose, mouth corners, the
    picture's left first; `presence` is the score again: nobody else has looked.
    """

    box: tuple[float, float, float, float]
    score: float
    five: Floats

    @property
    def presence(self) -> float:
        return self.score

    @property
    def size(self) -> float:
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, 0.8 * (y1 - y0))  # a face seen from the side keeps its height

    @property
    def yaw(self) -> float:
        """Degrees, positive when the person looks to the picture's right: from the nose."""
        eyes, mouth = self.five[:2], self.five[3:]
        down = mouth.mean(0) - eyes.mean(0)
        down = down / max(float(np.linalg.norm(down)), 1e-6)
        across = np.array([down[1], -down[0]])
        moved = float((self.five[2] - eyes.mean(0)) @ across)
        apart = max(float((eyes[1] - eyes[0]) @ across), 1e-6)
        return float(np.degrees(np.arctan2(moved / _NOSE, apart)))


class Scrfd:
    """Loaded. `find` may be called from any number of threads at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._input = network.one_input(4, (3, SIDE, SIDE))
        self._cells = [_cells(stride) for stride in STRIDES]
        wanted = [(len(cells), last) for last in (1, 4, 10) for cells in self._cells]
        blank = np.zeros((1, 3, SIDE, SIDE), np.float32)
        got = [made.shape[-2:] for made in network.run(**{self._input: blank})]
        if got != wanted:
            raise network.wrong(f"is no SCRFD with five points (it has {len(got)} outputs)")

    def find(self, picture: Pixels) -> tuple[FivePoints, ...]:
        """Every face of the picture (height × width × 3, RGB, uint8), the largest first."""
        canvas, scale = _letterbox(picture)
        given = planes(canvas, 128, 127.5)
        made = self._network.run(**{self._input: given})
        hits = np.concatenate(
            [
                _decoded(made[n :: len(STRIDES)], cells, stride)
                for n, (stride, cells) in enumerate(zip(STRIDES, self._cells, strict=True))
            ]
        )
        faces = [_face(hit, scale) for hit in _distinct(hits)]
        return tuple(sorted(faces, key=_area, reverse=True))


def _area(face: FivePoints) -> float:
    x0, y0, x1, y1 = face.box
    return (x1 - x0) * (y1 - y0)


def _letterbox(picture: Pixels) -> tuple[Pixels, tuple[float, float]]:
    """The picture in the upper left of a square, and its pixels for one there, each way."""
    high, wide = picture.shape[:2]
    ratio = SIDE / max(high, wide)
    size = (max(1, int(wide * ratio)), max(1, int(high * ratio)))
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=method)
    return canvas, (wide / size[0], high / size[1])


def _cells(stride: int) -> Floats:
    """The anchors' corners in pixels of the square, row by row, each as often as it has anchors."""
    side = SIDE // stride
    ys, xs = np.mgrid[:side, :side]
    corners = np.stack([xs, ys], -1).reshape(-1, 2) * stride
    return np.asarray(corners.repeat(ANCHORS, 0), np.float32)


def _decoded(made: list[Floats], cells: Floats, stride: int) -> Floats:
    """A row a hit: box, five points, score; in pixels of the square."""
    scores, boxes, points = made
    rows = scores.reshape(-1)
    keep = rows >= MIN_SCORE
    at = cells[keep]
    away = boxes.reshape(-1, 4)[keep] * stride
    five = points.reshape(-1, 5, 2)[keep] * stride + at[:, None]
    return np.concatenate(
        [at - away[:, :2], at + away[:, 2:], five.reshape(-1, 10), rows[keep][:, None]],
        1,
        dtype=np.float32,
    )


def _distinct(hits: Floats) -> list[Floats]:
    """The surest of those that lie on each other."""
    kept: list[Floats] = []
    for hit in hits[np.argsort(-hits[:, -1], kind="stable")]:
        if _may_be(hit) and all(_overlap(hit, other) < MAX_OVERLAP for other in kept):
            kept.append(hit)
    return kept


def _may_be(hit: Floats) -> bool:
    """Whether its five points lie apart, and near its box: nothing can be laid on others."""
    if not np.isfinite(hit).all():
        return False
    low, high, five = hit[:2], hit[2:4], hit[4:14].reshape(-1, 2)
    size = float((high - low).max())
    near = (five > low - size).all() and (five < high + size).all()
    return bool(near and np.ptp(five, axis=0).max() > 0.1 * size)


def _overlap(one: Floats, other: Floats) -> float:
    """Of both boxes' common area, the part that both cover."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:4], other[2:4])
    common = float(np.clip(high - low, 0, None).prod())
    both = float((one[2:4] - one[:2]).prod() + (other[2:4] - other[:2]).prod()) - common
    return common / max(both, 1e-6)


def _face(hit: Floats, scale: tuple[float, float]) -> FivePoints:
    at = hit[:14].reshape(-1, 2) * np.asarray(scale, np.float32)
    five = at[2:].copy()
    five.setflags(write=False)
    (x0, y0), (x1, y1) = at[:2].tolist()
    return FivePoints((x0, y0, x1, y1), float(hit[-1]), five)
