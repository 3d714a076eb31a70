"""
`/v1/fusion`: one blend, answered at once; and what `/v1/fusion/jobs` reads.

> {"source", "target", "options": {"source_face"?, "target_face"?, "blend"?, "shape"?, "consent":
   true, "priority"?}, "stream"?, "check"?}
< the picture (PNG, marked as AI-edited); or events: {"progress", "stage"}…, then {"image",
   "notes", "notice"?}; or {"model", "checked"} if the pictures were only to be judged

Pictures are base64 or data URIs; or send a multipart form with files `source` and `target` and one
part of JSON, `options`.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.engines.fusion import Blend, Check, Look, Progress
from backends.engines.fusion import terms as terms_of
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.exact import Asked
from backends.serving.wire.fused import OUTPUTS
from backends.serving.wire.pictures import picture_as_sent, picture_from
from backends.serving.wire.question import Question, Terms
from backends.serving.wire.text import Sent, validated
from backends.settings import Limits

PICTURE_TYPE = "image/png"
NOTICE = "What the model's licence wants said with its pictures; absent where it wants nothing."
MOST_PRIORITY = 5
_CHOICES = ("source_face", "target_face", "blend", "shape")


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
    check: bool = Field(False, description="Only judge the pictures; make nothing.")
    timeout: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds the answer may take."
    )


class FusionShape:
    story = __doc__ or ""
    request: type[BaseModel] = FusionRequest
    response: type[BaseModel] | None = None  # a picture
    takes_forms = True
    outputs = OUTPUTS
    parts = TypeAdapter(Progress)

    def is_heavy(self, sent: Sent) -> bool:
        return True

    def read(self, sent: Sent, terms: Terms) -> Question:
        asked, blend = read_blend(sent, terms.limits)
        if asked.check:
            return Question((Check(blend),), _checked, asked.timeout)
        part = _part if asked.stream else None
        return Question((blend,), _write, asked.timeout, part, file=_file, is_long=True)

    def ask(self, items: Sequence[Any]) -> Asked:
        if len(items) != 1:
            raise ValueError("a request has one blend, or one picture to look for faces in")
        item: Blend | Check | Look = items[0]
        if isinstance(item, Look):
            return Asked("/v1/fusion/faces", {"image": picture_as_sent(item.picture)})
        blend = item.blend if isinstance(item, Check) else item
        options = {name: getattr(blend, name) for name in _CHOICES}
        if blend != Blend(blend.source, blend.target, **options):
            raise ValueError("a request has one light, mouth and forehead: the default")
        fields = {
            "source": picture_as_sent(blend.source),
            "target": picture_as_sent(blend.target),
            "options": {**options, "consent": True},  # a blend is read only where there is one
        }
        return Asked("/v1/fusion", fields | ({"check": True} if isinstance(item, Check) else {}))


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
        **({"notice": notice} if (notice := terms_of(answer.model)) else {}),
    }


def _checked(answer: Answer) -> dict[str, Any]:
    return {"model": answer.model, "checked": True}
