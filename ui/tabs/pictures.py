"""
Pictures from the page: paths of uploads in, `Picture`s and thumbnails out.

Gradio's own reading of one upload opens it, and answers a file that is no picture with a bare
"Error": here the path is handed over as it is, so that our one reader judges it.
"""

from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr

from backends.engines.picture import Picture, PictureLimits
from backends.engines.pictures import UNDERSTANDING_SIDE, read_picture
from backends.errors import BadInput
from backends.settings import Limits
from ui.texts import refusal

PHOTOS = Path(__file__).parents[1] / "photos"
SIDE = 168  # pixels of a thumbnail's longer side
KINDS = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"]


def upload(**given: Any) -> gr.Image:
    """A place for one picture, which hands over the path of what was put there."""
    image = gr.Image(type="filepath", image_mode=None, buttons=[], elem_classes="q-media", **given)
    # On the object: a class of our own would make Gradio write a file beside this one.
    image.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
    return image


def uploads(interactive: bool = True, **given: Any) -> gr.Gallery:
    """A place for many, which hands over (path, caption) for each."""
    return gr.Gallery(
        type="filepath",
        columns=4,
        height="auto",
        object_fit="cover",
        interactive=interactive,
        file_types=KINDS,
        sources=["upload", "clipboard"],
        buttons=[],
        elem_classes="q-media",
        **given,
    )


def photo(name: str) -> str:
    """The path of one of our own photos."""
    return str(PHOTOS / name)


def read_upload(
    path: str, field: str, limits: Limits, side: int | None = UNDERSTANDING_SIDE
) -> Picture:
    """BadInput for `field` if the file is no picture of ours, or is no longer there."""
    caps = PictureLimits(bytes=limits.upload_bytes, pixels=limits.picture_pixels)
    try:
        file = Path(path)
        if file.stat().st_size > caps.bytes:  # judged before it is read into memory
            raise refusal("picture.too_heavy", field, most=round(caps.bytes / 1e6))
        return read_picture(file.read_bytes(), side=side, limits=caps, field=field)
    except OSError as error:  # Gradio empties its cache of uploads after an hour
        raise refusal("picture.gone", field) from error
    except BadInput as fault:
        fault.field = field
        raise


def read_result(data: bytes) -> Picture:
    """A picture that we made ourselves."""
    return read_picture(data)


def thumbnail(picture: Picture) -> str:
    """A small data URI: a result shows no path and needs no second request."""
    image = picture.image()
    image.thumbnail((SIDE, SIDE))
    file = BytesIO()
    image.save(file, "WEBP", quality=75)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"
