"""
Fusion: the face of a source picture, put onto a face in a target picture.

The family's items and results, and the table of its models with one loader each. Nobody is
recognised here: a face is found and placed, never named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.engines import Engine, Model, weights
from backends.engines.picture import Note, Picture
from backends.errors import BadInput
from backends.settings import Settings

MOUTHS = ("auto", "source", "target")


@dataclass(frozen=True, slots=True)
class Blend:
    """
    One picture to make. A face is named by its place in `Seen.faces`, the largest is 0; None is
    the only one. `blend`: 0 the target's face, 1 the source's. `shape`: 0 the target's outline
    and features, 1 the source's. `light`: how much of the target's light is kept. `mouth`:
    whose, auto keeps the target's where one is open and the other is not. `forehead`: 0 up to
    the brows, 1 all of it, None as far as it is bare in both.
    """

    source: Picture
    target: Picture
    source_face: int | None = None
    target_face: int | None = None
    blend: float = 0.85
    shape: float = 0.35
    light: float = 0.8
    mouth: str = "auto"
    forehead: float | None = None

    def __post_init__(self) -> None:
        for name in ("blend", "shape", "light", "forehead"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:  # a NaN fails too
                raise BadInput(
                    f"{name} must lie between 0 and 1.",
                    zh=f"{name} 必须在 0 到 1 之间。",
                    field=name,
                )
        if self.mouth not in MOUTHS:
            raise BadInput(
                f"mouth must be one of {', '.join(MOUTHS)}.",
                zh=f"mouth 必须是 {'、'.join(MOUTHS)} 之一。",
                field="mouth",
            )


@dataclass(frozen=True, slots=True)
class Look:
    """One picture to look for faces in, so that a visitor can choose one."""

    picture: Picture


@dataclass(frozen=True, slots=True)
class Check:
    """A blend to judge without making it; BadInput says what is wrong, and Seen() is all well."""

    blend: Blend


@dataclass(frozen=True, slots=True)
class SeenFace:
    """
    One face to choose from. `box` is (x, y, width, height) in pixels, within the picture;
    `yaw` in degrees, positive to the picture's right; `why_not` says in a sentence why it
    cannot be used, and is empty when it can.
    """

    index: int
    box: tuple[int, int, int, int]
    score: float
    presence: float
    yaw: float
    size: float
    thumbnail: Picture
    why_not: Note | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The faces of one picture, the largest first."""

    faces: tuple[SeenFace, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of an item is done, 0 to 1, and the stage: checking, finding or fusing."""

    share: float
    stage: str


@dataclass(frozen=True, slots=True)
class Fused:
    """The target with its new face, not marked yet (see marking.py), and what to say beside it."""

    picture: Picture
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The same from a service elsewhere: `file` is the PNG that the owner gets, marked there."""

    file: bytes
    notes: tuple[Note, ...] = ()


def load_mesh_blend(settings: Settings) -> Engine[Blend | Look | Check, Fused | Seen | None]:
    from backends.engines.faces import shared_finder
    from backends.engines.fusion.embedded import MeshBlend
    from backends.engines.fusion.gate import Gate

    chosen = settings.fusion
    return MeshBlend(shared_finder(), Gate(chosen.unsafe_from, chosen.warn_from))


INSWAPPER = "insightface/inswapper_128"  # below the folder of models; nothing fetches it
INSWAPPER_FILES = ("det_10g.onnx", "w600k_r50.onnx", "inswapper_128.onnx")


def load_inswapper(settings: Settings) -> Engine[Blend | Look | Check, Fused | Seen | None]:
    folder = weights.find(INSWAPPER, INSWAPPER_FILES, settings.models)
    with weights.libraries():
        from backends.engines.fusion.onnx_swap import load
    return load(folder, settings)


def tell_inswapper(folder: Path) -> tuple[tuple[str, str], ...]:
    """Each file as it lies there, with its hash and licence."""
    from backends.engines.fusion.supplied import all_in

    return tuple((file.said.en, file.said.zh) for file in all_in(folder))


def _later(name: str, licence: str, licence_zh: str) -> Model:
    """A swapper that we know of and do not load yet."""
    return Model(
        name=name,
        title=name,
        load=None,
        licence=licence,
        licence_zh=licence_zh,
        may_download=False,
        about=("Swaps identity, as inswapper does", "与 inswapper 一样替换人物身份"),
        device="GPU",
    )


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="mesh-blend",
            title="Mesh blend",
            load=load_mesh_blend,
            licence="Apache-2.0",
            source="Our own warp and light over MediaPipe BlazeFace and FaceMesh",
            notice=(
                "Its networks are MediaPipe's BlazeFace and FaceMesh; their notice comes with the "
                "program.",
                "所用网络为 MediaPipe 的 BlazeFace 与 FaceMesh，其声明随程序提供。",
            ),
            about=("Small embedded engine", "内置小引擎"),
            limits=(
                "Moves skin, features and some of the shape; it does not learn who somebody is. "
                "Convincing for faces that look towards the camera, weak when the two are turned "
                "differently. Hair and head keep the target's shape, glasses and beards travel "
                "partly, and what is in front of a face is painted over.",
                "移植肤质、五官与部分脸型，并不学习人物身份。正面人脸效果最好，两张脸朝向差异大时较弱。"
                "头发与头型保持目标原样，眼镜和胡须只会部分转移，脸前的遮挡物会被覆盖。",
            ),
            embedded=True,
            threads=2,
        ),
        Model(
            name="inswapper",
            title="inswapper 128",
            load=load_inswapper,
            licence="Weights for non-commercial research only; never bundled, never downloaded",
            licence_zh="权重仅限非商业研究；不随程序提供，也不下载",
            may_download=False,
            told=tell_inswapper,
            source=INSWAPPER,
            files=INSWAPPER_FILES,
            parameters=186_400_000,
            architecture="onnx",
            notice=(
                "SCRFD, ArcFace and inswapper_128 are InsightFace's, for non-commercial research "
                "only; GFPGAN 1.4, which may lie beside them, is Apache-2.0.",
                "SCRFD、ArcFace 和 inswapper_128 属于 InsightFace，仅限非商业研究；"
                "可一并放入的 GFPGAN 1.4 采用 Apache-2.0。",
            ),
            terms_with_results=True,
            about=("Swaps identity, from files that you supply", "由您自备权重文件，替换人物身份"),
            limits=(
                "Gives the target's face the source's identity and keeps its pose, expression and "
                "light; the head's shape stays the target's, and shape is no control here. It "
                "paints 128 pixels at a time: a large face is painted in parts, or sharpened by "
                "GFPGAN if you supply it. What is in front of a face is painted over.",
                "将源人物的身份赋予目标人脸，保留其姿态、表情与光线；头型仍为目标所有，"
                "此处不支持调整脸型。每次只绘制 128 像素：较大的人脸分块绘制，"
                "或由您自备的 GFPGAN 增强清晰度。脸前的遮挡物会被覆盖。",
            ),
            device="GPU",
        ),
        _later(
            "ghost",
            "Apache-2.0; it needs ArcFace, for non-commercial research only",
            "Apache-2.0；但需要仅限非商业研究的 ArcFace",
        ),
        _later("hyperswap", "ResearchRAIL", ""),
        _later("simswap", "Not for commercial use", "不得用于商业用途"),
        _later("blendswap", "Not for commercial use", "不得用于商业用途"),
        Model(
            name="image-face-fusion",
            title="ModelScope image face fusion",
            load=None,
            licence="Treat as non-commercial: the bundle holds BFM and GPEN",
            licence_zh="请按非商业对待：其中包含 BFM 与 GPEN",
            may_download=False,
            source="iic/cv_unet-image-face-fusion_damo",
            about=("Swaps identity, in an environment of its own", "替换人物身份，需独立运行环境"),
            device="GPU",
        ),
    )
}


def sample() -> tuple[Any, ...]:
    """A portrait and its mirror image: two pictures, one face each."""
    from PIL import Image

    from backends.engines.pictures import read_picture

    portrait = Path(__file__).parent / "assets" / "portrait.jpg"
    picture = read_picture(portrait.read_bytes())
    mirror = picture.image().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return (Blend(picture, Picture(mirror.width, mirror.height, mirror.tobytes())),)


def terms(name: str) -> str:
    """What a model's licence wants said with each of its pictures; "" where it wants nothing."""
    model = MODELS.get(name)
    if model is None or not model.terms_with_results:
        return ""
    return f"A face changed by a machine: {model.title}. {model.notice[0]}"
