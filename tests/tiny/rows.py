"""
A tiny checkpoint for every row of the tables that is one, so that a test may go through them all.

A row that a table gains and that is not here fails the test that compares the two.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from backends.engines import Model
from backends.families import FAMILIES, Family

Build = Callable[[Path], object]
"""Fills the folder of one checkpoint."""


def _cross_encoder(kind: str) -> Build:
    def build(folder: Path) -> None:
        from tests.tiny import cross_encoder

        {"bert": cross_encoder.build_bert, "xlm": cross_encoder.build_xlm_roberta}[kind](folder)

    return build


def _lychee(folder: Path) -> None:
    from tests.tiny import lychee

    lychee.build(folder)


def _ofa(folder: Path) -> None:
    from tests.tiny import entailment

    entailment.build(folder.parents[1])


def _hymt(size: str) -> Build:
    def build(folder: Path) -> None:
        from tests.tiny import hymt

        hymt.build(folder, size)

    return build


def _inswapper(folder: Path) -> None:
    """Its detector knows the faces of the family's sample."""
    from backends.engines import fusion
    from tests.portraits import face_of
    from tests.tiny import onnx_faces

    sample = fusion.sample()[0]
    faces = [
        (picture, face_of(picture)) for picture in (sample.source.array(), sample.target.array())
    ]
    onnx_faces.build(
        folder, [onnx_faces.Planted(picture, face.box, face.five) for picture, face in faces]
    )


BUILDS: Mapping[str, Build] = {
    "lychee-rerank-mm": _lychee,
    "bge-reranker-v2-m3": _cross_encoder("xlm"),
    "ms-marco-minilm-l6-v2": _cross_encoder("bert"),
    "ofa-large-snli-ve": _ofa,
    "hy-mt1.5-1.8b": _hymt("1.8B"),
    "hy-mt1.5-7b": _hymt("7B"),
    "hy-mt2-1.8b": _hymt("1.8B"),
    "hy-mt2-7b": _hymt("7B"),
    "inswapper": _inswapper,
}


def rows() -> dict[str, tuple[Family, Model]]:
    """Every row of the four tables that this version loads from a checkpoint's files."""
    return {
        model.name: (family, model)
        for family in FAMILIES.values()
        for model in family.models.values()
        if model.load is not None and model.files
    }


def build(name: str, models: Path) -> Path:
    """The row's checkpoint, in its place below `models`."""
    folder = models / rows()[name][1].source
    folder.parent.mkdir(parents=True, exist_ok=True)
    BUILDS[name](folder)
    return folder
