"""
One checkpoint, from the list of its files to its folder.

Files lie in `<folder>.part` until all of them are whole and their hashes fit; then they are moved.
What was fetched of a file stays there, and the next request goes on from it.
"""

import errno
import fcntl
import fnmatch
import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from backends.engines.hub import Failed, Request, Wanted, amount
from backends.engines.hub.libraries import HUBS, Hub, damaged, fetch_file, list_files

BLOCK = 8 << 20
ALONG = ("*.json", "*.jinja", "*.txt", "LICEN*", "License*", "NOTICE*")
"""What comes along where a hub has it: indexes of shards, chat templates, words, terms."""
REPORT_SECONDS = 0.25


class Reporter:
    """
    Tells how far it is, (bytes here, bytes in all), as long as the `with` lasts: now and then,
    and also when nothing more comes.
    """

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._over = threading.Event()
        self._told = (-1, -1)
        self._done = 0
        self.total = 0

    def advance(self, size: int) -> None:
        self._done += size

    def __enter__(self) -> "Reporter":
        self._thread = threading.Thread(target=self._tell_often, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._tell_news()

    def _tell_often(self) -> None:
        while not self._over.wait(REPORT_SECONDS):
            self._tell_news()

    def _tell_news(self) -> None:
        now = (min(max(self._done, 0), self.total), self.total)
        if now != self._told:
            self._told = now
            self._tell(*now)


def fetch(asked: Request, tell: Callable[[int, int], None]) -> None:
    """The whole checkpoint into its folder. Raises Failed."""
    folder = Path(asked.folder)
    part = folder.with_name(folder.name + ".part")
    try:
        part.mkdir(parents=True, exist_ok=True)
        with (part / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching the same
            part.mkdir(exist_ok=True)  # and have been done with it
            with Reporter(tell) as reporter:
                _fetch_all(asked, folder, part, reporter)
        shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise _storage(error, folder.parent) from error


def _fetch_all(asked: Request, folder: Path, part: Path, reporter: Reporter) -> None:
    hub: Hub = HUBS[asked.hub](asked)
    wanted = choose(list_files(hub, asked), asked)
    missing = [file for file in wanted if not _is_whole(folder / file.path, file)]
    reporter.total = sum(file.size for file in missing)
    _check_space(part, reporter.total)
    for file in missing:
        if _is_there(part / file.path, file.size):
            reporter.advance(file.size)
        else:
            fetch_file(hub, asked, file, part, reporter.advance)
        if not _is_whole(part / file.path, file):
            (part / file.path).unlink()  # so that the next request begins it anew
            raise damaged(file, asked)
    for file in missing:
        whole = folder / file.path
        whole.parent.mkdir(parents=True, exist_ok=True)
        (part / file.path).replace(whole)


def choose(found: Sequence[Wanted], asked: Request) -> list[Wanted]:
    """The files that the patterns ask for, with the hashes that they must have. Raises Failed."""
    lacking = [p for p in asked.patterns if not any(_matches(f.path, p) for f in found)]
    if lacking:
        raise Failed(
            f"{asked.repo} on {asked.title} has no {', '.join(lacking)}",
            f"{asked.title} 上的 {asked.repo} 没有 {'、'.join(lacking)}",
        )
    patterns = (*asked.patterns, *ALONG)
    chosen = [f for f in found if any(_matches(f.path, p) for p in patterns)]
    for file in chosen:
        pin = asked.pins.get(file.path, "")
        if pin and len(file.digest) == len(pin) and file.digest != pin:
            raise Failed(
                f"{file.path} on {asked.title} is not the file that this version knows: its "
                f"sha256 there is {file.digest[:12]}…, not {pin[:12]}…",
                f"{asked.title} 上的 {file.path} 不是本版本所知的文件：其 sha256 为 "
                f"{file.digest[:12]}…，而不是 {pin[:12]}…",
            )
    return [Wanted(f.path, f.size, asked.pins.get(f.path, "") or f.digest) for f in chosen]


def _matches(path: str, pattern: str) -> bool:
    """As `Path.glob` has it: a star stays within its folder."""
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _check_space(part: Path, total: int) -> None:
    begun = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    free = shutil.disk_usage(part).free
    if total - begun > free:
        left = amount(total - begun)
        raise Failed(
            f"{left} must still be fetched, and the disk of {part.parent} has {amount(free)} free",
            f"还需下载 {left}，而 {part.parent} 所在磁盘仅剩 {amount(free)}",
        )


def _is_whole(path: Path, wanted: Wanted) -> bool:
    """There, and with the hash that it must have; so is what somebody put there by hand."""
    if not _is_there(path, wanted.size):
        return False
    is_git = len(wanted.digest) == 40
    digest = hashlib.sha1(b"blob %d\0" % wanted.size) if is_git else hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return wanted.digest in ("", digest.hexdigest())


def _storage(error: OSError, folder: Path) -> Failed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(
            f"the disk of {folder} is full; make room and load it again to go on from what was "
            "fetched",
            f"{folder} 所在磁盘已满；请腾出空间后重新加载，将从已下载处继续",
        )
    why = error.strerror or str(error)
    return Failed(f"{folder} cannot be written to: {why}", f"无法写入 {folder}：{why}")
