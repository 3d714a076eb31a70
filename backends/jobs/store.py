"""
Jobs on a disk: one SQLite table for what they are, one folder of files for their pictures.

A row is written before its caller is answered, and every change of state is one transaction that
names the state it changes: whoever is too late changes nothing. Files are written whole, under
another name first. One process at a time holds the folder. Every call blocks on the disk, so all
of them are made from one thread, which is not the event loop's.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from backends.errors import JobsError
from backends.jobs import JobState

P = ParamSpec("P")
R = TypeVar("R")

_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, token_hash TEXT NOT NULL,
    priority INTEGER NOT NULL, trace TEXT NOT NULL, request_id TEXT NOT NULL,
    state TEXT NOT NULL, created REAL NOT NULL, queued REAL NOT NULL, expires REAL NOT NULL,
    started REAL, ended REAL, attempt INTEGER NOT NULL,
    error TEXT NOT NULL, error_zh TEXT NOT NULL, error_type TEXT NOT NULL,
    can_retry INTEGER NOT NULL, notes TEXT NOT NULL, size INTEGER NOT NULL,
    model TEXT NOT NULL, revision INTEGER NOT NULL, pod TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_by_caller ON jobs (tenant, subject);
CREATE INDEX IF NOT EXISTS jobs_by_expiry ON jobs (expires);
"""

_ADDED = {
    "model": "TEXT NOT NULL DEFAULT ''",
    "revision": "INTEGER NOT NULL DEFAULT 0",
    "pod": "TEXT NOT NULL DEFAULT ''",
}


@dataclass(frozen=True, slots=True)
class Row:
    """
    A job as it is kept. `queued` is when this attempt began to wait; `token_hash` is "" where
    the owner has a name; `size` is the bytes that its files take on disk.
    """

    id: str
    tenant: str
    subject: str
    token_hash: str
    priority: int
    trace: str
    request_id: str
    state: JobState
    created: float
    queued: float
    expires: float
    started: float | None = None
    ended: float | None = None
    attempt: int = 1
    error: str = ""
    error_zh: str = ""
    error_type: str = ""
    can_retry: bool = False
    notes: tuple[tuple[str, str], ...] = ()
    size: int = 0
    model: str = ""
    revision: int = 0
    pod: str = ""


_COLUMNS = tuple(field.name for field in fields(Row))
_INSERT = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE id = ?"


