"""
Choosing a face, in the same words for every fusion engine: which one is meant, and why not.

Values and sentences only; how a face is found and what is painted is the engines' own.
"""

from typing import Protocol, TypeVar

import cv2
import numpy as np

from backends.engines.fusion import Blend, SeenFace
from backends.engines.picture import Note, Picture
from backends.errors import BadInput

SMALLEST = 24  # pixels of face width; below, there is nothing to take or to paint on
MOST_TURNED = 40  # degrees; beyond, half of the face is not in the picture
TURNED_APART = 25  # degrees between source and target from which the result looks flat
_THUMBNAIL = 112  # pixels

SOURCE = ("source", "source picture", "源图片")
TARGET = ("target", "target picture", "目标图片")


class Found(Protocol):
    """A face as a finder tells it; the units are those of `faces.Face`."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...
    @property
    def score(self) -> float: ...
    @property
    def presence(self) -> float: ...
    @property
    def yaw(self) -> float: ...
    @property
    def size(self) -> float: ...


F = TypeVar("F", bound=Found)


def refuse_the_same(item: Blend) -> None:
    """Two faces of one group may change; one face with itself is a slip."""
    if item.source.digest != item.target.digest:
        return
    if None in (item.source_face, item.target_face) or item.source_face == item.target_face:
        raise BadInput(
            "Source and target are the same picture; choose another one for either, or two "
            "different faces of it.",
            zh="源图片与目标图片相同；请更换其中一张，或选择图中两张不同的脸。",
            field="target",
        )


def chosen(faces: tuple[F, ...], index: int | None, which: tuple[str, str, str]) -> F:
    """The face that is meant, if it can be used; BadInput says why not."""
    field, en, zh = which
    if not faces:
        raise BadInput(
            f"No face was found in the {en}; use one where a face looks towards the camera.",
            zh=f"{zh}中未找到人脸；请使用人脸朝向镜头的图片。",
            field=field,
        )
    if index is None and len(faces) > 1:
        raise BadInput(
            f"The {en} shows {len(faces)} faces; choose one of them with {field}_face, "
            f"0 (the largest) to {len(faces) - 1}.",
            zh=f"{zh}中有 {len(faces)} 张人脸；请用 {field}_face 选择其一，"
            f"从 0（最大）到 {len(faces) - 1}。",
            field=f"{field}_face",
        )
    index = index or 0
    if not 0 <= index < len(faces):
        raise BadInput(
            f"The {en} has no face {index}; it shows {len(faces)}, counted from 0.",
            zh=f"{zh}中没有编号 {index} 的人脸；共 {len(faces)} 张，从 0 开始编号。",
            field=f"{field}_face",
        )
    why = _why_not(faces[index])
    if why is not None:
        raise BadInput(f"The face in the {en} {why.en}", zh=f"{zh}中的人脸{why.zh}", field=field)
    return faces[index]


def _why_not(face: Found) -> Note | None:
    """Why a face cannot be used, as the end of a sentence about it."""
    if face.size < SMALLEST:
        return Note(
            f"is {face.size:.0f} pixels wide; at least {SMALLEST} are needed.",
            f"宽 {face.size:.0f} 像素；至少需要 {SMALLEST} 像素。",
        )
    if abs(face.yaw) > MOST_TURNED:
        return Note(
            f"is turned {abs(face.yaw):.0f}° away; use one turned by at most {MOST_TURNED}°.",
            f"偏转 {abs(face.yaw):.0f}°；请使用偏转不超过 {MOST_TURNED}° 的人脸。",
        )
    return None


def doubts(source: Found, target: Found) -> tuple[Note, ...]:
    """What may not look right in the result, for two faces that can be used."""
    notes: tuple[Note, ...] = ()
    if abs(source.yaw - target.yaw) > TURNED_APART:
        notes += (
            Note(
                "The two faces are turned differently; the result may look flat.",
                "两张脸朝向差异较大，结果可能不够立体。",
            ),
        )
    if source.size * 2 < target.size:
        notes += (
            Note(
                "The source's face is much smaller than the target's; fine detail is missing.",
                "源图片中的人脸远小于目标人脸，细节会不足。",
            ),
        )
    return notes


def seen_face(index: int, face: Found, picture: Picture) -> SeenFace:
    low = np.floor(np.maximum(face.box[:2], 0)).astype(int)
    high = np.ceil(np.minimum(face.box[2:], (picture.width, picture.height))).astype(int)
    width, height = (int(side) for side in np.maximum(high - low, 1))
    why = _why_not(face)
    return SeenFace(
        index=index,
        box=(int(low[0]), int(low[1]), width, height),
        score=face.score,
        presence=face.presence,
        yaw=face.yaw,
        size=face.size,
        thumbnail=_thumbnail(face, picture),
        why_not=why and Note(f"This face {why.en}", f"这张脸{why.zh}"),
    )


def _thumbnail(face: Found, picture: Picture) -> Picture:
    """A square around the face, cut at the picture's edge."""
    x0, y0, x1, y1 = face.box
    reach = max(x1 - x0, y1 - y0) * 0.7
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = picture.array()[top : int(y + reach) + 1, left : int(x + reach) + 1]
    scale = min(1.0, _THUMBNAIL / max(part.shape[:2]))
    small = cv2.resize(
        np.ascontiguousarray(part), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    return Picture(small.shape[1], small.shape[0], small.tobytes())
