"""What is promised of every dialect: all go one way, whatever words they use."""

import json
import logging
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app import build_service
from backends.routes.dialects import DIALECTS, LOOKUPS, READINGS
from backends.settings import Settings
from tests import running
from tests.busy import busy, held, in_flight


def picture() -> str:
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


RED = picture()
TEXT = "The library opens at nine."

# For each path a body in its own words that is answered, and what makes it one that is not.
GOOD: dict[str, dict[str, Any]] = {
    "/v1/rerank": {"query": "x", "documents": ["a", "b"]},
    "/v2/rerank": {"query": "x", "documents": ["a", "b"]},
    "/rerank": {"query": "x", "texts": ["a", "b"]},
    "/score": {"text_1": "x", "text_2": ["a", "b"]},
    "/v1/score": {"queries": ["x"], "documents": ["a", "b"]},
    "/v1/entailment": {"image": RED, "statements": ["The picture is red."]},
    "/predict": {"image": RED, "text": "The picture is red."},
    "/v1/translate": {"text": TEXT, "source": "en", "target": "pt"},
    "/translate": {"q": TEXT, "source": "en", "target": "pt"},
    "/v2/translate": {"text": [TEXT], "source_lang": "EN", "target_lang": "PT-BR"},
}
BAD: dict[str, dict[str, Any]] = {
    "/v1/entailment": {"statements": []},
    "/predict": {"text": " "},
    "/v1/translate": {"text": ""},
    "/translate": {"q": ""},
    "/v2/translate": {"text": []},
}
FILL: dict[str, dict[str, Any]] = {
    "rerank": {"query": "x", "documents": [f"Chapter {n} of a tale." for n in range(400)]},
    "entailment": {"image": RED, "statements": ["The picture is red."] * 20},
    "translate": {"text": [TEXT] * 200, "source": "en", "target": "pt"},
}
# fusion speaks our own words alone
FAMILIES = [name for name, each in DIALECTS.items() if len(each) > 1 and name != "fusion"]
PATHS = [(name, path) for name in FAMILIES for d in DIALECTS[name] for path in d.paths]
READ = [(name, reading) for name, several in READINGS.items() for reading in several]
BAD_STATUS = {"/v2/rerank": 400, "/translate": 400, "/v2/translate": 400}
LARGE_STATUS = {**BAD_STATUS, "/v2/translate": 413}


def bad(path: str) -> dict[str, Any]:
    return {**GOOD[path], **BAD.get(path, {"query": "", "text_1": "", "queries": [""]})}


every_path = pytest.mark.parametrize(("name", "path"), PATHS, ids=[path for _, path in PATHS])
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    """A service of each family, and a client of each."""
    with ExitStack() as stack:
        made = {}
        for name in FAMILIES:
            app, _ = build_service(Settings(state_dir=tmp_path_factory.mktemp(name)), name)
            url = stack.enter_context(running.in_thread(app))
            made[name] = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        yield made


def test_every_path_has_bodies_here() -> None:
    assert {path for _, path in PATHS} == set(GOOD)


@every_path
def test_the_answer_says_who_gave_it_and_the_key_is_nobodys_business(
    clients: dict[str, httpx.Client], name: str, path: str
) -> None:
    headers = {"x-request-id": "mine-1", "authorization": "Bearer whatever"}
    answer = clients[name].post(path, json=GOOD[path], headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-model-revision"] == "0"
    assert answer.headers["x-model"]
    assert answer.headers["server-timing"].startswith("queue;dur=")


@every_path
def test_a_body_that_is_too_large_is_refused_by_its_declared_length(
    clients: dict[str, httpx.Client], name: str, path: str
) -> None:
    host, port = str(clients[name].base_url).removeprefix("http://").rstrip("/").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 49000000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536).decode()  # not one byte of the body was sent
    assert answer.startswith(f"HTTP/1.1 {LARGE_STATUS.get(path, 422)}")
    assert "The body is larger than 48 MB; send less at once." in answer


