"""A loopback server that speaks vLLM's `/score`, and breaks in the way that a test wants."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[socket.socket, dict[str, Any]], None]


@dataclass
class ScoringServer:
    """`requests` are the bodies it was sent; `answer` decides what goes back."""

    port: int
    answer: Answer
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def score(query: str, document: str) -> float:
    """Any number that both sides of a test can compute: the share of the query's words."""
    wanted = set(query.split())
    return len(wanted & set(document.split())) / max(1, len(wanted))


def scores(connection: socket.socket, body: dict[str, Any]) -> None:
    """As vLLM 0.10 answers; the order of its data is not promised."""
    data = [
        {"index": n, "object": "score", "score": score(body["text_1"], text)}
        for n, text in enumerate(body["text_2"])
    ]
    usage = {"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0}
    value = {
        "id": "score-1",
        "object": "list",
        "created": 1,
        "model": body.get("model", "own"),
        "data": data[::-1],
        "usage": usage,
    }
    respond(connection, 200, json.dumps(value))


def respond(connection: socket.socket, status: int, text: str, *headers: str) -> None:
    data = text.encode()
    head = [f"HTTP/1.1 {status} x", f"content-length: {len(data)}", *headers, "", ""]
    connection.sendall("\r\n".join(head).encode() + data)


@contextmanager
def scoring_server(answer: Answer = scores) -> Iterator[ScoringServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ScoringServer(listener.getsockname()[1], answer)
        listener.settimeout(0.1)
        threads = [threading.Thread(target=_accept, args=(listener, server))]
        threads[0].start()
        try:
            yield server
        finally:
            server.closing.set()
            threads[0].join(20)


def _accept(listener: socket.socket, server: ScoringServer) -> None:
    open_threads: list[threading.Thread] = []
    while not server.closing.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        thread = threading.Thread(target=_serve, args=(connection, server))
        thread.start()
        open_threads.append(thread)
    for thread in open_threads:
        thread.join(20)


def _serve(connection: socket.socket, server: ScoringServer) -> None:
    """Requests of one connection, one after the other, until it closes."""
    connection.settimeout(0.2)
    with connection:
        waiting = b""
        while not server.closing.is_set():
            try:
                part = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not part:
                return
            waiting += part
            head, found, body = waiting.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if not found or len(body) < length:
                continue
            waiting = b""
            server.heads.append(head.decode())
            server.requests.append(json.loads(body))
            try:
                server.answer(connection, server.requests[-1])
            except OSError:
                return
