"""
A small hub on loopback that speaks as ModelScope and as Hugging Face do, and fails on demand.

It serves files from memory with byte ranges, and counts what it sent: that is how a test knows
that a download went on where it had been cut.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

LFS = 1000  # bytes from which a file is "large": then Hugging Face publishes its sha256


@dataclass
class Faults:
    """
    `cut_after`: connections that send file bytes close after so many, `cuts` times. `spoil`:
    files sent with other bytes than were listed. `status`: answer every request with it, and
    `retry_after`. `lacking`: listed, and 404. `hold`: what is sent waits here first. `silence`:
    every request is taken, and answered once it is set.
    """

    cut_after: int = 0
    cuts: int = 0
    spoil: set[str] = field(default_factory=set)
    status: int = 0
    retry_after: str = ""
    lacking: set[str] = field(default_factory=set)
    hold: Callable[[str, int], None] = lambda path, sent: None
    silence: threading.Event | None = None


@dataclass
class Hub:
    """`repos` by "owner/name", then file by path. `sent` counts bytes of files, by path."""

    url: str = ""
    repos: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    sent: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def count(self, path: str, size: int) -> None:
        self.sent[path] = self.sent.get(path, 0) + size


@contextmanager
def hub(**repos: Mapping[str, bytes]) -> Iterator[Hub]:
    """A hub with these repositories, `owner__name=files`."""
    served = Hub(repos={name.replace("__", "/"): files for name, files in repos.items()})

    class Answers(_Answers):
        of = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield served
    finally:
        if served.faults.silence is not None:
            served.faults.silence.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    of: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        of = self.of
        of.asked.append(f"{self.command} {self.path}")
        of.tokens.append(self.headers.get("authorization", "") + self.headers.get("cookie", ""))
        if of.faults.silence is not None:
            of.faults.silence.wait()
        if of.faults.status:
            extra = {"Retry-After": of.faults.retry_after} if of.faults.retry_after else {}
            self._send(of.faults.status, {"Message": "no", "error": "no"}, extra)
            return
        address = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        match parts:
            case ["api", "v1", "models", owner, name, "repo", "files"]:
                self._list(f"{owner}/{name}", self._as_modelscope)
            case ["api", "v1", "models", owner, name, "repo"]:
                self._file(f"{owner}/{name}", query["FilePath"])
            case ["api", "models", owner, name, "tree", _]:
                self._list(f"{owner}/{name}", self._as_huggingface)
            case [owner, name, "resolve", _, *rest]:
                self._file(f"{owner}/{name}", "/".join(rest))
            case _:
                self._missing()

    def _missing(self) -> None:
        extra = {"X-Error-Code": "RepoNotFound"}
        self._send(404, {"Code": 10010205001, "Message": "not found", "error": "no"}, extra)

    def _list(self, repo: str, shape: Callable[[Mapping[str, bytes]], Any]) -> None:
        if repo in self.of.repos:
            self._send(200, shape(self.of.repos[repo]), {})
        else:
            self._missing()

    def _as_modelscope(self, files: Mapping[str, bytes]) -> Any:
        rows = [
            {
                "Path": path,
                "Name": path.rpartition("/")[2],
                "Type": "blob",
                "Size": len(data),
                "Sha256": hashlib.sha256(data).hexdigest(),
                "Revision": "1" * 40,
            }
            for path, data in files.items()
        ]
        return {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": rows}}

    def _as_huggingface(self, files: Mapping[str, bytes]) -> Any:
        rows = []
        for path, data in files.items():
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            row: dict[str, Any] = {"type": "file", "oid": git, "size": len(data), "path": path}
            if len(data) >= LFS:
                sha256 = hashlib.sha256(data).hexdigest()
                row["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
            rows.append(row)
        return rows

    def _file(self, repo: str, path: str) -> None:
        faults = self.of.faults
        data = self.of.repos.get(repo, {}).get(path)
        if data is None or path in faults.lacking:
            self._missing()
            return
        if path in faults.spoil:
            data = bytes([data[0] ^ 1]) + data[1:]
        total, start = len(data), 0
        if given := self.headers.get("range"):
            start = int(given.removeprefix("bytes=").split("-")[0])
            if start >= total:
                self._send(416, {}, {"Content-Range": f"bytes */{total}"})
                return
        self.send_response(206 if given else 200)
        self.send_header("Content-Length", str(total - start))
        self.send_header("Accept-Ranges", "bytes")
        if given:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        if self.command == "GET":
            self._body(path, data[start:])

    def _body(self, path: str, data: bytes) -> None:
        faults = self.of.faults
        cut = faults.cut_after if faults.cuts > 0 and len(data) > faults.cut_after else 0
        if cut:
            faults.cuts -= 1
            data = data[:cut]
        for start in range(0, len(data), 65536):
            faults.hold(path, start)
            piece = data[start : start + 65536]
            try:
                self.wfile.write(piece)
            except OSError:  # who asked has left
                self.close_connection = True
                return
            self.of.count(path, len(piece))
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def _send(self, status: int, value: Any, extra: Mapping[str, str]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **extra}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):  # who asked has left
                self.wfile.write(body)
