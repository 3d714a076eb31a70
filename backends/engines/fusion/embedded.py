"""
Mesh blend, the embedded fusion engine: faces by their meshes, one warped and lit onto the other.

Runs on a CPU with what is bundled. What every fusion engine does alike is in `course`.
"""

from collections.abc import Sequence

import cv2

from backends.engines import Emit
from backends.engines.faces import Face, FaceFinder, Pixels
from backends.engines.fusion import Blend, Check, Fused, Look, Seen
from backends.engines.fusion.blending import Style, fuse
from backends.engines.fusion.course import Course, Step, squares
from backends.engines.fusion.gate import Gate
from backends.engines.picture import Note


class MeshBlend:
    """Thread-safe: what threads share is read only, or a memory with a lock of its own."""

    model = "mesh-blend"

    def __init__(self, finder: FaceFinder, gate: Gate, remembered: int = 64) -> None:
        cv2.setNumThreads(1)  # engine threads are the service's; more only fight for the cores
        self._course = Course(finder.find, _paint, gate, remembered)

    def tokens(self, item: Blend | Look | Check) -> int:
        return squares(item)

    def run(
        self, batch: Sequence[Blend | Look | Check], emit: Emit
    ) -> Sequence[Fused | Seen | None]:
        return self._course.run(batch, emit)

    def close(self) -> None:
        self._course.close()


def _paint(item: Blend, source: Face, target: Face, step: Step) -> tuple[Pixels, tuple[Note, ...]]:
    style = Style(item.blend, item.shape, item.light, item.mouth, item.forehead)
    return fuse(item.source.array(), source, item.target.array(), target, style, step), ()
