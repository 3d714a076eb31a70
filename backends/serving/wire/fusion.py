"""
`/v1/fusion`: one blend, answered at once; and what `/v1/fusion/jobs` and `/v1/fusion/faces` read.

> {"source", "target", "options": {"source_face"?, "target_face"?, "blend"?, "shape"?, "consent":
   true, "priority"?}, "stream"?}
< the picture (PNG, marked as AI-edited); or events: {"progress", "stage"}…, then {"image", "notes"}

Pictures are base64 or data URIs; or send a multipart form with files `source` and `target` and one
part of JSON, `options`.
"""

import json
from base64 import b64encode
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backends.engines.fusion import Blend, Look, Progress
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.pictures import picture_from
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated
from backends.settings import Limits

PICTURE_TYPE = "image/png"
MOST_PRIORITY = 5


class FusionOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    source_face: int | None = Field(None, description="Which face, 0 is the largest.")
    target_face: int | None = Field(None, description="Which face, 0 is the largest.")
    blend: float = Field(0.85, description="0 the target's face, 1 the source's.")
    shape: float = Field(0.35, description="0 the target's features, 1 the source's.")
    consent: bool = Field(False, description="Everyone pictured has agreed; must be true.")
    priority: int = Field(
        0, ge=-MOST_PRIORITY, le=MOST_PRIORITY, description="Higher runs sooner; of jobs only."
    )


class FusionRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    source: str | bytes = Field(description="Whose face: base64, a data URI, or a file of a form.")
    target: str | bytes = Field(description="Where it goes.")
    options: FusionOptions
    stream: bool = Field(False, description="Send progress as server-sent events.")
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )


class FacesRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    image: str | bytes = Field(description="Base64, a data URI, or a file of a form.")


class FusionShape:
    story = __doc__ or ""
    request: type[BaseModel] = FusionRequest
    response: type[BaseModel] | None = None  # a picture
    takes_forms = True

    def is_heavy(self, sent: Sent) -> bool:
        return True

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked, blend = read_blend(sent, terms.limits)
        part = _part if asked.stream else None
        return Question((blend,), _write, asked.timeout, part, file=_file)


def read_blend(sent: Sent, limits: Limits) -> tuple[FusionRequest, Blend]:
    """The request and its blend, consent checked before a picture is decoded."""
    asked = validated(FusionRequest, _with_options(sent))
    options = asked.options
    if not options.consent:
        raise BadInput(
            "consent must be true: everyone pictured has to have agreed to this edit.",
            zh="必须确认照片中的所有人均已同意此编辑。",
            field="consent",
        )
    blend = Blend(
        picture_from(asked.source, "source", limits, whole=True),
        picture_from(asked.target, "target", limits, whole=True),
        source_face=options.source_face,
        target_face=options.target_face,
        blend=options.blend,
        shape=options.shape,
    )
    return asked, blend


def read_look(sent: Sent, limits: Limits) -> Look:
    asked = validated(FacesRequest, sent)
    return Look(picture_from(asked.image, "image", limits, whole=True))


def _with_options(sent: Sent) -> Sent:
    """A form's `options` are JSON text; they are read as strictly as in JSON."""
    if not sent.is_form:
        return sent
    value: dict[str, Any] = {name: given[-1] for name, given in sent.value.items()}
    text = value.get("options")
    if isinstance(text, str | bytes):
        try:
            value["options"] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"options must be JSON: {error}.", field="options") from error
    if "timeout" in value or "stream" in value:
        raise BadInput("In a form, send timeout as the header x-timeout.", field="timeout")
    return Sent(value, sent.cleaned)


def _part(index: int, part: Progress) -> dict[str, Any]:
    return {"progress": round(part.share, 3), "stage": part.stage}


def _file(answer: Answer) -> tuple[bytes, str]:
    from backends.engines.fusion.packing import finish

    return finish(answer[0])[0], PICTURE_TYPE


def _write(answer: Answer) -> dict[str, Any]:
    from backends.engines.fusion.packing import finish

    data, notes = finish(answer[0])
    return {
        "model": answer.model,
        "image": b64encode(data).decode(),
        "notes": [english for english, _ in notes],
    }
