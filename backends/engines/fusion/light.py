"""
The source's face in the target's light: its colours moved, its low frequencies replaced.

Pure arrays: Lab colours in 32-bit floats, masks from 0 to 1.
"""

import cv2
import numpy as np

from backends.engines.faces import Floats
from backends.engines.fusion.geometry import LEFT_EYE, LIPS, RIGHT_EYE, TEETH
from backends.engines.fusion.skin import Areas, area_of, blurred
from backends.errors import BadInput

_FEWEST = 50  # pixels of skin; with fewer, means and spreads are noise


def relit(
    source: Floats,
    target: Floats,
    like: tuple[Floats, Floats],
    usable: Floats,
    areas: Areas,
    points: Floats,
    light: float,
) -> Floats:
    """
    `source` (Lab) with `target`'s complexion and light. `like` is the likeness to skin in source
    and target, `usable` where skin may be used, `points` the fused mesh, `light` (0 to 1) how
    much of the target's light is kept. Raises BadInput when hardly any skin is seen.
    """
    of_source = usable * np.clip(0.15 + like[0], 0, 1)
    of_target = usable * np.clip(0.3 + like[1], 0, 1)
    if min((of_source > 0.3).sum(), (of_target > 0.3).sum()) < _FEWEST:
        raise BadInput(
            "Too little skin can be seen in one of the faces; use a larger or less covered face.",
            zh="其中一张脸可见的皮肤太少；请使用更大或遮挡更少的人脸。",
        )
    moved, dark, chroma = _moved(source, target, (of_source, of_target), like[0], areas, points)
    low = blurred_within(target, of_target, areas.width * 0.095)
    low = low - blurred_within(moved, of_source, areas.width * 0.095)
    tint = min(1.0, light * 1.3)
    weight = np.stack([np.clip(dark, 0.7, 1) * light, *[np.clip(chroma, 0.3, 1) * tint] * 2], -1)
    moved = _clear_eyed(moved + low * weight, target, _inside(areas, points, RIGHT_EYE, LEFT_EYE))
    moved[..., 0] = np.clip(moved[..., 0], 0, 100)
    return np.asarray(moved, np.float32)


def _moved(
    source: Floats,
    target: Floats,
    weights: tuple[Floats, Floats],
    like_source: Floats,
    areas: Areas,
    points: Floats,
) -> tuple[Floats, Floats, Floats]:
    """The source's Lab with the target's mean and, within limits, spread; how dark, how tinted."""
    seen, wanted = source[weights[0] > 0.3], target[weights[1] > 0.3]
    mean, goal = seen.mean(0), wanted.mean(0)
    ratio = (wanted.std(0) + 1e-3) / (seen.std(0) + 1e-3)
    dark = np.clip(source[..., 0] / mean[0], 0, 1.2)
    wet = _inside(areas, points, RIGHT_EYE, LEFT_EYE, TEETH)
    chroma = np.clip(dark, 0.15, 1) ** 0.8 * (1 - 0.7 * wet)
    tints = _tints(ratio[1:], like_source, areas, _inside(areas, points, LIPS))
    moved = np.empty_like(source)
    moved[..., 0] = _lightness(source[..., 0], dark, mean[0], goal[0], ratio[0])
    moved[..., 1:] = source[..., 1:] * tints + (goal[1:] - tints * mean[1:]) * chroma[..., None]
    return moved, dark, chroma


def _lightness(
    source: Floats, dark: Floats, mean: np.float32, goal: np.float32, ratio: np.float32
) -> Floats:
    """Brows, lashes and pupils are scaled, not lifted: they stay as dark as they are."""
    spread = np.clip(ratio, 0.75, 1.35)
    scaled = goal * (1 - (1 - dark) * spread * np.clip(mean / goal, 0.8, 1.25))
    scaled = np.maximum(scaled, dark * goal * 0.55)
    return np.where(dark < 1, scaled, (source - mean) * spread + goal)


def _tints(ratio: Floats, like_source: Floats, areas: Areas, lips: Floats) -> Floats:
    """
    How far each pixel's two colour channels keep the source's variety: no more than the target
    has, so that red wrinkles do not land on an even skin, nor any colour in a grey picture.
    Lips keep twice that; a target with more variety lends some to plain skin only.
    """
    skin = 1 - np.clip(areas.features + (1 - like_source), 0, 1)
    fewer = np.minimum(ratio, 1)
    fewer = fewer + (np.minimum(2 * ratio, 1) - fewer) * lips[..., None]
    more = (np.clip(ratio, 1, 1.15) - 1) * skin[..., None]
    return np.asarray(fewer + more, np.float32)


def _inside(areas: Areas, points: Floats, *rings: tuple[int, ...]) -> Floats:
    """A soft mask of what lies within the rings of mesh points."""
    mask = np.zeros_like(areas.core)
    for ring in rings:
        mask = np.maximum(mask, area_of(areas.core.shape, points[list(ring)]))
    return blurred(mask, max(0.8, areas.width * 0.01))


def _clear_eyed(moved: Floats, target: Floats, eyes: Floats) -> Floats:
    """Eyes that are tinted more than the target's, such as behind glasses, lose that tint."""
    inside = eyes > 0.6
    if not inside.any():
        return moved
    ours, theirs = moved[inside, 1:].mean(0), target[inside, 1:].mean(0)
    if np.linalg.norm(ours) <= np.linalg.norm(theirs):
        return moved
    bright = np.clip(moved[..., 0] / moved[inside, 0].mean(), 0, 1)  # pupils have no tint
    moved[..., 1:] += (theirs - ours) * (eyes * bright)[..., None]
    return moved


def blurred_within(values: Floats, weights: Floats, sigma: float) -> Floats:
    """Each pixel's weighted surroundings: what has no weight does not bleed in."""
    height, width = weights.shape
    times = max(1, int(sigma // 3))  # a wide blur needs no fine pixels
    size = (max(8, width // times), max(8, height // times)) if times > 1 else (width, height)
    values = values * weights[..., None]
    if times > 1:
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
        weights = np.asarray(cv2.resize(weights, size, interpolation=cv2.INTER_AREA))
        sigma = sigma * size[0] / width
    mean = blurred(values, sigma) / (blurred(weights, sigma)[..., None] + 1e-4)
    if times > 1:
        mean = np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_CUBIC))
    return mean


def sharpened(moved: Floats, target: Floats, where: Floats, width: float) -> Floats:
    """The fused face with about as much fine detail as the target has there."""
    sigma = max(0.8, width * 0.006)
    wanted = target[..., 0] - blurred(target[..., 0], sigma)
    fine = moved[..., 0] - blurred(moved[..., 0], sigma)
    inside = where > 0.5
    gain = np.clip(wanted[inside].std() / (fine[inside].std() + 1e-3), 1 / 1.15, 1.6)
    result = moved.copy()
    result[..., 0] += (gain - 1) * 0.5 * fine
    return result
