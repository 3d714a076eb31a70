"""
Pictures from strangers: bytes in, plain RGB pixels out, or one sentence about what is wrong.

What a file is, its own first bytes say, never its name. Size and shape are judged by the header,
before a pixel is decoded. What comes out is upright, opaque, 8 bits a channel, and its pixels
carry no EXIF, no place, no colour profile. Nothing is fetched: a picture is bytes, base64 or a
data URI.

Read: JPEG, PNG, WebP, GIF, BMP. TIFF, HEIC, AVIF, SVG and PDF are refused by name: browsers do
not show the first two, and their readers are the largest and the most attacked.
"""

import re
import struct
import zlib
from base64 import b64decode
from io import BytesIO
from math import ceil

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from backends.engines.picture import LIMITS, Note, Picture, PictureLimits
from backends.engines.picture_files import PictureFile, bare, inspect, turn_of
from backends.errors import BadInput

UNDERSTANDING_SIDE = 480
"""`side` for models that look at a picture small; 480 is the most that any of ours wants."""

_BUDGET = 6  # squares of `side` that a shrunk picture may have across and down, whatever its shape
_DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w.+=-]+)*;base64,", re.ASCII | re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII | re.IGNORECASE)

# What Pillow's readers raise about broken files: they are many hands' work, and few agree. A
# Warning is raised only where a process turns warnings into errors.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AssertionError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)


ANIMATED = Note("Animated: only the first frame was read.", "动图：只读取了第一帧。")
TRANSPARENT = Note("Transparent parts were read as white.", "透明部分按白色读取。")


def read_picture(
    data: bytes, *, side: int | None = None, limits: PictureLimits = LIMITS, field: str = "image"
) -> Picture:
    """
    The picture in a file's bytes, or BadInput that blames `field`.

    With `side`, it may come smaller, its shorter side at least twice that long: enough for a
    model that looks at `side` pixels, and several times cheaper to decode and to keep.
    """
    try:
        return _decode(data, side, limits)
    except BadInput as refusal:
        refusal.field = field
        raise


def decode_base64(text: str, *, limits: PictureLimits = LIMITS, field: str = "image") -> bytes:
    """
    The bytes in base64, or in a data URI whose media type is not believed. Strict: standard
    alphabet, padded, no spaces or line ends. Its length is judged before it is decoded.
    """
    head = _DATA_URI.match(text[:256])
    body = text[head.end() :] if head else text
    try:
        if len(body) * 3 // 4 - 2 > limits.bytes:
            raise _too_heavy(limits)
        return _strict(body)
    except BadInput as refusal:
        refusal.field = field
        raise


def _strict(body: str) -> bytes:
    try:
        return b64decode(body, validate=True)
    except ValueError as error:
        if _ADDRESS.match(body[:64]):
            raise BadInput(
                "Addresses are not fetched; send the picture itself, as base64 or as a data URI "
                "(data:image/jpeg;base64,…).",
                zh="不会抓取网址，请发送图片本身：base64 或数据 URI（data:image/jpeg;base64,…）。",
            ) from error
        raise BadInput(
            "The picture is not valid base64: standard alphabet, padded, on one line.",
            zh="图片不是有效的 base64：需使用标准字母表、带填充、写在一行内。",
        ) from error


def _decode(data: bytes, side: int | None, limits: PictureLimits) -> Picture:
    if not data:
        raise BadInput(
            "The picture is empty: its file has no bytes.", zh="图片为空：文件没有任何字节。"
        )
    if len(data) > limits.bytes:
        raise _too_heavy(limits)
    file = inspect(data)
    try:
        with file.open(BytesIO(file.data)) as image:
            _check_shape(image, limits)
            return _read(image, file, side)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(limits) from error
    except _BROKEN as error:
        raise BadInput(
            "The picture is damaged or cut short, and cannot be read. Save it again and retry.",
            zh="图片已损坏或不完整，无法读取。请重新保存后再试。",
        ) from error


def _check_shape(image: ImageFile, limits: PictureLimits) -> None:
    width, height = image.size
    if min(width, height) < 1:
        raise ValueError("a picture without pixels")
    if width * height > limits.pixels:
        raise _too_large(limits)
    if max(width, height) > limits.aspect * min(width, height):
        raise BadInput(
            f"The picture is too narrow: {width} × {height} pixels. "
            f"One side may be at most {limits.aspect} times the other.",
            zh=f"图片过于狭长：{width} × {height} 像素。长边最多为短边的 {limits.aspect} 倍。",
        )


def _read(image: ImageFile, file: PictureFile, side: int | None) -> Picture:
    moves = file.is_animated or (isinstance(image, WebPImageFile) and image.is_animated)
    notes = [ANIMATED] if moves else []
    if side:
        image.draft(None, (2 * side, 2 * side))  # JPEG at ½, ¼ or ⅛; both sides stay this long
    image.load()
    plain = _shrunk(_averageable(image), side)
    if plain.mode in ("RGBA", "LA"):
        plain, shines_through = _over_white(plain)
        notes += [TRANSPARENT] if shines_through else []
    if plain.mode != "RGB":
        plain = plain.convert("RGB")
    turn = turn_of(file.exif or image.info.get("exif", b""))
    if turn is not None:
        plain = plain.transpose(turn)
    pixels, drawn_from = plain.tobytes(), bare(file, turn)
    return Picture(plain.width, plain.height, pixels, tuple(notes), file=drawn_from)


def _averageable(image: Image.Image) -> Image.Image:
    """The picture in 8 bits a channel that are amounts of light, not numbers of colours."""
    if "transparency" in image.info:  # one colour stands for nothing
        return image.convert("RGBA")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # Pillow clips it white
    return image.convert("RGB") if image.mode in ("1", "P") else image


def _shrunk(image: Image.Image, side: int | None) -> Image.Image:
    """Averaged by whole squares of pixels, so that it stays twice `side` and within the budget."""
    times = times_smaller(*image.size, side) if side else 1
    return image.reduce(times) if times > 1 else image


def times_smaller(width: int, height: int, side: int) -> int:
    """By how much each side is divided, rounded up; what was made smaller so is not again."""
    times = max(1, min(width, height) // (2 * side))
    while ceil(width / times) * ceil(height / times) > (_BUDGET * side) ** 2:
        times += 1
    return times


def _over_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture on white, and whether any white came through."""
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    low, _ = alpha.getextrema()
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white, low != 255


def _too_heavy(limits: PictureLimits) -> BadInput:
    most = f"{limits.bytes / 1e6:g} MB"
    return BadInput(
        f"The picture's file is larger than {most}. Send a smaller one.",
        zh=f"图片文件超过 {most}。请使用更小的文件。",
    )


def _too_large(limits: PictureLimits) -> BadInput:
    most = limits.pixels / 1e6
    return BadInput(
        f"The picture has more than {most:g} megapixels. Send a smaller one.",
        zh=f"图片超过 {most * 100:g} 万像素。请使用更小的图片。",
    )
