"""GFPGAN: a face of 512 × 512 pixels, made sharp again. Optional; Apache-2.0."""

import numpy as np

from backends.engines.faces import Floats, Pixels
from backends.engines.fusion.alignment import planes
from backends.engines.fusion.onnx_files import Network

SIDE = 512


class Gfpgan:
    """Loaded. `restored` may be called from any number of threads at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._input = network.one_input(4, (3, SIDE, SIDE))
        outputs = network.run(**{self._input: np.zeros((1, 3, SIDE, SIDE), np.float32)})
        if outputs[0].shape != (1, 3, SIDE, SIDE):
            raise network.wrong(f"gives {outputs[0].shape}, not a picture of {SIDE} × {SIDE}")

    def restored(self, square: Pixels) -> Floats:
        """0 to 255."""
        given = planes(square, 127.5, 127.5)
        made = self._network.run(**{self._input: given})[0]
        return np.asarray(np.clip((made[0].transpose(1, 2, 0) + 1) * 127.5, 0, 255), np.float32)
