"""
The ONNX route: SCRFD finds, ArcFace tells whose face it is, inswapper paints, GFPGAN sharpens.

All weights come from a folder that the user fills. What every fusion engine does alike is in
`course`; this paints one face, and says which files and which device it runs with.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from backends import settings
from backends.engines import Emit
from backends.engines.faces import Floats, Pixels
from backends.engines.fusion import Blend, Check, Fused, Look, Seen, onnx_files
from backends.engines.fusion.alignment import (
    ARCFACE_128,
    FFHQ_512,
    bounds,
    cut,
    face_region,
    fitted,
    laid_back,
    scale_of,
)
from backends.engines.fusion.arcface import ArcFace
from backends.engines.fusion.course import Course, Step, squares
from backends.engines.fusion.gate import Gate
from backends.engines.fusion.gfpgan import SIDE as RESTORED
from backends.engines.fusion.gfpgan import Gfpgan
from backends.engines.fusion.inswapper import SIDE, Swapper
from backends.engines.fusion.onnx_files import Network
from backends.engines.fusion.scrfd import FivePoints, Scrfd
from backends.engines.fusion.supplied import paths_in, supplied
from backends.engines.picture import Note

log = logging.getLogger(__name__)

_UNUSED = {"shape": "脸型", "light": "光线"}  # controls of a blend that do nothing here
_DEFAULTS = {f.name: f.default for f in fields(Blend)}


class InSwapper:
    """
    Thread-safe: networks are read only. `device` is the device that it really has; `remarks`
    name the files with hash and licence, and say when a GPU that was asked for is not used.
    """

    model = "inswapper"

    def __init__(
        self, course: Course[FivePoints], networks: Sequence[Network], remarks: tuple[Note, ...]
    ) -> None:
        cv2.setNumThreads(1)  # engine threads are the service's; more only fight for the cores
        self._course = course
        self._networks = networks
        self.device = "GPU" if all(network.on_gpu for network in networks) else "CPU"
        self.remarks = remarks

    def tokens(self, item: Blend | Look | Check) -> int:
        return squares(item)

    def run(
        self, batch: Sequence[Blend | Look | Check], emit: Emit
    ) -> Sequence[Fused | Seen | None]:
        return self._course.run(batch, emit)

    def close(self) -> None:
        self._course.close()
        for network in self._networks:
            network.close()


class Painter:
    """The networks that paint one face."""

    def __init__(
        self,
        identity: ArcFace,
        swapper: Swapper,
        restorer: Gfpgan | None,
        group: settings.Inswapper,
    ) -> None:
        self._identity = identity
        self._swapper = swapper
        self._restorer = restorer
        self._group = group

    def paint(
        self, item: Blend, source: FivePoints, target: FivePoints, step: Step
    ) -> tuple[Pixels, tuple[Note, ...]]:
        picture = item.target.array()
        if item.blend <= 0:
            return picture.copy(), ()
        latent = self._swapper.latent(self._identity.identity(item.source.array(), source.five))
        step(0.1)
        side = SIDE * boost(target.five, self._group.boost)
        matrix = fitted(target.five, ARCFACE_128, side)
        swapped = self._swapper.swap(
            cut(picture, matrix, side), latent, lambda share: step(0.1 + 0.6 * share)
        )
        box = left, top, right, bottom = bounds(picture.shape, matrix, side)
        part = laid_back(face_region(side, item.mouth, item.forehead), matrix, box)[..., None]
        before = picture[top:bottom, left:right].astype(np.float32)
        made = before + part * (laid_back(swapped, matrix, box) - before)
        if self._restorer is not None and self._group.restore > 0:
            sharp = self._sharp(self._restorer, _placed(picture, made, box), target.five, box)
            made = made + self._group.restore * part * (sharp - made)
            step(0.9)
        return _placed(picture, before + item.blend * (made - before), box), _unused(item)

    def _sharp(
        self, restorer: Gfpgan, picture: Pixels, five: Floats, box: tuple[int, int, int, int]
    ) -> Floats:
        """The box of the picture as the restorer sees it."""
        matrix = fitted(five, FFHQ_512, RESTORED)
        return laid_back(restorer.restored(cut(picture, matrix, RESTORED)), matrix, box)


def boost(five: Floats, most: int) -> int:
    """How many squares of 128 each way: as many as the face has pixels for, at most `most`."""
    wide = SIDE / scale_of(fitted(five, ARCFACE_128, SIDE))
    return min(most, max(1, int(np.ceil(wide / SIDE - 0.25))))


def _placed(picture: Pixels, region: Floats, box: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = box
    result = picture.copy()
    result[top:bottom, left:right] = np.clip(np.rint(region), 0, 255).astype(np.uint8)
    return result


def _unused(item: Blend) -> tuple[Note, ...]:
    """Each control that was moved and does nothing here."""
    return tuple(
        Note(f"inswapper does not use {name}.", f"inswapper 不使用{zh}设置。")
        for name, zh in _UNUSED.items()
        if getattr(item, name) != _DEFAULTS[name]
    )


def load(folder: Path, chosen: settings.Settings) -> InSwapper:
    """The engine with the files of the folder."""
    paths = paths_in(folder)
    files = [supplied(path) for path in paths]
    threads = chosen.batching.engine_threads
    networks = [Network(path, chosen.models.device, threads) for path in paths]
    gate = Gate(chosen.fusion.unsafe_from, chosen.fusion.warn_from)
    restoring = Gfpgan(networks[3]) if len(networks) > 3 else None
    painter = Painter(ArcFace(networks[1]), Swapper(networks[2]), restoring, chosen.inswapper)
    fallen = onnx_files.fall_back_of(chosen.models.device, networks)
    remarks = (*([fallen] if fallen else []), *(file.said for file in files))
    course = Course(Scrfd(networks[0]).find, painter.paint, gate)
    engine = InSwapper(course, networks, remarks)
    if fallen:
        log.warning("fell back to the CPU", extra={"model": engine.model, "detail": fallen.en})
    for file in files:
        log.info("supplied weights", extra={"model": engine.model, "detail": file.said.en})
    return engine
