"""
Where every point of one face lies on another: the mesh as triangles, and the maps they make.

Pure arrays. A *placing* is 468 mesh points and three rings of 36 points around them, each an
x and a y in pixels of a working picture; a *map* says for every pixel of the fused picture where
to read in another one.
"""

import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backends.engines.faces import ASSETS, CHIN, FOREHEAD, Floats

Index = NDArray[np.int32]

# Points of the mesh that bound one feature each, corner to corner below, then back above.
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
TEETH = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
_NOSE_RIDGE = (6, 168, 197, 195, 5, 4, 1, 2, 98, 327, 10, 9, 8, 151)

RINGS = (1.10, 1.25, 1.6)  # around the oval, as multiples of its radius; the last one never moves
REACH = RINGS[-1] * 1.06


def _topology() -> tuple[Index, Index, Index]:
    read = json.loads((ASSETS / "topo.json").read_text(encoding="utf-8"))
    triangles, oval, mirror = (
        np.array(read[name], np.int32) for name in ("tris", "oval", "mirror")
    )
    return triangles, oval, mirror


MESH, OVAL, MIRROR = _topology()  # triangles; the outline; each point's twin on the other side


def _fill(ring: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles that close the hole inside a ring, such as an eye."""
    half = len(ring) // 2
    below = ring[: half + 1]
    above = (ring[0], *ring[: half - 1 : -1])
    return [
        triangle
        for i in range(half)
        for triangle in (
            (below[i], below[i + 1], above[i + 1]),
            (below[i], above[i], above[i + 1]),
        )
        if len(set(triangle)) == 3
    ]


def _surround() -> list[tuple[int, int, int]]:
    """Triangles from the oval outwards, ring by ring."""
    triangles = []
    inner = [int(point) for point in OVAL]
    for ring in range(len(RINGS)):
        outer = [468 + ring * len(OVAL) + i for i in range(len(OVAL))]
        for i in range(len(OVAL)):
            j = (i + 1) % len(OVAL)
            triangles += [(inner[i], inner[j], outer[i]), (inner[j], outer[j], outer[i])]
        inner = outer
    return triangles


_TRIANGLES: Index = np.array(
    [*MESH.tolist(), *_fill(RIGHT_EYE), *_fill(LEFT_EYE), *_fill(TEETH), *_surround()], np.int32
)


def with_rings(points: Floats) -> Floats:
    """468 × 2 points to a placing."""
    centre = points[OVAL].mean(0)
    rings = [centre + (points[OVAL] - centre) * radius for radius in RINGS]
    return np.concatenate([points, *rings], dtype=np.float32)


def on_rings(values: Floats) -> Floats:
    """A value for each of 468 points to one for each point of a placing."""
    return np.concatenate([values, *[values[OVAL]] * len(RINGS)], dtype=np.float32)


def pinned(moved: Floats, still: Floats) -> Floats:
    """The placing `moved` whose outermost ring stays where it is, and the next one halfway."""
    size = len(OVAL)
    held = moved.copy()
    held[-size:] = still[-size:]
    held[-2 * size : -size] = (moved[-2 * size : -size] + still[-2 * size : -size]) / 2
    return held


def fused_points(source: Floats, target: Floats, amount: float, width: float) -> Floats:
    """
    The target's points (468 × 2), moved by `amount` (0 to 1) towards the source's face in the
    target's pose and size. Mouth and eyes move less: they carry the target's expression.
    """
    rigid = np.r_[OVAL, RIGHT_EYE, LEFT_EYE, _NOSE_RIDGE]
    scale, turn, shift = _similarity(source[rigid].astype(float), target[rigid].astype(float))
    posed = (scale * (turn @ source.T).T + shift)[:, :2]
    weight = np.ones(468)
    weight[list(LIPS + TEETH)] = 0.35
    weight[list(RIGHT_EYE + LEFT_EYE)] = 0.55
    part = smooth(weight, target, 0.05 * width)[:, None]
    at = target[:, :2]
    return np.asarray(at + amount * part * (posed - at), np.float32)


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation and shift that lay points on points best, in three dimensions (Umeyama)."""
    from_centre, to_centre = source.mean(0), target.mean(0)
    a, b = source - from_centre, target - to_centre
    u, spread, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    turn = (u * signs) @ vt
    scale = float((spread * signs).sum() / (a**2).sum())
    return scale, turn, to_centre - scale * turn @ from_centre


def smooth(values: NDArray[np.floating], points: Floats, reach: float) -> Floats:
    """Each point's value averaged with its neighbours', by their distance in pixels."""
    apart = np.linalg.norm(points[:, None, :2] - points[None, :, :2], axis=2)
    near = np.exp(-((apart / reach) ** 2))
    return np.asarray((near @ values) / near.sum(1), np.float32)


def facing(points: Floats) -> Floats:
    """How much each mesh point's skin faces the camera: 1 straight, 0 edge-on, below 0 hidden."""
    corners = points[MESH]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = np.zeros((468, 3))
    for corner in range(3):
        np.add.at(normal, MESH[:, corner], across)
    z = normal[:, 2] / (np.linalg.norm(normal, axis=1) + 1e-9)
    return np.asarray(z * np.sign(np.median(z)), np.float32)


def forehead_height(points: Floats) -> Floats:
    """0 on and below the line of the brows, 1 at the top of the mesh, for each mesh point."""
    at = points[:, :2]
    up = at[FOREHEAD] - at[CHIN]
    up = up / np.linalg.norm(up)
    across, height = at @ np.array([-up[1], up[0]]), at @ up
    brows = np.array(RIGHT_BROW[5:] + LEFT_BROW[5:])
    brows = brows[np.argsort(across[brows])]
    line = np.interp(across, across[brows], height[brows]) + 0.012 * np.ptp(height)
    top = height[[10, 338, 109, 67, 297]].max()
    part = (height - line) / np.maximum(top - line, 1e-3)
    return np.asarray(np.clip(part, 0, 1), np.float32)


def opening(points: Floats) -> float:
    """How far the mouth is open, in widths of the mouth."""
    at = points[:, :2]
    return float(np.linalg.norm(at[13] - at[14]) / np.linalg.norm(at[78] - at[308]))


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """
    The fused placing, drawn: `triangle` says which one each pixel lies in (-1: none), at
    1/`coarse` of the picture's size; `inside` is true where one was drawn, at full size.
    """

    placing: Floats
    shape: tuple[int, int]
    coarse: int
    triangle: Index
    inside: NDArray[np.bool_]

    def map_to(self, placing: Floats) -> Floats:
        """For each pixel its place (x, y) in a picture where the face lies by `placing`."""
        return self._spread(placing)

    def paint(self, values: Floats) -> Floats:
        """A value for each mesh point, spread over the pixels between them; 0 outside."""
        values = on_rings(values) if len(values) == 468 else values
        painted = self._spread(np.stack([values, values], 1))[..., 0]
        return np.where(self.inside, painted, 0).astype(np.float32)

    def _spread(self, values: Floats) -> Floats:
        """Two values a point, straight-edged within each triangle."""
        fine = _shrunk(self.placing, self.coarse)
        corners = np.concatenate(
            [fine[_TRIANGLES], np.ones((len(_TRIANGLES), 3, 1), np.float32)], 2, dtype=np.float64
        )
        corners[np.abs(np.linalg.det(corners)) < 1e-3] = np.eye(3)  # no area: never drawn
        slopes = np.linalg.solve(corners, values[_TRIANGLES].astype(np.float64))
        which = np.maximum(self.triangle, 0)
        of_pixel = slopes.astype(np.float32)[which]
        ys, xs = np.mgrid[: which.shape[0], : which.shape[1]].astype(np.float32)
        spread = xs[..., None] * of_pixel[..., 0, :] + ys[..., None] * of_pixel[..., 1, :]
        spread += of_pixel[..., 2, :]
        # A thin triangle is drawn wider than it is; what it says must not run away there.
        at_corners = values[_TRIANGLES]
        low, high = at_corners.min(1), at_corners.max(1)
        spare = (high - low) * 0.5
        np.clip(spread, (low - spare)[which], (high + spare)[which], out=spread)
        spread[self.triangle < 0] = -1e4
        return self._enlarged(spread)

    def _enlarged(self, spread: Floats) -> Floats:
        if self.coarse == 1:
            return spread
        middle = (self.coarse - 1) / 2
        matrix = np.array([[self.coarse, 0, middle], [0, self.coarse, middle]], np.float32)
        height, width = self.shape
        large = cv2.warpAffine(
            spread, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(large, np.float32)


def warp(placing: Floats, shape: tuple[int, int], coarse: int) -> Warp:
    """Draw the fused placing into a picture of that height and width."""
    height, width = shape
    size = (-(-height // coarse), -(-width // coarse))
    triangle = _drawn(_shrunk(placing, coarse), size)
    # One coarse pixel less: an enlarged map mixes the outermost one with what lies outside.
    covered = cv2.erode((triangle >= 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    covered = cv2.resize(covered, (width, height), interpolation=cv2.INTER_NEAREST)
    return Warp(placing, shape, coarse, triangle, np.asarray(covered) > 0)


def _shrunk(placing: Floats, coarse: int) -> Floats:
    """The placing in a picture of 1/`coarse` the size; a pixel's number is its centre."""
    return np.asarray(placing / coarse - (coarse - 1) / 2 / coarse, np.float32)


def _drawn(placing: Floats, shape: tuple[int, int]) -> Index:
    """The number of the triangle on top at each pixel, -1 where there is none."""
    canvas = np.full(shape, -1, np.int32)
    fixed = np.round(placing * 16).astype(np.int32)  # sixteenths of a pixel
    core = len(MESH)
    corners = placing[_TRIANGLES[:core]]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    hidden = area * np.sign(np.median(area)) <= 0
    order = [  # rings from outside in, holes, then skin; what faces the camera goes on top
        *range(len(_TRIANGLES) - 1, core - 1, -1),
        *np.flatnonzero(hidden),
        *np.flatnonzero(~hidden),
    ]
    for number in order:
        cv2.fillConvexPoly(canvas, fixed[_TRIANGLES[number]], int(number), cv2.LINE_8, 4)
    return canvas
