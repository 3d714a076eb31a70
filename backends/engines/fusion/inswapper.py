"""
inswapper: a square of the target with somebody else's identity; and larger squares by parts.

The identity goes through `emap`, a 512 × 512 matrix that lies in the file as its last constant
and that no node uses: tools that tidy a file up delete it.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from backends.engines.faces import Floats, Pixels
from backends.engines.fusion.alignment import planes
from backends.engines.fusion.arcface import NUMBERS
from backends.engines.fusion.onnx_files import Network
from backends.errors import Unavailable

SIDE = 128


class Swapper:
    """Loaded. `swap` may be called from any number of threads at once."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._target = network.one_input(4, (3, SIDE, SIDE))
        self._source = network.one_input(2, (NUMBERS,))
        self._emap = _emap(network)
        made = self._run(np.zeros((SIDE, SIDE, 3), np.uint8), self.latent(np.ones(NUMBERS, "f4")))
        if made.shape != (SIDE, SIDE, 3):
            raise network.wrong(f"gives {made.shape}, not a picture of {SIDE} × {SIDE}")

    def latent(self, identity: Floats) -> Floats:
        """An identity (512 numbers of length 1) as the network reads it: 1 × 512, length 1."""
        turned = identity.reshape(1, -1) @ self._emap
        return np.asarray(turned / max(float(np.linalg.norm(turned)), 1e-12), np.float32)

    def swap(self, square: Pixels, latent: Floats, step: Callable[[float], None]) -> Floats:
        """
        The square (k·128 pixels wide) with the other identity, 0 to 255. Every k-th pixel each
        way makes a square of 128, k² of them; they are swapped and put back where they were.
        """
        times = square.shape[0] // SIDE
        made = np.empty(square.shape, np.float32)
        for n in range(times * times):
            row, column = divmod(n, times)
            made[row::times, column::times] = self._run(square[row::times, column::times], latent)
            step((n + 1) / (times * times))
        if not np.isfinite(made).all():
            raise Unavailable(
                f"{self._network.path.name} gave no colours for this face; "
                "use the float32 file instead of one of half precision.",
            )
        return made

    def _run(self, square: Pixels, latent: Floats) -> Floats:
        given = planes(square, 255)
        made = self._network.run(**{self._target: given, self._source: latent})[0]
        return np.asarray(np.clip(made[0].transpose(1, 2, 0) * 255, 0, 255), np.float32)


def _emap(network: Network) -> Floats:
    constants = onnx.load(str(network.path), load_external_data=False).graph.initializer
    shape = tuple(constants[-1].dims) if constants else ()
    if shape != (NUMBERS, NUMBERS):
        raise network.wrong(
            f"has lost its emap (its last constant is {'×'.join(map(str, shape)) or 'missing'}, "
            f"not {NUMBERS}×{NUMBERS}), as copies that a tool has optimised do"
        )
    return np.asarray(numpy_helper.to_array(constants[-1]), np.float32)
