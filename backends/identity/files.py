"""
A small JSON file in the state folder: read again when it has changed, replaced whole, one writer
at a time, readable by its owner alone.

Several processes may have it open: the portal, and a command beside it.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from backends.errors import BadInput, QuartetError

_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadInput)

T = TypeVar("T")


class StateFile(Generic[T]):
    """`read` makes the rows of the file, by name, into what they mean; any error is damage."""

    def __init__(
        self, path: Path, what: str, read: Callable[[dict[str, Any]], dict[str, T]]
    ) -> None:
        self._path = path
        self._what = what
        self._read = read
        self._seen: tuple[int, int, int] | None = None
        self._values: dict[str, T] = {}

    def all(self) -> dict[str, T]:
        """What the file holds now. Raises QuartetError if it is damaged."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        now = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if now != self._seen:
            self._values, self._seen = self._parsed(), now
        return self._values

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes meanwhile: what is read inside is still so when it is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # the file itself will be another one
            yield
        finally:
            os.close(folder)  # which releases it

    def replace(self, rows: dict[str, Any]) -> None:
        with tempfile.NamedTemporaryFile(  # its mode is 0600
            "w", encoding="utf-8", dir=self._path.parent, delete=False
        ) as file:
            json.dump(rows, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._path)

    def _parsed(self) -> dict[str, T]:
        try:
            return self._read(json.loads(self._path.read_text(encoding="utf-8")))
        except _DAMAGED as error:
            raise QuartetError(
                f"The {self._what} file {self._path} is damaged; restore it or delete it."
            ) from error
