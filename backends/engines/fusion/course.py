"""
The course of a fusion, the same for every engine: check, find, choose, paint, check again.

An engine brings how it finds faces and how it paints one; this refuses what cannot come out well
with one sentence, tells progress, and stops between two steps when the caller has left.
"""

from collections.abc import Callable, Sequence
from typing import Generic

from backends.engines import Emit
from backends.engines.faces import Pixels
from backends.engines.fusion import Blend, Check, Fused, Look, Progress, Seen
from backends.engines.fusion.choosing import (
    SOURCE,
    TARGET,
    F,
    chosen,
    doubts,
    refuse_the_same,
    seen_face,
)
from backends.engines.fusion.gate import Gate
from backends.engines.picture import Note, Picture
from backends.engines.recent import Recent

Step = Callable[[float], None]
"""Told after each stage which part of the painting (0 to 1) is done; it may raise to stop."""

Paint = Callable[[Blend, F, F, Step], tuple[Pixels, tuple[Note, ...]]]
"""The target with the source's face (blend, source face, target face), and what to say of it."""

_Tell = Callable[[float, str], None]


class _Left(Exception):
    """The caller has gone: nobody will read the rest."""


class Course(Generic[F]):
    """Thread-safe where `find` and `paint` are."""

    def __init__(
        self,
        find: Callable[[Pixels], tuple[F, ...]],
        paint: Paint[F],
        gate: Gate,
        remembered: int = 64,
    ) -> None:
        self._look = find
        self._paint = paint
        self._gate = gate
        self._faces: Recent[bytes, tuple[F, ...]] = Recent(remembered)

    def run(
        self, batch: Sequence[Blend | Look | Check], emit: Emit
    ) -> Sequence[Fused | Seen | None]:
        """
        One after the other. None for a caller who left. Progress is told only for an item that
        is alone: what was told about cannot be run again when a neighbour fails.
        """

        def tell(share: float, stage: str) -> None:
            if len(batch) == 1 and not emit(0, Progress(share, stage)):
                raise _Left

        return [self._answer(item, tell) for item in batch]

    def close(self) -> None:
        self._faces.clear()
        self._gate.forget()

    def _answer(self, item: Blend | Look | Check, tell: _Tell) -> Fused | Seen | None:
        if isinstance(item, Look):
            return self._seen(item.picture)
        if isinstance(item, Check):
            return self._judged(item.blend)
        try:
            return self._fused(item, tell)
        except _Left:
            return None

    def _judged(self, item: Blend) -> Seen:
        """All that can be known before a pixel is drawn."""
        refuse_the_same(item)
        chosen(self._find(item.source), item.source_face, SOURCE)
        chosen(self._find(item.target), item.target_face, TARGET)
        self._gate.check(item.source, "source")
        self._gate.check(item.target, "target")
        return Seen()

    def _find(self, picture: Picture) -> tuple[F, ...]:
        faces = self._faces.get(picture.digest)
        if faces is None:
            faces = self._look(picture.array())
            self._faces.put(picture.digest, faces)
        return faces

    def _seen(self, picture: Picture) -> Seen:
        faces = self._find(picture)
        return Seen(tuple(seen_face(n, face, picture) for n, face in enumerate(faces)))

    def _fused(self, item: Blend, tell: _Tell) -> Fused:
        refuse_the_same(item)
        tell(0.0, "checking")
        notes = self._gate.check(item.source, "source")
        notes += self._gate.check(item.target, "target")
        tell(0.1, "finding")
        source = chosen(self._find(item.source), item.source_face, SOURCE)
        tell(0.2, "finding")
        target = chosen(self._find(item.target), item.target_face, TARGET)
        made, said = self._paint(
            item, source, target, lambda share: tell(0.3 + 0.6 * share, "fusing")
        )
        picture = Picture(item.target.width, item.target.height, made.tobytes())
        tell(0.95, "checking")
        notes += self._gate.check(picture, "result")
        return Fused(picture, notes + said + doubts(source, target))


def squares(item: Blend | Look | Check) -> int:
    """An item's length: squares of 16 pixels; finding costs about as much in a small picture."""
    if isinstance(item, Look):
        pictures: tuple[Picture, ...] = (item.picture,)
    else:
        blend = item.blend if isinstance(item, Check) else item
        pictures = (blend.source, blend.target)
    return sum(max(1024, each.width * each.height // 256) for each in pictures)