def _told(method: "Callable[Concatenate[Store, P], R]") -> "Callable[Concatenate[Store, P], R]":
    """What SQLite or the disk refuses becomes one sentence."""

    @wraps(method)
    def call(store: "Store", /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(store, *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            raise JobsError(
                f"The job store could not be used: {str(error)[:200]}.",
                zh="任务存储暂时不可用。",
            ) from error

    return call


class Store:
    """The folder and its table. Build it and call it on one thread only."""

    @_told
    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _hold(folder / "jobs.lock")
        self._db = sqlite3.connect(folder / "jobs.db", isolation_level=None)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLE)
        known = {found["name"] for found in self._db.execute("PRAGMA table_info(jobs)")}
        for column, kind in _ADDED.items():
            if column not in known:  # a table of before
                self._db.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")

    @_told
    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    # ---- reading

    @_told
    def get(self, job: str) -> Row | None:
        found = self._rows("WHERE id = ?", job)
        return found[0] if found else None

    @_told
    def everyones(self) -> list[Row]:
        """The newest first."""
        return self._rows("ORDER BY created DESC, rowid DESC")

    @_told
    def of_caller(self, tenant: str, subject: str) -> list[Row]:
        """The newest first."""
        return self._rows(
            "WHERE tenant = ? AND subject = ? ORDER BY created DESC, rowid DESC", tenant, subject
        )

    @_told
    def waiting(self) -> list[Row]:
        return self._rows("WHERE state = ? ORDER BY queued, rowid", JobState.WAITING)

    @_told
    def running(self) -> list[Row]:
        return self._rows("WHERE state = ?", JobState.RUNNING)

    @_told
    def expired(self, now: float) -> list[Row]:
        """What has waited too long, and what was kept long enough; a running job ends first."""
        return self._rows("WHERE expires <= ? AND state != ?", now, JobState.RUNNING)

    @_told
    def taken(self) -> int:
        """What the files of all jobs take on disk."""
        return int(self._db.execute("SELECT COALESCE(SUM(size), 0) FROM jobs").fetchone()[0])

    @_told
    def count_waiting(self, tenant: str, subject: str) -> tuple[int, int, int]:
        """Of this caller, of its whole tenant, and of all."""
        found = self._db.execute(
            "SELECT COALESCE(SUM(tenant = ?1 AND subject = ?2), 0), COALESCE(SUM(tenant = ?1), 0),"
            " COUNT(*) FROM jobs WHERE state = ?3",
            (tenant, subject, JobState.WAITING),
        )
        own, tenants, all_of_them = found.fetchone()
        return own, tenants, all_of_them

    # ---- writing

    @_told
    def add(self, row: Row, item: bytes) -> None:
        """Keep the item, then the row: a row always has its item."""
        self._write(self._item(row.id), item)
        try:
            self._db.execute(_INSERT, _values(replace(row, size=len(item))))
        except sqlite3.Error:
            self._drop(self._item(row.id))
            raise

    @_told
    def change(self, before: Row, after: Row) -> bool:
        """Replace the row if its state and attempt are still those of `before`."""
        done = self._db.execute(
            f"{_UPDATE} AND state = ? AND attempt = ?",
            (*_values(after), before.id, before.state, before.attempt),
        )
        return done.rowcount == 1

    @_told
    def finish(self, before: Row, after: Row, result: bytes) -> bool:
        """Keep the result and drop the item; False if the job was ended meanwhile."""
        self._write(self._result(before.id), result)
        if not self.change(before, replace(after, size=len(result))):
            self._drop(self._result(before.id))
            return False
        self._drop(self._item(before.id))
        return True

    @_told
    def end(self, before: Row, after: Row) -> bool:
        """End without a result; the item stays only for a job that can be tried again."""
        if not self.change(before, after if after.can_retry else replace(after, size=0)):
            return False
        if not after.can_retry:
            self._drop(self._item(before.id))
        return True

    @_told
    def remove(self, job: str) -> None:
        """The pictures first: what is left after a crash in between is a row, which expires."""
        self._drop(self._item(job))
        self._drop(self._result(job))
        self._db.execute("DELETE FROM jobs WHERE id = ?", (job,))

    @_told
    def item(self, job: str) -> bytes:
        return self._item(job).read_bytes()

    @_told
    def result(self, job: str) -> bytes | None:
        """None if it has just been removed."""
        with contextlib.suppress(FileNotFoundError):
            return self._result(job).read_bytes()
        return None

    @_told
    def tidy(self) -> int:
        """Remove files that no job needs, such as half-written ones; how many there were."""
        needed = {name for row in self._rows("") for name in _needed(row)}
        loose = [path for path in self._files.iterdir() if path.name not in needed]
        for path in loose:
            self._drop(path)
        return len(loose)

    def _rows(self, where: str, *values: object) -> list[Row]:
        return [_row(found) for found in self._db.execute(f"SELECT * FROM jobs {where}", values)]

    def _item(self, job: str) -> Path:
        return self._files / f"{job}.item"

    def _result(self, job: str) -> Path:
        return self._files / f"{job}.result"

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all, and on the disk when this returns."""
        part = path.with_suffix(".part")
        try:
            with open(part, "xb", opener=_private) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError:
            self._drop(part)
            raise
        folder = os.open(self._files, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _drop(self, path: Path) -> None:
        path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _hold(path: Path) -> int:
    """Keep other processes out for as long as this one lives, however it ends."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise JobsError(
            f"Another process keeps its jobs in {path.parent}; give each its own state folder.",
            zh="另一个进程正在使用该任务目录；请为每个进程指定各自的状态目录。",
        ) from error
    return file


def _needed(row: Row) -> Iterator[str]:
    if row.state in (JobState.WAITING, JobState.RUNNING) or row.can_retry:
        yield f"{row.id}.item"
    if row.state is JobState.DONE:
        yield f"{row.id}.result"


def _values(row: Row) -> tuple[object, ...]:
    kept = replace(row, notes=json.dumps(row.notes, ensure_ascii=False))  # type: ignore[arg-type]
    return tuple(getattr(kept, name) for name in _COLUMNS)


def _row(found: sqlite3.Row) -> Row:
    values = {name: found[name] for name in _COLUMNS}
    values["state"] = JobState(values["state"])
    values["can_retry"] = bool(values["can_retry"])
    values["notes"] = tuple((en, zh) for en, zh in json.loads(values["notes"]))
    return Row(**values)
