"""
`/v1/fusion/faces`: the faces of a picture, the largest first, to choose one.

> {"image", "timeout"?}
< {"model", "faces": [{"index", "box": [x, y, w, h], "score", "yaw", "presence", "thumbnail",
   "why_not"?}]}

The image is base64 or a data URI; or send a multipart form with a file `image`. `why_not` says
why a face cannot be used.
"""

from base64 import b64encode
from io import BytesIO
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.fusion import Look, Seen, SeenFace
from backends.engines.picture import Picture
from backends.serving import Answer
from backends.serving.wire.fused import OUTPUTS
from backends.serving.wire.pictures import picture_from
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated


class FacesRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    image: str | bytes = Field(description="Base64, a data URI, or a file of a form.")
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )


class FoundFace(BaseModel):
    index: int = Field(description="Its name in other requests; 0 is the largest.")
    box: tuple[int, int, int, int] = Field(description="x, y, width, height in pixels.")
    score: float
    yaw: float = Field(description="Degrees, positive to the picture's right.")
    presence: float
    thumbnail: str = Field(description="A data URI.")
    why_not: str | None = Field(None, description="Why it cannot be used; absent if it can.")


class FacesResponse(BaseModel):
    model: str
    faces: list[FoundFace]


class FacesShape:
    story = __doc__ or ""
    request: type[BaseModel] = FacesRequest
    response: type[BaseModel] | None = FacesResponse
    takes_forms = True
    outputs = OUTPUTS
    parts = TypeAdapter(None)

    def is_heavy(self, sent: Sent) -> bool:
        return True

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked = validated(FacesRequest, sent)
        look = Look(picture_from(asked.image, "image", terms.limits, whole=True))
        return Question((look,), _write, asked.timeout)


def _write(answer: Answer) -> dict[str, Any]:
    seen: Seen = answer[0]
    return {"model": answer.model, "faces": [_said(face) for face in seen.faces]}


def _said(face: SeenFace) -> dict[str, Any]:
    return {
        "index": face.index,
        "box": list(face.box),
        "score": round(face.score, 4),
        "yaw": round(face.yaw, 1),
        "presence": round(face.presence, 4),
        "thumbnail": _data_uri(face.thumbnail),
        **({"why_not": face.why_not.en} if face.why_not else {}),
    }


def _data_uri(picture: Picture) -> str:
    file = BytesIO()
    picture.image().save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"
