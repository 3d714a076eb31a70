"""
What a picture file's bytes say of themselves: which reader it needs, which way up it belongs.

Nothing here decodes a pixel. Formats that are known and not read are refused by name.
"""

import re
import struct
from collections.abc import Callable
from io import BytesIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Transpose
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from backends.errors import BadInput

_READ = "JPEG, PNG, WebP, GIF or BMP"
_SCANS = 100  # in a JPEG; real ones have at most about ten, and each costs a pass over the picture
_TAGS = 512  # in a picture's EXIF; real ones have a dozen

Open = Callable[[BytesIO], ImageFile]

# A Pillow class for the first bytes; not Image.open, whose size limit is the whole process's.
_READERS: tuple[tuple[re.Pattern[bytes], Open], ...] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"BM"), BmpImageFile),
)

_REFUSED: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "AVIF"),
    (re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?=<)[^\0]*<svg[\s>]"), "SVG"),
    (re.compile(rb"%PDF-"), "PDF"),
)


def reader_of(data: bytes) -> Open:
    """The reader for what the bytes say they are."""
    for pattern, reader in _READERS:
        if pattern.match(data):
            if reader is JpegImageFile and _scans(data) > _SCANS:
                raise BadInput(
                    f"The picture asks to be drawn over {_SCANS} times. Save it as a plain JPEG.",
                    zh=f"该图片要求重复绘制 {_SCANS} 次以上。请另存为普通 JPEG。",
                )
            return reader
    for pattern, name in _REFUSED:
        if pattern.match(data[:1024]):
            raise BadInput(
                f"{name} is not read here. Save the picture as {_READ}.",
                zh=f"此处不支持 {name}。请将图片另存为 JPEG、PNG、WebP、GIF 或 BMP。",
            )
    raise BadInput(
        f"This file is not a picture that can be read, whatever its name says. Send {_READ}.",
        zh="无论文件名是什么，该文件都不是可读取的图片。请使用 JPEG、PNG、WebP、GIF 或 BMP。",
    )


_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def turn_of(exif: object) -> Transpose | None:
    """
    How EXIF says that the pixels must be turned to stand upright; None: not at all, or it cannot
    be read. Not Pillow's reader: that one follows every pointer that a stranger wrote.
    """
    if not isinstance(exif, bytes):
        return None
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack(order + "I", tiff[4:8])
    for at in range(start + 2, min(len(tiff) - 11, start + 2 + 12 * _TAGS), 12):
        tag, kind, _, value = struct.unpack(order + "HHIH", tiff[at : at + 10])
        if (tag, kind) == (0x0112, 3):
            return _TURNS.get(value)
    return None


_MARKER = re.compile(rb"\xff+([^\x00\xff\x01\xd0-\xd7])")


def _scans(data: bytes) -> int:
    """
    How many passes over the picture a JPEG asks for; counting stops soon after too many. Only
    its own: those of a thumbnail in its EXIF, or of a film appended to it, are skipped.
    """
    at, scans = 2, 0
    while scans <= _SCANS and (marker := _MARKER.search(data, at)):
        at = marker.end()
        if marker[1] == b"\xd9":  # the end of the picture
            break
        scans += marker[1] == b"\xda"
        at += int.from_bytes(data[at : at + 2], "big")
    return scans
