"""
The files that a user supplies for the ONNX route: what each is, and whether others know it.

They lie in one folder that the user fills; nothing of it is ever fetched, because most of it may
be used for non-commercial research only. A file that is not the published one is said to be
another and is no error: a copy in another precision is legitimate, and ONNX is data, not code.
Nothing here opens a network, so that it can be told before anything is loaded.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.engines.fusion import INSWAPPER_FILES
from backends.engines.hub import amount
from backends.engines.picture import Note

RESEARCH = Note("non-commercial research only", "仅限非商业研究")
APACHE = Note("Apache-2.0", "Apache-2.0")

DETECTOR, IDENTITY, SWAPPER = INSWAPPER_FILES
RESTORERS = ("GFPGANv1.4.onnx", "gfpgan_1.4.onnx")  # two publishers, two names

PUBLISHED: Mapping[str, str] = {
    DETECTOR: "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    IDENTITY: "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    SWAPPER: "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
    RESTORERS[0]: "6548e54cbcf248af385248f0c1193b359c37a0f98b836282b09cf48af4fd2b73",
}
"""sha256 of the files as projects that use them publish it; of the other names none is known."""


@dataclass(frozen=True, slots=True)
class Supplied:
    """One file as it lies there. `bytes` long; `licence` of what is published under its name."""

    name: str
    bytes: int
    sha256: str
    licence: Note

    @property
    def said(self) -> Note:
        """The file, its hash and its licence in a sentence."""
        known = PUBLISHED.get(self.name)
        en, zh = ("not the published file", "与公开文件不一致")
        if known is None:
            en, zh = ("no published hash is known", "无公开哈希可比对")
        elif known == self.sha256:
            en, zh = ("the published file", "与公开文件一致")
        return Note(
            f"{self.name}: {amount(self.bytes)}, sha256 {self.sha256}, {en}. "
            f"Licence of the published one: {self.licence.en}.",
            f"{self.name}：{amount(self.bytes)}，sha256 {self.sha256}，{zh}。"
            f"公开文件的许可：{self.licence.zh}。",
        )


def supplied(path: Path) -> Supplied:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    licence = APACHE if path.name in RESTORERS else RESEARCH
    return Supplied(path.name, path.stat().st_size, digest, licence)


def paths_in(folder: Path) -> list[Path]:
    """The files that must be there, and a restorer if one is."""
    restorers = [folder / name for name in RESTORERS]
    found = [path for path in restorers if path.is_file()]
    return [*(folder / name for name in INSWAPPER_FILES), *found[:1]]


def all_in(folder: Path) -> tuple[Supplied, ...]:
    """Each of those files; OSError where one is missing. Reads them whole."""
    return tuple(supplied(path) for path in paths_in(folder))
