"""
Every route of /openapi.json, asked with data that fits and data that does not: no 500, no silence,
every answer as the document says, and as much memory at the end as before.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import running
from tests.fuzz.drive import PATIENCE, resident_mb

GROWTH_MB = 40
WARM, EACH, WITH_ENGINES = 10, 60, 8  # inputs of a kind for an operation


@pytest.fixture
def portal(state_dir: Path) -> Iterator[running.Process]:
    program = ("-m", "tests.fuzz.portal")
    with running.Process(state_dir=state_dir, program=program) as server:
        yield server.ready()


def signed_in(server: running.Process) -> str:
    """The cookie of somebody with every role."""
    body = {"token": server.ready().token}
    answer = httpx.post(f"{server.address}/admin/sign-in", json=body, timeout=PATIENCE)
    return answer.headers["set-cookie"].partition(";")[0]


def asked(server: running.Process, cookie: str, tries: int) -> dict[str, Any]:
    """What `asker.py` found; fails with its last words when an answer is not as described."""
    command = [sys.executable, "-m", "tests.fuzz.asker", server.address, cookie, str(tries)]
    done = subprocess.run(
        command, cwd=running.ROOT, capture_output=True, text=True, timeout=20 * PATIENCE
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_route_answers_everything_as_its_document_says(portal: running.Process) -> None:
    cookie = signed_in(portal)
    asked(portal, cookie, WARM)  # until all is loaded that loads at its first use
    before = resident_mb(portal.process.pid)
    found = asked(portal, cookie, EACH)
    assert found["tried"] >= EACH * found["operations"]
    assert resident_mb(portal.process.pid) - before < GROWTH_MB
    assert {"200", "202", "400", "404", "409", "422"} <= set(found["told"])
    assert portal.process.poll() is None


def test_the_embedded_engines_take_everything_too(state_dir: Path) -> None:
    with running.Process("--port", "0", state_dir=state_dir) as server:
        found = asked(server, signed_in(server), WITH_ENGINES)
        assert {"200", "400", "404", "422"} <= set(found["told"])
        assert server.process.poll() is None


# What no document describes: rubbish in the lines of HTTP itself.

HEADERS = """
    Host Cookie Authorization Content-Type Content-Length Accept Origin Range Forwarded Expect
    X-Forwarded-For X-Forwarded-Proto X-Request-Id X-Timeout Transfer-Encoding Accept-Encoding
    Traceparent Sec-Fetch-Site Connection If-None-Match Access-Control-Request-Method
"""
SAYINGS = [
    b"", b"[", b"http://[", b"\xb2", b"\xff\xfe", b"9" * 5000, b"-1", b"nan", b"bytes=0-,5-1",
    b'quartet_session="\\377"; quartet_visitor=.', b"Bearer \xe9", b"application/json; charset=x",
    b"multipart/form-data; boundary=", b"application/x-www-form-urlencoded",
]  # fmt: skip
LINES = [
    "GET /v1/%ff%00", "POST /v1/rerank", "POST /internal/swap", "GET /admin/?token=%ff",
    "POST /admin/sign-in", "POST /admin/sign-out", "GET /v1/fusion/jobs/%00%ff/result",
    "GET /v2/languages?type=%ff", "DELETE /docs", "OPTIONS /v1/translate",
]  # fmt: skip
BODY = b'{"a": 1}'


def said(address: str, line: str, header: str, saying: bytes) -> bytes:
    """The first line of the answer; empty where the server closed without a word."""
    host, port = address.removeprefix("http://").split(":")
    lines = [f"{line} HTTP/1.1".encode(), f"{header}: ".encode() + saying]
    lines += [b"Host: x"] if header != "Host" else []
    lines += [b"Content-Length: %d" % len(BODY)] if header != "Content-Length" else []
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(b"\r\n".join([*lines, b"", BODY]))
        connection.shutdown(socket.SHUT_WR)  # whatever length it was promised, this is all
        with connection.makefile("rb") as answer:
            return answer.readline()


def test_rubbish_in_the_lines_of_http_is_no_error_of_ours(portal: running.Process) -> None:
    address = portal.address
    told = {each: said(address, *each)[9:12] for each in product(LINES, HEADERS.split(), SAYINGS)}
    assert len(told) == len(LINES) * len(HEADERS.split()) * len(SAYINGS)
    assert not [each for each, status in told.items() if status == b"500"]
    assert {b"400", b"401", b"403", b"404", b"405"} <= set(told.values())
    assert not portal.events("failed")
    assert portal.process.poll() is None
