"""
What is skin: which pixels of a warped face may be used, and which belong to hair or a hat.

Pure arrays. Colours are CIE Lab in 32-bit floats (L 0 to 100); masks are floats from 0 to 1.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backends.engines.faces import Floats
from backends.engines.fusion.geometry import (
    LEFT_BROW,
    LEFT_EYE,
    LIPS,
    MIRROR,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    Warp,
    facing,
    forehead_height,
    smooth,
)

# Points on cheeks, chin and nose where hardly anybody has hair.
_BARE = (50, 280, 205, 425, 101, 330, 36, 266, 195, 5, 117, 346, 118, 347, 187, 411, 147, 376)


def lab(rgb: NDArray[np.uint8]) -> Floats:
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def blurred(values: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def area_of(shape: tuple[int, int], outline: Floats) -> Floats:
    """1 inside the outline (points of a polygon), 0 outside."""
    mask = np.zeros(shape, np.float32)
    corners = np.round(outline * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], (1.0,), lineType=cv2.LINE_AA, shift=4)
    return mask


def grown(mask: Floats, by: float) -> Floats:
    """The mask, wider by half of `by` pixels on each side."""
    return np.asarray(cv2.dilate(mask, _square(by)), np.float32)


def _square(side: float) -> NDArray[np.uint8]:
    odd = max(3, int(side)) | 1
    return np.ones((odd, odd), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """
    The fused face's parts as masks: all of it, its features (eyes, brows, lips), and how high on
    the forehead a pixel lies (0 to 1). `depth` counts pixels from the rim.
    """

    core: Floats
    features: Floats
    height: Floats
    depth: Floats
    width: float

    @property
    def skin(self) -> Floats:
        return self.core * (1 - self.features)


def areas(warp: Warp, points: Floats, depth_of_target: Floats, width: float) -> Areas:
    """Of the fused face: `points` are its mesh (468 × 2), `width` its width, both in pixels."""
    core = area_of(warp.shape, points[OVAL])
    features = np.zeros(warp.shape, np.float32)
    for ring in (RIGHT_EYE, LEFT_EYE, LIPS, RIGHT_BROW, LEFT_BROW):
        features = np.maximum(features, area_of(warp.shape, points[list(ring)]))
    height = forehead_height(np.concatenate([points, depth_of_target[:, None]], 1))
    rings = [np.where(height[OVAL] > 0, 1.0, 0.0)] * 3
    painted = warp.paint(np.concatenate([height, *rings], dtype=np.float32))
    rim = cv2.distanceTransform((core > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return Areas(
        core=core,
        features=grown(features, width * 0.03),
        height=np.clip(painted, 0, 1),
        depth=np.asarray(rim, np.float32),
        width=width,
    )


def skin_likeness(colours: Floats, areas: Areas) -> Floats:
    """How much each pixel has the colour that this face's cheeks and chin have."""
    inner = cv2.erode(areas.core, _square(areas.width * 0.14)) * (1 - areas.features) > 0.5
    seen = colours[inner & (areas.height < 0.05)]
    seen = seen[:: max(1, len(seen) // 4000)]
    if len(seen) < 20:
        return areas.core
    middle = np.median(seen, 0)
    spread = np.median(np.abs(seen - middle), 0) * 1.4826 + np.array([4.5, 2.2, 2.6])
    apart = (colours - middle) / (spread * np.array([2.2, 2.0, 2.0]))
    light = np.where(apart[..., 0] < 0, 0.5, 0.3) * apart[..., 0] ** 2  # shade is likelier
    distance = light + apart[..., 1] ** 2 + apart[..., 2] ** 2
    return np.asarray(np.exp(-0.5 * np.maximum(0, distance - 1)), np.float32)


def bare_forehead(pixels: NDArray[np.uint8], points: Floats, width: float) -> float:
    """
    How much of the forehead, from the brows (0) to the top of the mesh (1), is bare skin: bands
    are compared with the cheeks by colour and texture, and the first that differs is hair.
    """
    scale = min(1.0, 260 / width)
    small, at = _reduced(pixels, points, scale, width)
    width *= scale
    colours = lab(small)
    smooth_colours = blurred(colours, max(0.8, width * 0.012))
    light = colours[..., 0]
    rough = np.abs(light - blurred(light, max(1.0, width * 0.02)))
    rough = blurred(rough, max(1.0, width * 0.02))
    xs, ys = np.clip(at.round().astype(int), 0, [small.shape[1] - 1, small.shape[0] - 1]).T
    colour, texture = smooth_colours[ys, xs], rough[ys, xs]
    seen = facing(points) > 0.3
    cheeks = [point for point in _BARE if seen[point]] or list(_BARE)
    difference = _difference(colour, np.median(colour[cheeks], 0))
    texture = texture / (np.median(texture[cheeks]) + 0.05)
    return _first_hair(forehead_height(points), seen, difference, texture)


def _reduced(
    pixels: NDArray[np.uint8], points: Floats, scale: float, width: float
) -> tuple[NDArray[np.uint8], Floats]:
    """The surroundings of the face at a smaller scale, and the mesh's places there."""
    low = np.maximum(0, (points[:, :2].min(0) - width * 0.2).astype(int))
    high = (points[:, :2].max(0) + width * 0.2).astype(int)
    crop = np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]])
    if scale < 1:
        crop = np.asarray(
            cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    return crop, np.asarray((points[:, :2] - low) * scale, np.float32)


def _difference(colour: Floats, cheek: Floats) -> Floats:
    """From the cheek's colour, in units that one notices; lighter does not count."""
    apart = colour - cheek
    darker = np.minimum(0, apart[:, 0] / 14) ** 2
    return np.asarray(np.sqrt(darker + (apart[:, 1] / 6) ** 2 + (apart[:, 2] / 7) ** 2), np.float32)


def _first_hair(
    height: Floats, seen: NDArray[np.bool_], difference: Floats, texture: Floats
) -> float:
    bare = 0.0
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        band = (height > low + 0.001) & (height <= low + 0.2) & seen
        if band.sum() >= 2:
            colour, rough = np.median(difference[band]), np.median(texture[band])
            if colour * np.sqrt(rough) > 3.2 or colour > 5:
                break
        bare = low + 0.2
    return min(1.0, bare)


def allowed(
    warp: Warp,
    areas: Areas,
    like: tuple[Floats, Floats],
    meshes: tuple[Floats, Floats],
    bare: float,
) -> Floats:
    """
    Where the source may be painted. `like` is the skin's likeness in source and target, `meshes`
    their points, `bare` the part of the forehead that is bare in both.
    """
    width = areas.width
    if bare < 0.95:
        top = np.clip((max(bare, 0.10) - areas.height) / 0.16, 0, 1)
        top = np.where(areas.height < 0.01, 1, top).astype(np.float32)
    else:
        top = np.ones(warp.shape, np.float32)
    mask = blurred(top, width * 0.02) * _shown(warp, meshes, width)
    mask = mask * _without_strands(areas, like)
    return np.clip(blurred(mask, max(1.0, width * 0.012)), 0, 1)


def _shown(warp: Warp, meshes: tuple[Floats, Floats], width: float) -> Floats:
    """Skin that the source never shows, on either side, stays the target's."""
    source, target = meshes
    faces = facing(source)
    faces = np.maximum(faces, faces[MIRROR])
    shown = np.clip((faces - 0.22) / 0.25, 0, 1)
    shown = np.where(facing(target) > 0.3, shown, np.maximum(shown, 0.35))
    return blurred(np.clip(warp.paint(smooth(shown, target, 0.04 * width)), 0, 1), width * 0.02)


def _without_strands(areas: Areas, like: tuple[Floats, Floats]) -> Floats:
    """Close to the rim: no hair of the target painted over, no ear or wall of the source taken."""
    source, target = like
    width = areas.width
    rim = np.clip(1 - areas.depth / (width * 0.17), 0, 1)
    bare = np.clip(blurred(target, max(1.0, width * 0.012)) * 1.7, 0, 1)
    above = np.clip(rim * 1.5, 0, 1) * np.clip((areas.height + 0.25) / 0.3, 0, 1)
    keeps = 1 - above * (1 - bare) * (areas.height > 0)
    face = np.maximum(source, areas.features)
    face = np.clip(blurred(face, max(1.0, width * 0.02)) * 2.2 - 0.25, 0, 1)
    edge = np.clip(1.15 - areas.depth / (width * 0.16), 0, 1)
    return np.asarray(keeps * (1 - edge * (1 - face)), np.float32)
