"""
Where a real model's files lie, and the sentences for a machine that lacks them.

A checkpoint is the folder that its hub offers, unchanged, below `QUARTET_MODELS__FOLDER` and the
checkpoint's name: `models/vec-ai/lychee-rerank-mm/config.json`. Nothing is fetched here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backends import settings
from backends.errors import ModelLoadError


def find(source: str, files: Iterable[str], group: settings.Models) -> Path:
    """
    The folder of the checkpoint `source`, such as "vec-ai/lychee-rerank-mm". `files` are the
    names or patterns ("*.safetensors") that must be there. Raises ModelLoadError, naming what is
    missing and where to put it.
    """
    folder = group.folder / source
    missing = [name for name in files if not any(folder.glob(name))]
    if missing:
        raise ModelLoadError(f"put {', '.join(missing)} of {source} into {folder.absolute()}")
    return folder


@contextmanager
def libraries() -> Iterator[None]:
    """Around the import of an engine: a missing library becomes the command that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"the library {(error.name or str(error)).partition('.')[0]} is missing; "
            "`make models` installs it"
        ) from error
