"""
A process of its own that fetches one checkpoint from a hub: `python -m backends.engines.hub`.

In a process of its own a download can be stopped at once, hashing takes no time from those who
are being answered, and what the hubs' libraries read from the environment is theirs alone.
`download` is the side of the one who asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TITLES = {"modelscope": "ModelScope", "huggingface": "Hugging Face"}


class Failed(Exception):
    """Why the checkpoint is not here: one phrase for a person, in English and in Chinese."""

    def __init__(self, text: str, zh: str) -> None:
        super().__init__(text)
        self.zh = zh


@dataclass(frozen=True, slots=True)
class Request:
    """
    `patterns` are names or globs, whose stars stay within a folder; `pins` are sha256 by file.
    `folder` is where the checkpoint belongs; empty `endpoint` means the hub's own site.
    """

    hub: str
    endpoint: str
    token: str
    repo: str
    patterns: Sequence[str]
    pins: Mapping[str, str]
    folder: str

    @property
    def title(self) -> str:
        return TITLES[self.hub]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of the hub's list. `digest` is its sha256, git's sha1 for a small one, or ""."""

    path: str
    size: int
    digest: str


def amount(count: float) -> str:
    """Bytes for a person: 16.6 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
