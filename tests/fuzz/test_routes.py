"""
Every route of /openapi.json, asked by schemathesis with data that fits and data that does not: no
500, no silence, every answer as the document says, and as much memory at the end as before.
"""

import random
import socket
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import running
from tests.fuzz.drive import PATIENCE, resident_mb
from tests.fuzz.strategies import DATA_URI

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
RIGHT: Mapping[str, list[str]] = defaultdict(
    lambda: ["a text"],
    image=[DATA_URI] * 4,
    source=[DATA_URI] * 3 + ["en", "auto"],
    target=[DATA_URI] * 3 + ["pt"] * 3,
    source_lang=["en"],
    q=["a text", "um texto"],
    target_lang=["pt"],
)
OPTIONAL = {"model", "timeout", "stream", "glossary_id", "data_1", "data_2", "text_1", "text_2"}
GROWTH_MB = 40
EACH = 60  # inputs of a kind for an operation
WITH_ENGINES = 8


class Asker:
    """Asks one server, as somebody who signed in, and counts what was tried and answered."""

    def __init__(self, server: running.Process) -> None:
        self.address = server.ready().address
        self.session = requests.Session()
        self.session.trust_env = False
        body = {"token": server.token}
        self.session.post(f"{self.address}/admin/sign-in", json=body, timeout=PATIENCE)
        self.jobs: list[str] = []
        self.tried = 0
        self.told: Counter[int] = Counter()

    def operations(self) -> list[Any]:
        schema = schemathesis.openapi.from_url(f"{self.address}/openapi.json")
        found = [each.ok() for each in schema.get_all_operations()]
        return sorted(found, key=lambda each: each.method == "delete")  # while there is something

    def drive(self, operation: Any, mode: GenerationMode, tries: int) -> None:
        @settings(
            max_examples=tries,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(operation.as_strategy(generation_mode=mode), st.integers(0, 2**32))
        def one(case: Any, seed: int) -> None:
            if mode is GenerationMode.POSITIVE:
                self._mend(case, random.Random(seed))
            self._ask(case)

        with suppress(Unsatisfiable):  # what takes no input has no wrong one
            one()

    def _mend(self, case: Any, chance: random.Random) -> None:
        """
        A schema cannot say what a picture is, which languages there are, or whose a job is: of
        the inputs that fit it, most are given some, so that they come as far as a model.
        """
        if "job" in (case.path_parameters or {}) and self.jobs and chance.random() < 0.7:
            case.path_parameters["job"] = chance.choice(self.jobs[-20:])
        if chance.random() < 0.8:
            case.headers.pop("x-timeout", None)
        if isinstance(case.body, dict) and chance.random() < 0.7:
            _mend_body(case.body, chance)

    def _ask(self, case: Any) -> None:
        self.tried += 1
        answer = case.call(session=self.session, timeout=PATIENCE)
        self.told[answer.status_code] += 1
        assert answer.status_code != HTTPStatus.INTERNAL_SERVER_ERROR, answer.text
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code == HTTPStatus.ACCEPTED:
            self.jobs.append(answer.json()["id"])


def _mend_body(body: dict[str, Any], chance: random.Random) -> None:
    for name in OPTIONAL & set(body):
        if chance.random() < 0.8:
            del body[name]
    for name, value in body.items():
        if isinstance(value, str | bytes):
            body[name] = chance.choice([*RIGHT[name], value])
    if isinstance(body.get("options"), dict):
        body["options"] = {"consent": True}


@pytest.fixture
def portal(state_dir: Path) -> Iterator[running.Process]:
    program = ("-m", "tests.fuzz.portal")
    with running.Process(state_dir=state_dir, program=program) as server:
        yield server.ready()


def test_every_route_answers_everything_as_its_document_says(portal: running.Process) -> None:
    asker = Asker(portal)
    operations = asker.operations()
    for operation in operations:  # until all is loaded that loads at its first use
        asker.drive(operation, GenerationMode.POSITIVE, 10)
    before, tried = resident_mb(portal.process.pid), asker.tried
    for operation in operations:
        for mode in GenerationMode:
            asker.drive(operation, mode, EACH)
    assert asker.tried - tried >= EACH * len(operations)
    assert resident_mb(portal.process.pid) - before < GROWTH_MB
    assert {200, 202, 400, 404, 409, 422} <= set(asker.told)
    assert portal.process.poll() is None


def test_the_embedded_engines_take_everything_too(state_dir: Path) -> None:
    with running.Process("--port", "0", state_dir=state_dir) as server:
        asker = Asker(server)
        for operation in asker.operations():
            for mode in GenerationMode:
                asker.drive(operation, mode, WITH_ENGINES)
        assert {200, 400, 404, 422} <= set(asker.told)
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
    assert {b"200", b"400", b"401", b"404", b"405"} <= set(told.values())
    assert not portal.events("failed")
    assert portal.process.poll() is None
