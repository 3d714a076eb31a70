"""
A picture as every family knows it: plain RGB pixels, and how they were read.

Only values: reading files is `pictures`. The libraries load when pixels are first looked at, so
that the tables of models cost nothing to import.
"""

import struct
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """`bytes` of the file, `pixels` of the picture, `aspect`: longer side to shorter."""

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    aspect: int = 50


@dataclass(frozen=True, slots=True)
class Note:
    """What the visitor should know about how the picture was read, in English and Chinese."""

    en: str
    zh: str


LIMITS = PictureLimits()


@dataclass(frozen=True, slots=True)
class Picture:
    """
    One picture: `rgb` holds height × width × 3 bytes. `digest` names its pixels: pictures with
    the same digest look the same. Never shown in a log: its pixels are not part of its repr.
    `file` is what draws it, from the JPEG or PNG that it was read from: the scan and which way is
    up, nothing that a camera or a program noted. Read again, it gives the same pixels. Empty for
    a picture that was made here or read from another kind of file.
    """

    width: int
    height: int
    rgb: bytes = field(repr=False)
    notes: tuple[Note, ...] = ()
    digest: bytes = field(init=False, repr=False)
    file: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.rgb) != self.width * self.height * 3:
            raise ValueError("a picture has three bytes a pixel")
        shape = struct.pack("<QQ", self.width, self.height)
        object.__setattr__(self, "digest", blake2b(self.rgb, digest_size=16, key=shape).digest())

    def array(self) -> "NDArray[np.uint8]":
        """Height × width × 3, RGB, read-only; no copy."""
        import numpy as np

        return np.frombuffer(self.rgb, np.uint8).reshape(self.height, self.width, 3)

    def as_file(self) -> bytes:
        """What draws it: a JPEG or PNG that gives its pixels and tells nothing else."""
        if self.file:
            return self.file
        made = BytesIO()
        self.image().save(made, "PNG", compress_level=1)  # a fifth of the pixels' bytes, quickly
        return made.getvalue()

    def image(self) -> "Image.Image":
        """The same as a Pillow picture; a copy."""
        from PIL import Image

        return Image.frombytes("RGB", (self.width, self.height), self.rgb)
