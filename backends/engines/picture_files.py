"""
What a picture file's bytes say of themselves, and what of them is needed to draw the picture.

A file may carry a book beside its picture: comments, profiles, places, further frames. Readers
spend time on all of it, and a hostile file can make that hours (20 MB of GIF comments). So JPEG,
PNG and GIF are taken apart here, and only the parts that draw the first frame are handed on.
Nothing here decodes a pixel. Formats that are known and not read are refused by name.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
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
_PARTS = 100_000  # of a file; 20 MB in blocks as small as any writer makes them is fewer
_SCANS = 100  # of a JPEG; real ones have at most about ten, and each costs a pass over the picture
_TAGS = 512  # of a picture's EXIF; real ones have a dozen

Open = Callable[[BytesIO], ImageFile]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """
    The parts that draw the picture, a Pillow class that reads them, and what was learned on the
    way. `open` is called instead of Image.open, whose size limit is the whole process's.
    """

    open: Open
    data: bytes
    exif: bytes = b""
    is_animated: bool = False


def inspect(data: bytes) -> PictureFile:
    """Raises BadInput for what is not read; what is broken is left for its reader to find."""
    for pattern, reader in _READERS:
        if pattern.match(data):
            return reader(data)
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


_MARKER = re.compile(rb"\xff+([^\x00\xff\x01\xd0-\xd7])")
_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
_SPEAKING = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # applications but JFIF and Adobe, and comments
_OF_COLOUR = {0xE0: (b"JFIF\0", 12, b"\0\0"), 0xEE: (b"Adobe", 12, b"")}


def _jpeg(data: bytes) -> PictureFile:
    at, parts, exif, scans, markers = 2, [data[:2]], b"", 0, 0
    while marker := _MARKER.search(data, at):
        kind, start = marker[1][0], marker.end() - 1
        parts += [data[at : marker.start()]] if scans else []  # pixels; before them, rubbish
        if kind == _END:
            parts.append(b"\xff\xd9")
            break
        at = start + 1 + int.from_bytes(data[start + 1 : start + 3], "big")
        if kind in _OF_COLOUR:
            parts.append(_of_colour(kind, data[start + 3 : at]))
        elif kind not in _SPEAKING:
            parts += [b"\xff", data[start:at]]
        elif kind == _EXIF and not exif:
            exif = data[start + 3 : at]
        scans += kind == _SCAN
        markers += 1
        if scans > _SCANS or markers > _PARTS:
            raise _too_many()
    else:
        parts.append(data[at:])
    return PictureFile(JpegImageFile, b"".join(parts), exif)


def _of_colour(kind: int, body: bytes) -> bytes:
    """JFIF's segment and Adobe's say which colours are meant; a thumbnail behind it goes."""
    name, length, none = _OF_COLOUR[kind]
    if not body.startswith(name):
        return b""
    said = body[:length] + none
    return bytes((0xFF, kind)) + struct.pack(">H", len(said) + 2) + said


_DRAWING = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


def _png(data: bytes) -> PictureFile:
    at, parts, exif, is_animated, chunks = 8, [data[:8]], b"", False, 0
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body, end = at + 8, at + 12 + length
        if kind in _DRAWING:
            parts.append(data[at:end])
        elif kind == b"eXIf":
            exif = data[body : end - 4]
        elif kind == b"acTL":
            is_animated = data[body : body + 4] > b"\0\0\0\1"
        at = end
        chunks += 1
        if chunks > _PARTS:
            raise _too_many()
    return PictureFile(PngImageFile, b"".join(parts), exif, is_animated)


_CONTROL, _IMAGE, _EXTENSION = 0xF9, 0x2C, 0x21


def _gif(data: bytes) -> PictureFile:
    """The screen, the control block of the first image, and that image."""
    start = at = 13 + _palette(data[10:11])
    control = image = b""
    blocks = 0
    while at < len(data) and data[at] in (_EXTENSION, _IMAGE):
        begin, is_image = at, data[at] == _IMAGE
        if is_image and image:
            return PictureFile(GifImageFile, data[:start] + control + image + b";", b"", True)
        at += 11 + _palette(data[at + 9 : at + 10]) if is_image else 2
        while at < len(data) and data[at] and blocks <= 2 * _PARTS:
            at += 1 + data[at]  # a sub-block begins with its length
            blocks += 1
        at += 1
        blocks += 1
        if blocks > 2 * _PARTS:
            raise _too_many()
        if is_image:
            image = data[begin:at]
        elif data[begin + 1 : begin + 2] == bytes([_CONTROL]) and not image:
            control = data[begin:at]
    return PictureFile(GifImageFile, data[:start] + control + image + b";")


def _palette(flags: bytes) -> int:
    """Bytes of the colour table that follows."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _webp(data: bytes) -> PictureFile:
    return PictureFile(WebPImageFile, data)


def _bmp(data: bytes) -> PictureFile:
    return PictureFile(BmpImageFile, data)


_READERS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], PictureFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"BM"), _bmp),
)

_REFUSED: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb".{4}ftypavi[fs]", re.DOTALL), "AVIF"),
    (re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*(?=<)[^\0]*<svg[\s>]"), "SVG"),
    (re.compile(rb"%PDF-"), "PDF"),
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


def turn_of(exif: bytes) -> Transpose | None:
    """
    How EXIF says that the pixels must be turned to stand upright; None: not at all, or it cannot
    be read. Not Pillow's reader: that one follows every pointer that a stranger wrote.
    """
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


def bare(file: PictureFile, turn: Transpose | None) -> bytes:
    """
    A file that gives the same pixels, turned the same way, and tells nothing else; empty for a
    kind that is not taken apart here.
    """
    if file.open is PngImageFile and turn is None:
        return file.data
    if file.open is not JpegImageFile:
        return b""
    return file.data[:2] + _held(turn) + file.data[2:]


def _held(turn: Transpose | None) -> bytes:
    """An EXIF segment that says only how the camera was held."""
    if turn is None:
        return b""
    value = next(value for value, each in _TURNS.items() if each is turn)
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, value, 0)
    exif = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif


def _too_many() -> BadInput:
    return BadInput(
        "The picture's file is made of more parts than any photo. Save the picture anew and retry.",
        zh="图片文件包含的数据块过多，不像正常照片。请重新保存图片后再试。",
    )
