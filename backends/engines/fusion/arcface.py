"""
ArcFace: what makes a face somebody's, as 512 numbers of length 1.

They are made for one blend and kept nowhere: such numbers recognise a person.
"""

import numpy as np

from backends.engines.faces import Floats, Pixels
from backends.engines.fusion.alignment import ARCFACE_112, cut, fitted, planes
from backends.engines.fusion.onnx_files import Network

SIDE = 112
NUMBERS = 512


class ArcFace:
    """Loaded. `identity` may be called from any number of threads at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._input = network.one_input(4, (3, SIDE, SIDE))
        made = self._run(np.zeros((SIDE, SIDE, 3), np.uint8))
        if made.size != NUMBERS:
            raise network.wrong(f"gives {made.size} numbers of a face, not {NUMBERS}")

    def identity(self, picture: Pixels, five: Floats) -> Floats:
        """512 numbers of length 1."""
        made = self._run(cut(picture, fitted(five, ARCFACE_112, SIDE), SIDE))
        return np.asarray(made / max(float(np.linalg.norm(made)), 1e-12), np.float32)

    def _run(self, square: Pixels) -> Floats:
        given = planes(square, 127.5, 127.5)
        return self._network.run(**{self._input: given})[0].reshape(-1)
