"""
The audit: who changed what, and why; append-only, one JSON object a line.

An intent is written before the change and an outcome after it, with the same change id, so that
a crash leaves an open intent; the next start closes it as "interrupted". Each line carries the
SHA-256 of the line before it, so that an edited or removed line shows. The chain cannot show
what was edited or removed at its very end: keep a copy elsewhere if that matters.
One process writes (a file lock); any may verify.
"""

import fcntl
import hashlib
import json
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from backends.errors import NotFound, QuartetError, Unavailable

log = logging.getLogger(__name__)

INTENT, OUTCOME, RECOVERED = "intent", "outcome", "recovered"
INTERRUPTED = "interrupted"

_FIRST = "0" * 64
_LONGEST_TEXT = 200
_KEPT = 1000  # newest lines kept in memory, about 1 kB each


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line. `event` is intent, outcome or recovered; an outcome repeats its intent. `previous`
    is the hash over the exact bytes of the line before, without its line feed.
    """

    seq: int
    time: str
    event: str
    change: str
    user: str = ""
    role: str = ""
    object: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    outcome: str = ""
    request_id: str = ""
    previous: str = _FIRST


@dataclass(frozen=True, slots=True)
class Chain:
    """What a walk over the file found. `broken` is the first line that does not fit, or 0."""

    lines: int
    broken: int = 0
    why: str = ""
    torn: int = 0  # bytes after the last line feed: a write that a crash cut off

    @property
    def is_intact(self) -> bool:
        return not self.broken


@dataclass(frozen=True, slots=True)
class _Walk:
    chain: Chain
    newest: tuple[Line, ...]  # oldest first
    unanswered: tuple[Line, ...]  # intents without an outcome
    last_hash: str


class Audit:
    """The one writer. Raises QuartetError if another process already writes this file."""

    def __init__(
        self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._open: dict[str, Line] = {}
        self._seen: tuple[int, int] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise QuartetError(
                f"Another process writes the audit {path}. One portal runs on a state folder: "
                "stop the other one, or give this one a QUARTET_STATE_DIR of its own."
            ) from error
        self._close_what_a_crash_left()

    def intent(
        self,
        *,
        user: str,
        role: str,
        object: str,
        before: str,
        after: str,
        reason: str,
        request_id: str = "",
    ) -> str:
        """Write what is about to be changed; the change's id. Raises Unavailable if it cannot."""
        change = uuid.uuid4().hex
        line = Line(
            0, "", INTENT, change, user=user, role=role, object=object, before=before, after=after,
            reason=reason, request_id=request_id,
        )  # fmt: skip
        with self._lock:
            self._open[change] = self._append(line)
        return change

    def outcome(self, change: str, outcome: str) -> None:
        """Write how the change of that intent ended."""
        with self._lock:
            self._append(replace(self._open[change], event=OUTCOME, outcome=outcome))
            del self._open[change]

    def lines(self, limit: int, before: int | None = None) -> list[Line]:
        """
        The newest lines, or those before the line with this number; newest first. An intent
        without an outcome is still under way. Far back the file is read once more.
        """
        with self._lock:
            newest = self._look().newest
            if before is None:
                return list(newest[-1 : -limit - 1 : -1])
            if not newest or before - limit < newest[0].seq:
                with self._reading() as file:
                    newest = _walk(file, before - 1, limit).newest
        earlier = [line for line in newest if line.seq < before]
        return earlier[-1 : -limit - 1 : -1]

    def size(self) -> int:
        """Bytes of the whole lines that are written."""
        with self._lock:
            return os.fstat(self._file).st_size - self._look().chain.torn

    def read(self, start: int, count: int) -> bytes:
        """The file's own bytes, so that a copy of it can be verified elsewhere."""
        return os.pread(self._file, count, start)

    def verify(self) -> Chain:
        """Walk the chain, again only if the file changed since the last time."""
        with self._lock:
            return self._look().chain

    def close(self) -> None:
        os.close(self._file)

    def _close_what_a_crash_left(self) -> None:
        walk = self._look()
        if torn := walk.chain.torn:
            self._move_aside(torn)
            note = f"{torn} bytes of an unfinished line were moved to {self._aside().name}"
            self._append(Line(0, "", RECOVERED, uuid.uuid4().hex, reason=note))
        for line in walk.unanswered:
            self._append(replace(line, event=OUTCOME, outcome=INTERRUPTED))
        if walk.chain.broken:
            log.error("audit broken", extra={"line": walk.chain.broken, "why": walk.chain.why})

    def _aside(self) -> Path:
        return self._path.with_name(f"{self._path.name}.torn")

    def _move_aside(self, torn: int) -> None:
        whole = os.fstat(self._file).st_size - torn
        with self._aside().open("ab") as file:
            file.write(os.pread(self._file, torn, whole) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.ftruncate(self._file, whole)

    def _look(self) -> _Walk:
        """What the file holds now; it may have been edited by hand meanwhile."""
        stat = os.fstat(self._file)
        now = (stat.st_size, stat.st_mtime_ns)
        if now != self._seen:
            with self._reading() as file:
                self._walk = _walk(file)
            self._seen = now
        if not self._is_still_the_file():
            gone = replace(self._walk.chain, broken=1, why="the file was replaced or removed")
            return replace(self._walk, chain=gone)
        return self._walk

    @contextmanager
    def _reading(self) -> Iterator[BinaryIO]:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            yield file

    def _is_still_the_file(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    def _append(self, line: Line) -> Line:
        walk = self._look()
        if walk.chain.torn or not self._is_still_the_file():
            raise Unavailable(
                f"The audit {self._path} cannot be continued: it was changed by hand. "
                "Nothing was written; restart the portal."
            )
        texts = {name: _one_line(getattr(line, name)) for name in _TEXTS}
        moment = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        full = replace(
            line, **texts, seq=walk.chain.lines + 1, time=moment, previous=walk.last_hash
        )
        data = json.dumps(asdict(full), ensure_ascii=False).encode() + b"\n"
        whole = os.fstat(self._file).st_size
        try:
            if os.write(self._file, data) != len(data):
                raise OSError("the disk took a part of the line only")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, whole)
            raise Unavailable(
                f"The audit {self._path} cannot be written: {error}. "
                "Nothing can be changed here until it can."
            ) from error
        return full


_TEXTS = tuple(f.name for f in fields(Line) if f.name not in ("seq", "time", "previous"))


def verify(path: Path) -> Chain:
    """The chain in this file, for `python app.py audit verify`; needs no lock."""
    try:
        with path.open("rb") as file:
            return _walk(file).chain
    except FileNotFoundError as error:
        raise NotFound(f"There is no audit at {path}; nothing was changed yet.") from error


def _one_line(text: str) -> str:
    """What a person wrote, as one printable line of bounded length."""
    shown = "".join(c if c.isprintable() else " " for c in text[: 10 * _LONGEST_TEXT])
    return " ".join(shown.split())[:_LONGEST_TEXT]


def _walk(raw_lines: Iterable[bytes], last: float = float("inf"), kept: int = _KEPT) -> _Walk:
    """To the line `last`, of which `kept` lines are the newest."""
    chain, last_hash = Chain(0), _FIRST
    newest: deque[Line] = deque(maxlen=kept)
    unanswered: dict[str, Line] = {}
    for raw in raw_lines:
        if chain.lines >= last:
            break
        if not raw.endswith(b"\n"):
            chain = replace(chain, torn=len(raw))
            break
        line = _parse(raw[:-1])
        chain = _judge(replace(chain, lines=chain.lines + 1), line, last_hash)
        last_hash = hashlib.sha256(raw[:-1]).hexdigest()
        if line is None:
            continue
        newest.append(line)
        if line.event == INTENT:
            unanswered[line.change] = line
        else:
            unanswered.pop(line.change, None)
    return _Walk(chain, tuple(newest), tuple(unanswered.values()), last_hash)


def _judge(chain: Chain, line: Line | None, last_hash: str) -> Chain:
    """The chain with its newest line judged; the first fault stays."""
    if chain.broken:
        return chain
    if line is None:
        return replace(chain, broken=chain.lines, why="it is not a line of the audit")
    if line.previous != last_hash:
        return replace(chain, broken=chain.lines, why="the line before it was changed or removed")
    if line.seq != chain.lines:
        return replace(chain, broken=chain.lines, why=f"it says that it is line {line.seq}")
    return chain


def _parse(raw: bytes) -> Line | None:
    try:
        line = Line(**json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = all(isinstance(getattr(line, f.name), str) for f in fields(line) if f.name != "seq")
    return line if texts and isinstance(line.seq, int) else None
