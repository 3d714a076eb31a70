"""
Pictures in a request: a file of a form, or base64 or a data URI in JSON. An address is never
fetched.
"""

from base64 import b64encode
from typing import Any

from backends.engines.picture import Picture, PictureLimits
from backends.settings import Limits


def picture_from(value: str | bytes, field: str, limits: Limits, whole: bool = False) -> Picture:
    """
    The picture, at the size at which our models look, or at its own. BadInput that names the
    field.
    """
    # here, because a service that never sees a picture need not load the readers
    from backends.engines.pictures import UNDERSTANDING_SIDE, decode_base64, read_picture

    caps = PictureLimits(bytes=limits.upload_bytes, pixels=limits.picture_pixels)
    data = value if isinstance(value, bytes) else decode_base64(value, limits=caps, field=field)
    return read_picture(data, side=None if whole else UNDERSTANDING_SIDE, limits=caps, field=field)


def picture_as_sent(picture: Picture) -> str:
    """Base64 of a file that `picture_from` makes this picture of."""
    return b64encode(picture.as_file()).decode()


def notes_of(picture: Picture, field: str) -> list[str]:
    """How it was read, one warning each."""
    return [f"{field}: {note.en}" for note in picture.notes]


def url_of(part: Any) -> Any:
    """The `url` of a vLLM `image_url` part, which may be a text itself."""
    given = part.get("image_url")
    return given.get("url") if isinstance(given, dict) else given
