"""
The model record: which model a service must run, with its revision.

It is written first; everything converges to it, a restart too. In this process's state folder
it is a file a service, replaced whole or not at all.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backends.errors import Conflict, QuartetError


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """`way` says how the change travels; `when` is ISO 8601 in UTC; `by` a principal's subject."""

    revision: int
    model: str
    way: str = "in-pod"
    previous: str = ""
    by: str = ""
    when: str = ""


class Records:
    """The records in one folder. Revisions only grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, service: str) -> ModelRecord | None:
        """The service's record; None if none was ever written."""
        try:
            data = self._path(service).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _record(json.loads(data))
        except (ValueError, TypeError, RecursionError) as error:
            raise QuartetError(
                f"The model record {self._path(service)} is damaged; restore it or delete it."
            ) from error

    def write(self, service: str, record: ModelRecord, *, seen: int) -> None:
        """
        Replace the record if its revision is still `seen` (0: there is none yet).
        Raises Conflict, naming what runs now.
        """
        now = self.read(service)
        revision = now.revision if now else 0
        if revision != seen or record.revision <= revision:
            raise Conflict(
                f"The model of {service} was changed meanwhile: now "
                f"{now.model if now else 'the default'}, revision {revision}. Review again.",
                zh=f"{service} 的模型刚刚被他人修改，现在是修订 {revision}。请重新查看。",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=self._folder, delete=False
        ) as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self._path(service))

    def _path(self, service: str) -> Path:
        return self._folder / f"{service}.json"


def _record(value: dict[str, Any]) -> ModelRecord:
    """Raises TypeError for what is no record: whoever reads one compares its revision."""
    record = ModelRecord(**value)
    texts = (record.model, record.way, record.previous, record.by, record.when)
    if type(record.revision) is not int or not all(isinstance(text, str) for text in texts):
        raise TypeError("a revision is a whole number, the rest is text")
    return record
