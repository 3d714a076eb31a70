"""
Faces in a picture: where each one is, its 468 points in three dimensions, how far it is turned.

BlazeFace finds boxes, in the whole frame and in overlapping windows of it; FaceMesh places the
points and says whether there is a face at all. Both are small ONNX files beside this module
(see `assets/faces/NOTICE.md`) and run on one thread of a CPU. Whose face it is, nobody here
knows: nothing in this module tells one person from another.

Finds: frontal faces at any roll; most profiles to about 50°; faces from about 17 pixels wide and,
in a large picture, from about one fortieth of its longer side.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, pi
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]  # height × width × 3, RGB
Floats: TypeAlias = NDArray[np.float32]

ASSETS = Path(__file__).parent / "assets" / "faces"

_WINDOW = 256  # BlazeFace's input side
_CROP = 192  # FaceMesh's input side
_LONGEST = 1024  # four windows of 256: nothing is looked at more closely than that
_MIN_SCORE = 0.5
# The mesh believes in a cat's face and in a rocket's smoke now and then, so a face must pass three
# trials. Our two portraits at any roll: presence over 0.998; drift at most 0.016 and disagreement
# at most 0.17 of the face's width. Profiles disagree more.
_MIN_PRESENCE = 0.99
_MAX_DRIFT = 0.03
_MAX_DISAGREEMENT = 0.35
_HIT = 17  # a box, six points, a score

# Points of the mesh, by the numbers that FaceMesh gives them. "Right" is the person's right.
RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS = (33, 133), (362, 263)
RIGHT_CHEEK, LEFT_CHEEK, NOSE, FOREHEAD, CHIN = 234, 454, 4, 10, 152
RIGHT_MOUTH, LEFT_MOUTH = 61, 291
_DETECTED = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS, (NOSE,), (13, 14))  # by BlazeFace too, in order


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """
    One face. Pixels of the picture it was found in, x to the right, y down.

    `box` (x0, y0, x1, y1) surrounds the mesh and may reach over the picture's edge; `score` is
    the detector's, `presence` the mesh's own (0 to 1); `landmarks` are 468 × (x, y, depth),
    read-only. Degrees: `yaw` is positive when the person looks to the picture's right, `roll`
    when the head is tilted clockwise as seen in the picture. `size` is the width in pixels that
    the face has, or would have from the front.
    """

    box: tuple[float, float, float, float]
    score: float
    presence: float
    landmarks: Floats
    yaw: float
    roll: float
    size: float

    @property
    def area(self) -> float:
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)

    @property
    def five(self) -> Floats:
        """Both eyes, nose, mouth corners, as 5 × (x, y): the picture's left eye first."""
        at = self.landmarks[:, :2]
        eyes = [at[list(pair)].mean(0) for pair in (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)]
        return np.stack([*eyes, at[NOSE], at[RIGHT_MOUTH], at[LEFT_MOUTH]]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _View:
    """A square of the picture, turned by `angle` (radians, clockwise), that fills a crop."""

    x: float  # centre
    y: float
    side: float
    angle: float = 0.0

    def frame(self, crop: int) -> tuple[Floats, Floats]:
        """Crop pixels p to picture pixels: p @ turn + origin."""
        unit = self.side / crop
        c, s = np.cos(self.angle) * unit, np.sin(self.angle) * unit
        turn = np.array([[c, s], [-s, c]], np.float32)
        half = np.full(2, crop / 2, np.float32)
        return turn, np.array([self.x, self.y], np.float32) - half @ turn

    def crop(self, picture: Image.Image, crop: int) -> Image.Image:
        """The square's pixels, averaged where it shrinks; black beyond the picture's edge."""
        if self.angle:
            return self._turned(picture, crop)
        x0, y0 = self.x - self.side / 2, self.y - self.side / 2
        x1, y1 = x0 + self.side, y0 + self.side
        left, top = floor(x0), floor(y0)
        around = picture.crop((left, top, ceil(x1), ceil(y1)))
        box = (x0 - left, y0 - top, x1 - left, y1 - top)
        return around.resize((crop, crop), Image.Resampling.BILINEAR, box=box)

    def _turned(self, picture: Image.Image, crop: int) -> Image.Image:
        reach = self.side * 0.75  # more than half the square's diagonal
        x0, y0 = round(self.x - reach), round(self.y - reach)
        around = picture.crop((x0, y0, round(self.x + reach), round(self.y + reach)))
        shrink = max(1.0, self.side / crop / 1.5)  # bilinear sampling skips pixels beyond that
        if shrink > 1:
            size = (max(1, round(around.width / shrink)), max(1, round(around.height / shrink)))
            kx, ky = size[0] / around.width, size[1] / around.height
            around = around.resize(size, Image.Resampling.BOX)
        else:
            kx = ky = 1.0
        turn, origin = self.frame(crop)
        (a, d), (b, e) = turn
        c, f = origin - (x0, y0)
        matrix = (a * kx, b * kx, c * kx, d * ky, e * ky, f * ky)
        return around.transform(
            (crop, crop), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )


class FaceFinder:
    """Both networks, loaded. `find` may be called from any number of threads at once."""

    def __init__(self, folder: Path = ASSETS) -> None:
        self._detector = _session(folder / "blazeface_back_256.onnx")
        self._mesh = _session(folder / "facemesh_192.onnx")
        self._anchors = _anchors()

    def find(self, picture: Pixels) -> tuple[Face, ...]:
        """Every face of the picture (height × width × 3, RGB, uint8), the largest first."""
        image = Image.fromarray(picture)
        found: list[Face] = []
        for hit in self._hits(image):  # the surest first; a face may be hit at several rolls
            if any(_holds(face, hit) for face in found):
                continue
            face = self._fit(image, hit)
            if face is not None and not any(_same(face, other) for other in found):
                found.append(face)
        return tuple(sorted(found, key=lambda face: -face.area))

    def _hits(self, image: Image.Image) -> Floats:
        """What the detector sees, one row a face, in pixels of the whole picture."""
        scale = max(1.0, max(image.size) / _LONGEST)
        small = image
        if scale > 1:
            size = (round(image.width / scale), round(image.height / scale))
            small = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
        width, height = small.size
        hits = np.concatenate([self._look(small, view) for view in _views(width, height)])
        hits = _merged(hits)
        hits[:, : _HIT - 1] *= image.width / width
        return hits

    def _look(self, image: Image.Image, view: _View) -> Floats:
        """The faces in one window, one row each, in pixels of the picture."""
        pixels = np.asarray(view.crop(image, _WINDOW), np.float32)
        found = self._detect(pixels / 127.5 - 1)
        turn, origin = view.frame(_WINDOW)
        points = found[:, : _HIT - 1].reshape(-1, 8, 2)
        centre = points[:, :2].mean(1) @ turn + origin
        half = (points[:, 1] - points[:, 0]) * (view.side / _WINDOW / 2)  # square to the picture
        flat = (points[:, 2:] @ turn + origin).reshape(-1, 12)
        return np.concatenate([centre - half, centre + half, flat, found[:, -1:]], 1)

    def _detect(self, pixels: Floats) -> Floats:
        """Boxes, six points (eyes, nose, mouth, ears) and score, in pixels of the window."""
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        raw, logits = self._detector.run(["regressors", "scores"], {"input": planes})
        scores = _sigmoid(logits.reshape(-1))
        keep = scores > _MIN_SCORE
        values = raw.reshape(-1, 8, 2)[keep]
        centre = values[:, 0] + self._anchors[keep]
        half = values[:, 1] / 2
        points = values[:, 2:] + self._anchors[keep][:, None]
        boxes = np.concatenate([centre - half, centre + half], 1)
        return np.concatenate(
            [boxes, points.reshape(-1, 12), scores[keep][:, None]], 1, dtype=np.float32
        )

    def _fit(self, image: Image.Image, hit: Floats) -> Face | None:
        """
        The mesh of one hit; None when there is no face: on a face the mesh rests where it is,
        and both networks agree on eyes, nose and mouth.
        """
        hit = self._upright(image, hit)
        points, _ = self._place(image, _view_of(hit))
        points, presence = self._place(image, _around(points))
        if presence < _MIN_PRESENCE:
            return None
        before = points
        points, presence = self._place(image, _around(points))
        face = _face(points, float(hit[-1]), presence)
        is_face = (
            presence >= _MIN_PRESENCE
            and _drift(before, face) < _MAX_DRIFT
            and _disagreement(face, hit) < _MAX_DISAGREEMENT
        )
        return face if is_face else None

    def _upright(self, image: Image.Image, hit: Floats) -> Floats:
        """
        The hit, looked at again with its own roll taken out: the detector knows heads that
        stand upright best.
        """
        view = _view_of(hit)
        closer = _View(view.x, view.y, view.side * 1.2, view.angle)
        again = self._look(image, closer)
        x0, y0, x1, y1 = again[:, :4].T  # in a crowd, a neighbour may be seen here too
        again = again[(x0 < view.x) & (view.x < x1) & (y0 < view.y) & (view.y < y1)]
        return np.asarray(again[np.argmax(again[:, -1])]) if len(again) else hit

    def _place(self, image: Image.Image, view: _View) -> tuple[Floats, float]:
        """468 points in pixels of the picture, and the mesh's own presence."""
        pixels = np.asarray(view.crop(image, _CROP), np.float32) / 255
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        raw, flag = self._mesh.run(["landmarks", "flag"], {"input": planes})
        points = raw.reshape(-1, 3)
        turn, origin = view.frame(_CROP)
        depth = points[:, 2:] * (view.side / _CROP)
        placed = np.concatenate([points[:, :2] @ turn + origin, depth], 1, dtype=np.float32)
        return placed, float(_sigmoid(flag.reshape(-1))[0])


_lock = threading.Lock()
_shared: list[FaceFinder] = []


def shared_finder() -> FaceFinder:
    """The one finder of this process, loaded at the first call: two families need the same."""
    with _lock:
        if not _shared:
            _shared.append(FaceFinder())
        return _shared[0]


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Engines run on several threads already; more inside one call only fight over the cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _sigmoid(x: Floats) -> Floats:
    return (1 / (1 + np.exp(-np.clip(x, -80, 80)))).astype(np.float32)


def _anchors() -> Floats:
    """BlazeFace's 896 cell centres in pixels of its window: 16² cells twice, 8² six times."""
    cells = []
    for side, times in ((16, 2), (8, 6)):
        ys, xs = np.mgrid[:side, :side]
        centres = np.stack([(xs + 0.5) / side, (ys + 0.5) / side], -1).reshape(-1, 2)
        cells.append(centres.repeat(times, 0))
    return np.concatenate(cells, dtype=np.float32) * _WINDOW


def _views(width: int, height: int) -> Iterator[_View]:
    """
    The whole frame at six rolls; overlapping windows of a half, and in larger pictures a
    quarter, of the longer side.
    """
    longest = max(width, height)
    for sixth in range(6):
        # a frame that stands on an edge must be larger to hold most of the picture
        side = longest * (1.25 if sixth % 3 else 1.0)
        yield _View(width / 2, height / 2, side, sixth * pi / 3)
    for part in (2, 4) if longest > 1000 else (2,):
        side = longest / part
        if side < 200:  # the whole frame was seen as closely
            return
        for y in np.arange(-0.1 * side, height - 0.4 * side, 0.6 * side):
            for x in np.arange(-0.1 * side, width - 0.4 * side, 0.6 * side):
                yield _View(float(x) + side / 2, float(y) + side / 2, side)


def _merged(hits: Floats) -> Floats:
    """
    One row for each face that was seen several times, the surest first: boxes that overlap, or
    hold one another, and agree about the head's roll are one. It is their mean, by score.
    """
    merged = []
    hits = hits[np.argsort(-hits[:, -1], kind="stable")]
    while len(hits):
        best = hits[0]
        low = np.maximum(best[:2], hits[:, :2])
        high = np.minimum(best[2:4], hits[:, 2:4])
        common = np.clip(high - low, 0, None).prod(1)
        areas = (hits[:, 2:4] - hits[:, :2]).prod(1)
        joint = np.maximum(areas + areas[0] - common, 1e-6)
        held = common / np.maximum(np.minimum(areas, areas[0]), 1e-6)
        agree = np.cos(_rolls(hits) - _rolls(best[None])) > 0.7
        same = agree & ((common / joint > 0.3) | (held > 0.7))
        mean = np.average(hits[same], axis=0, weights=hits[same, -1])
        mean[-1] = best[-1]
        merged.append(mean)
        hits = hits[~same]
    return np.array(merged, np.float32).reshape(-1, _HIT)


def _rolls(hits: Floats) -> Floats:
    """Each hit's roll in radians, from eye to eye."""
    across = hits[:, 6:8] - hits[:, 4:6]
    return np.asarray(np.arctan2(across[:, 1], across[:, 0]), np.float32)


def _view_of(hit: Floats) -> _View:
    """The square that the mesh wants around a detector's box."""
    x0, y0, x1, y1 = (float(v) for v in hit[:4])
    side = max(x1 - x0, y1 - y0) * 1.5
    return _View((x0 + x1) / 2, (y0 + y1) / 2, side, float(_rolls(hit[None])[0]))


def _around(points: Floats) -> _View:
    """The square that the mesh wants around a mesh, upright."""
    across = points[LEFT_EYE_CORNERS[1], :2] - points[RIGHT_EYE_CORNERS[0], :2]
    angle = float(np.arctan2(across[1], across[0]))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    level = points[:, :2] @ turn
    low, high = level.min(0), level.max(0)
    x, y = turn @ ((low + high) / 2)
    return _View(float(x), float(y), float((high - low).max()) * 1.5, angle)


def _face(points: Floats, score: float, presence: float) -> Face:
    points.setflags(write=False)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    across = points[LEFT_CHEEK] - points[RIGHT_CHEEK]
    wide = float(np.hypot(across[0], across[1]))
    tall = float(np.linalg.norm(points[CHIN, :2] - points[FOREHEAD, :2]))
    eyes = points[LEFT_EYE_CORNERS[1], :2] - points[RIGHT_EYE_CORNERS[0], :2]
    return Face(
        box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
        score=score,
        presence=presence,
        landmarks=points,
        yaw=float(np.degrees(np.arctan2(across[2], wide))),
        roll=float(np.degrees(np.arctan2(eyes[1], eyes[0]))),
        size=max(wide, tall * 0.8),  # a face seen from the side keeps its height
    )


def _same(face: Face, other: Face) -> bool:
    """Whether two meshes lie on one face: their noses are closer than a quarter of it."""
    x0, y0, x1, y1 = face.box
    apart = face.landmarks[NOSE, :2] - other.landmarks[NOSE, :2]
    return float(np.linalg.norm(apart)) < 0.25 * max(x1 - x0, y1 - y0)


def _holds(face: Face, hit: Floats) -> bool:
    """Whether the hit's centre lies in the face's box."""
    x, y = (hit[:2] + hit[2:4]) / 2
    x0, y0, x1, y1 = face.box
    return bool(x0 < x < x1 and y0 < y < y1)


def _drift(before: Floats, face: Face) -> float:
    """How far the mesh moved from one look to the next, in widths of the face."""
    moved = face.landmarks[:, :2] - before[:, :2]
    return float(np.linalg.norm(moved, axis=1).mean()) / face.size


def _disagreement(face: Face, hit: Floats) -> float:
    """How far detector and mesh place eyes, nose and mouth apart, in widths of the face."""
    at = face.landmarks[:, :2]
    placed = np.stack([at[list(points)].mean(0) for points in _DETECTED])
    apart = hit[4:12].reshape(4, 2) - placed
    return float(np.linalg.norm(apart, axis=1).mean()) / face.size