@every_path
def test_each_request_is_one_count_and_one_log_line(
    clients: dict[str, httpx.Client], name: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    def counts() -> dict[str, float]:
        lines = (line.rsplit(" ", 1) for line in clients[name].get("/metrics").text.splitlines())
        return {k: float(v) for k, v in lines if k.startswith("quartet_requests_total{")}

    before = counts()
    caplog.set_level(logging.INFO, "backends.routes.tally")
    assert clients[name].post(path, json=GOOD[path]).status_code == 200
    wrong = clients[name].post(path, json=bad(path))
    assert wrong.status_code == BAD_STATUS.get(path, 422)
    more = {k: v - before.get(k, 0) for k, v in counts().items() if v != before.get(k, 0)}
    assert more == {
        f'quartet_requests_total{{outcome="{outcome}",service="{name}"}}': 1
        for outcome in ("ok", "BadInput")
    }
    lines = [(r.message, r.__dict__["outcome"]) for r in caplog.records]
    assert lines == [("answered", "ok"), ("refused", "BadInput")]


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a service of each family whose engine never ends a run."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(held(name, tmp_path_factory.mktemp(f"held-{name}")))
            for name in FAMILIES
        }


@every_path
def test_a_deadline_is_kept(stuck: dict[str, str], name: str, path: str) -> None:
    headers = {"x-timeout": "0.2"}
    answer = httpx.post(f"{stuck[name]}{path}", json=GOOD[path], headers=headers, timeout=60)
    assert answer.status_code == 504, answer.text
    assert answer.json()["error_type"] == "TimedOut"


@every_path
def test_a_caller_who_disconnects_is_not_waited_for(
    stuck: dict[str, str], name: str, path: str
) -> None:
    def left() -> float:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(counter))

    url = stuck[name]
    counter = f'quartet_requests_total{{outcome="CallerLeft",service="{name}"}}'
    before = left()
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(GOOD[path]).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + body)
        running.wait_until(lambda: in_flight(url, name) > 0, "it was never taken")
    running.wait_until(lambda: in_flight(url, name) == 0, "it was computed for still")
    assert left() == before + 1


@every_family
def test_a_busy_service_refuses_before_it_reads_a_body(name: str, tmp_path: Path) -> None:
    with busy(name, FILL[name], tmp_path) as url:
        host, port = url.removeprefix("http://").split(":")
        for path in [path for family, path in PATHS if family == name]:
            with socket.create_connection((host, int(port)), timeout=20) as late:
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
                late.sendall(head.encode())
                answer = late.recv(65536).decode()  # not one byte of the body was sent
            assert answer.startswith("HTTP/1.1 429"), path
            assert "retry-after: " in answer.lower()
            assert '"error_type":"Overloaded"' in answer
        for path in [reading.path for family, reading in READ if family == name]:
            answered = httpx.post(f"{url}{path}", json={"q": TEXT}, timeout=60)
            assert answered.status_code == 200  # it needs no engine


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        running.Process("--port", "0", state_dir=tmp_path_factory.mktemp("portal")) as quartet,
        httpx.Client(base_url=quartet.ready().address, timeout=60) as client,
    ):
        yield client


@every_path
def test_the_portal_answers_them_too_and_leaves_none_to_the_page(
    portal: httpx.Client, name: str, path: str
) -> None:
    assert portal.post(path, json=GOOD[path]).status_code == 200
    wrong = portal.get(path)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error_type"] == "MethodNotAllowed"


def test_the_portal_answers_every_lookup_and_no_other_path(portal: httpx.Client) -> None:
    for lookup in [lookup for several in LOOKUPS.values() for lookup in several]:
        assert portal.get(lookup.path).status_code == 200
        assert portal.post(lookup.path, json={}).status_code == 405
    for _, reading in READ:
        assert portal.post(reading.path, json={"q": TEXT}).status_code == 200
        assert portal.get(reading.path).status_code == 405
    assert portal.post("/v2/nonsense", json={}).json()["error_type"] == "NotFound"


def test_the_reference_describes_every_dialect(portal: httpx.Client) -> None:
    paths = portal.get("/openapi.json").json()["paths"]
    for _, path in PATHS:
        told = paths[path]["post"]
        assert told["requestBody"]["content"]["application/json"]["schema"]
        assert told["description"]
        assert {"200", "429", "503", "504", str(BAD_STATUS.get(path, 422))} <= set(
            told["responses"]
        )
