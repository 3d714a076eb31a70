"""
Fusion's outputs between processes of ours: a finished picture, faces, or nothing.

A picture that was made crosses as the marked file that its owner gets: no request, whoever sends
it, is answered with one that does not say that it was edited.
"""

from base64 import b64decode, b64encode
from dataclasses import asdict, replace
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from backends.engines.fusion import Finished, Fused, Seen, SeenFace
from backends.engines.picture import Note, Picture
from backends.errors import BadInput

Output: TypeAlias = Fused | Finished | Seen | None
_PNG = b"\x89PNG\r\n\x1a\n"


def _said(output: Output) -> dict[str, Any] | None:
    if output is None:
        return None
    if isinstance(output, Seen):
        return {"faces": [_said_face(face) for face in output.faces]}
    from backends.engines.fusion.packing import finish

    file, notes = finish(output)
    return {"image": b64encode(file).decode(), "notes": notes}


def _heard(value: Any) -> Output:
    """ValueError, LookupError or TypeError for what `_said` does not say."""
    if value is None or isinstance(value, Finished | Seen):
        return value
    if "faces" in value:
        return Seen(tuple(_heard_face(face) for face in value["faces"]))
    file = b64decode(value["image"], validate=True)
    if not file.startswith(_PNG):
        raise ValueError("not a finished picture")
    return Finished(file, tuple(_note(note) for note in value["notes"]))


OUTPUTS = TypeAdapter(tuple[Annotated[Any, PlainSerializer(_said), PlainValidator(_heard)], ...])

_BARE = Picture(0, 0, b"")  # in a face's place while the rest of it is read
_FACE = TypeAdapter(SeenFace)


def _said_face(face: SeenFace) -> dict[str, Any]:
    rest = asdict(replace(face, thumbnail=_BARE))
    return {**rest, "thumbnail": b64encode(face.thumbnail.as_file()).decode()}


def _heard_face(value: dict[str, Any]) -> SeenFace:
    from backends.engines.pictures import read_picture

    try:
        thumbnail = read_picture(b64decode(value["thumbnail"], validate=True))
    except BadInput as error:
        raise ValueError("not a thumbnail") from error
    return _FACE.validate_python({**value, "thumbnail": thumbnail})


def _note(value: Any) -> Note:
    english, chinese = value
    return Note(str(english), str(chinese))
