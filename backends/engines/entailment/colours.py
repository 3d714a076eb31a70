"""
Colours of a picture: how much of it each colour word covers.

By hue, saturation and value of a small copy. It knows nothing of where a colour is, nor of what.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backends.engines.picture import Picture

_SIDE = 96
_PALE, _DARK, _BRIGHT = 0.15, 0.2, 0.8

# Degrees of hue, from and to; least saturation; least value.
_HUES = {
    "red": (345, 15, 0.45, 0.25),
    "orange": (15, 42, 0.5, 0.35),
    "yellow": (42, 68, 0.4, 0.4),
    "green": (70, 165, 0.25, 0.15),
    "blue": (185, 255, 0.25, 0.2),
    "purple": (255, 300, 0.2, 0.2),
    "pink": (300, 345, 0.15, 0.5),
}
COLOURS = (*_HUES, "white", "black", "grey", "gray")


@dataclass(frozen=True, slots=True)
class Colours:
    """`shares` of the picture (0 to 1) by colour word; the mean `saturation` (0 to 1)."""

    shares: dict[str, float]
    saturation: float


def colours_of(picture: Picture) -> Colours:
    small = picture.image().resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert("HSV")
    scale = np.array([360, 1, 1]) / 255
    hue, saturation, value = np.moveaxis(np.asarray(small) * scale, 2, 0)
    pale = saturation < _PALE
    covered: dict[str, NDArray[np.bool_]] = {
        "white": pale & (value > _BRIGHT),
        "black": value < _DARK,
        "grey": pale & (value >= _DARK) & (value <= _BRIGHT),
    }
    for colour, (low, high, least_saturation, least_value) in _HUES.items():
        between = (hue >= low) & (hue < high) if low < high else (hue >= low) | (hue < high)
        covered[colour] = between & (saturation > least_saturation) & (value > least_value)
    covered["gray"] = covered["grey"]
    shares = {colour: float(where.mean()) for colour, where in covered.items()}
    return Colours(shares, float(saturation.mean()))
