"""
One face put onto another: warp, light, masks, paste back. Pure arrays in, pure arrays out.

Source and target are warped to one shared shape, so that jaw and brows coincide and nothing
ghosts; the source gets the target's complexion and light; a mask keeps hair, hats and glasses'
rims; and only the region around the face is ever written. Nothing here is random: the same
input gives the same bytes.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from backends.engines.faces import Face, Floats, Pixels
from backends.engines.fusion import geometry, light, skin
from backends.engines.fusion.course import Step
from backends.engines.fusion.geometry import LIPS, MIRROR, OVAL, REACH, Warp

LONGEST = 1000  # pixels of the working region's side; larger targets keep their own detail


@dataclass(frozen=True, slots=True)
class Style:
    """
    `blend` 0 (target) to 1 (source); `shape` 0 (the target's) to 1 (the source's); `light` how
    much of the target's light is kept; `mouth` auto, source or target; `forehead` 0 (brows
    only) to 1 (all), None: as far as it is bare in both.
    """

    blend: float = 0.85
    shape: float = 0.35
    light: float = 0.8
    mouth: str = "auto"
    forehead: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """A face's surroundings at working scale, and its mesh there (468 × 3)."""

    pixels: Pixels
    points: Floats
    width: float
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """Source and target in one shape: the same pixel shows the same place of the face."""

    source: Pixels
    target: Pixels
    warp: Warp
    points: Floats


def fuse(
    source: Pixels, source_face: Face, target: Pixels, target_face: Face, style: Style, step: Step
) -> Pixels:
    """The target (height × width × 3, RGB) with the source's face; a new array."""
    if style.blend <= 0:
        return target.copy()
    there = _cropped(target, target_face, min(1.0, LONGEST / _reach(target, target_face)))
    ratio = there.width / source_face.size
    here = _cropped(source, source_face, ratio if ratio < 0.8 else 1.0)
    step(0.05)
    layers = _warped(here, there, style)
    step(0.35)
    areas = skin.areas(layers.warp, layers.points, there.points[:, 2], there.width)
    colours = skin.lab(layers.source), skin.lab(layers.target)
    like = skin.skin_likeness(colours[0], areas), skin.skin_likeness(colours[1], areas)
    bare = style.forehead if style.forehead is not None else _bare(here, there)
    may = skin.allowed(layers.warp, areas, like, (here.points, there.points), bare)
    step(0.55)
    usable = areas.skin * may
    lit = light.relit(*colours, like, usable, areas, layers.points, style.light)
    lit = light.sharpened(lit, colours[1], usable, there.width)
    face = np.clip(cv2.cvtColor(lit, cv2.COLOR_Lab2RGB), 0, 1) * 255
    step(0.75)
    mask = _mask(areas, may, style.mouth, here.points, there.points, layers.points)
    fused = _seamless(np.asarray(face, np.float32), layers.target, mask, there.width)
    step(0.95)
    return _pasted(target, there, _mixed(layers.target, fused, style.blend, there.width))


def _reach(picture: Pixels, face: Face) -> int:
    left, top, right, bottom = _bounds(picture, face)
    return max(right - left, bottom - top)


def _bounds(picture: Pixels, face: Face) -> tuple[int, int, int, int]:
    """The pixels that the outermost ring surrounds, cut at the picture's edge."""
    oval = face.landmarks[OVAL, :2]
    centre = oval.mean(0)
    reach = (oval - centre) * REACH + centre
    left, top = np.maximum(0, np.floor(reach.min(0)).astype(int))
    right, bottom = np.minimum(picture.shape[1::-1], np.ceil(reach.max(0)).astype(int))
    return int(left), int(top), int(right), int(bottom)


def _cropped(picture: Pixels, face: Face, scale: float) -> _Crop:
    left, top, right, bottom = _bounds(picture, face)
    pixels = np.ascontiguousarray(picture[top:bottom, left:right])
    if scale < 1:
        pixels = np.asarray(
            cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    points = (face.landmarks - np.array([left, top, 0], np.float32)) * np.float32(scale)
    points -= np.array([0.5, 0.5, 0], np.float32)  # from here on a pixel's number is its centre
    return _Crop(pixels, points, face.size * scale, left, top, right, bottom)


def _warped(source: _Crop, target: _Crop, style: Style) -> _Layers:
    width = target.width
    points = geometry.fused_points(source.points, target.points, style.shape * style.blend, width)
    still = geometry.with_rings(target.points[:, :2])
    placing = geometry.pinned(geometry.with_rings(points), still)
    shape = target.pixels.shape[:2]
    warp = geometry.warp(placing, shape, 2 if width > 130 else 1)
    theirs = target.pixels
    if style.shape > 0:
        theirs = _read(theirs, _settled(warp, still, width))
    ours = _read(source.pixels, warp.map_to(geometry.with_rings(source.points[:, :2])))
    ours = _with_hidden_side(ours, source, warp, points, width)
    return _Layers(ours, theirs, warp, points)


def _read(picture: Pixels, where: Floats) -> Pixels:
    across, down = np.ascontiguousarray(where[..., 0]), np.ascontiguousarray(where[..., 1])
    read = cv2.remap(picture, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(read, np.uint8)


def _settled(warp: Warp, still: Floats, width: float) -> Floats:
    """
    The map to the target itself: its kinks at the triangles' edges smoothed, nothing moved
    further than a point of the mesh is, and nothing outside.
    """
    ys, xs = np.mgrid[: warp.shape[0], : warp.shape[1]].astype(np.float32)
    here = np.stack([xs, ys], -1)
    furthest = np.abs(warp.placing - still).max()
    moved = np.clip(warp.map_to(still) - here, -furthest, furthest) * warp.inside[..., None]
    return np.asarray(skin.blurred(moved, max(1.0, width * 0.02)) + here, np.float32)


def _with_hidden_side(
    face: Pixels, source: _Crop, warp: Warp, points: Floats, width: float
) -> Pixels:
    """A turned source's hidden cheek, filled with the mirrored other one in the same light."""
    shown = np.clip((geometry.facing(source.points) - 0.12) / 0.33, 0, 1)
    missing = np.clip(shown[MIRROR] - shown, 0, 1)
    if missing.max() <= 0.15:
        return face
    missing = np.clip(geometry.smooth(missing, points, 0.06 * width) * 1.6, 0, 1)
    weight = skin.blurred(np.clip(warp.paint(missing), 0, 1), width * 0.02)
    twin = _read(source.pixels, warp.map_to(geometry.with_rings(source.points[MIRROR, :2])))
    ours, other = skin.lab(face), skin.lab(twin)
    core = skin.area_of(warp.shape, points[OVAL])
    wanted = light.blurred_within(ours, core * (1 - weight), width * 0.12)
    other += wanted - light.blurred_within(other, core, width * 0.12)
    filled = np.clip(cv2.cvtColor(other, cv2.COLOR_Lab2RGB), 0, 1) * 255
    return np.asarray(face + (filled - face) * weight[..., None], np.uint8)


def _bare(source: _Crop, target: _Crop) -> float:
    return min(
        skin.bare_forehead(source.pixels, source.points, source.width),
        skin.bare_forehead(target.pixels, target.points, target.width),
    )


def _mask(
    areas: skin.Areas, may: Floats, mouth: str, source: Floats, target: Floats, points: Floats
) -> Floats:
    """How much of the source each pixel gets: it fades towards the rim of the face."""
    width = areas.width
    part = np.clip((areas.depth - 1) / max(2.0, width * 0.10), 0, 1)
    mask = np.asarray(part * part * (3 - 2 * part) * may, np.float32)
    if mouth == "target" or (mouth == "auto" and _mouths_differ(source, target)):
        lips = skin.grown(skin.area_of(areas.core.shape, points[list(LIPS)]), width * 0.03)
        mask *= 1 - skin.blurred(lips, width * 0.02)
    return skin.blurred(mask, max(0.8, width * 0.006))


def _mouths_differ(source: Floats, target: Floats) -> bool:
    """Whether one mouth is open and the other is not: then the target keeps its own."""
    low, high = sorted((geometry.opening(source), geometry.opening(target)))
    return high - low > 0.16 or (low < 0.06 and high > 0.11)


def _seamless(face: Floats, target: Pixels, mask: Floats, width: float) -> Floats:
    """
    The face on the target with no seam: the two are mixed by the mask, then what is left of an
    edge is taken out of the gradients (Poisson), in the largest connected part.
    """
    mixed = face * mask[..., None] + target * (1 - mask[..., None])
    solid = ((mask > 0.25) * 255).astype(np.uint8)
    solid[:2] = solid[-2:] = 0
    solid[:, :2] = solid[:, -2:] = 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count < 2:
        return np.asarray(mixed, np.float32)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    solid = np.where(labels == largest, 255, 0).astype(np.uint8)
    x, y, wide, high = cv2.boundingRect(solid)
    centre = (x + wide // 2, y + high // 2)
    even = cv2.seamlessClone(mixed.astype(np.uint8), target, solid, centre, cv2.NORMAL_CLONE)
    inner = np.asarray(cv2.erode(solid, np.ones((3, 3), np.uint8)), np.float32)
    weight = skin.blurred(inner, max(1.0, width * 0.01))[..., None] / 255
    return np.asarray(mixed + (even - mixed) * weight, np.float32)


def _mixed(target: Pixels, fused: Floats, blend: float, width: float) -> Floats:
    """
    Between target (0) and fused face (1). Fine detail goes over sooner than colour: two pairs of
    eyes, or the ghost of a pair of glasses, are seen long before a wrong tone is.
    """
    change = np.asarray(fused - target, np.float32)
    coarse = skin.blurred(change, max(1.0, width * 0.03))
    fine = (1 - (1 - blend) ** 2) * (change - coarse)
    return np.asarray(target + blend * coarse + fine, np.float32)


def _pasted(target: Pixels, crop: _Crop, fused: Floats) -> Pixels:
    """Only the region changes; where it was worked on smaller, only the difference is enlarged."""
    result = target.copy()
    region = target[crop.top : crop.bottom, crop.left : crop.right]
    if crop.pixels.shape != region.shape:
        change = np.asarray(fused - crop.pixels, np.float32)
        size = (region.shape[1], region.shape[0])
        larger = np.asarray(cv2.resize(change, size, interpolation=cv2.INTER_CUBIC), np.float32)
        fused = np.asarray(region + larger, np.float32)
    whole = np.clip(np.rint(fused), 0, 255).astype(np.uint8)
    result[crop.top : crop.bottom, crop.left : crop.right] = whole
    return result
