"""A reranker on another server: vLLM's words over real sockets, and every way they can fail."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app import build_service
from backends.engines.picture import Picture
from backends.engines.rerank import MODELS, Pair
from backends.errors import BadInput, ModelLoadError, Overloaded, TimedOut, Unavailable
from backends.families import FAMILIES, configured
from backends.settings import Batching, Rerank, Settings
from tests import running
from tests.scoring_server import ScoringServer, respond, score, scores, scoring_server

QUERY = "a small lamp"
DOCUMENTS = ("a small desk light", "Grain prices fell.", "a lamp that is small")
PAIRS = [Pair(QUERY, text, DOCUMENTS) for text in DOCUMENTS]
RED = Picture(2, 2, b"\xff\0\0" * 4)


def emit(index: int, part: Any) -> bool:
    return True


@contextmanager
def engine(server: ScoringServer, **given: Any) -> Iterator[Any]:
    load = MODELS["upstream"].load
    assert load is not None
    engine = load(Settings(rerank=Rerank(upstream=server.url, **given)))
    yield engine
    engine.close()


def test_it_is_asked_in_vllms_words_and_answers_by_index() -> None:
    with scoring_server() as server, engine(server) as upstream:
        found = upstream.run(PAIRS, emit)
        assert [relevance.score for relevance in found] == [score(QUERY, d) for d in DOCUMENTS]
        assert server.requests == [{"text_1": QUERY, "text_2": list(DOCUMENTS)}]
        assert server.heads[0].startswith("POST /score HTTP/1.1")
        assert "authorization" not in server.heads[0].lower()


def test_a_model_and_a_key_are_sent_where_they_are_set_and_the_key_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = {"upstream_model": "BAAI/bge-reranker-v2-m3", "upstream_key": SecretStr("hush")}
    with scoring_server() as server, engine(server, **given) as upstream:
        with caplog.at_level(logging.DEBUG):
            upstream.run(PAIRS[:1], emit)
        assert server.requests[0]["model"] == "BAAI/bge-reranker-v2-m3"
        assert "Bearer hush" in server.heads[0]
        assert "http" in caplog.text  # its libraries did tell what they do
        assert "hush" not in caplog.text


def test_a_mixed_batch_is_one_call_a_query_and_keeps_its_order() -> None:
    pairs = [Pair(query, text, ()) for text in DOCUMENTS for query in (QUERY, "Grain fell.")]
    with scoring_server() as server, engine(server) as upstream:
        found = [relevance.score for relevance in upstream.run(pairs, emit)]
        assert found == [score(str(pair.query), str(pair.document)) for pair in pairs]
        assert len(server.requests) == 2


def hang(connection: socket.socket, body: dict[str, Any]) -> None:
    pass


def half(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"data": [')
    connection.shutdown(socket.SHUT_RDWR)


def endless(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900000000\r\n\r\n")
    while True:
        connection.sendall(b" " * 1_000_000)


def drips(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
    drips_on(connection)


def drips_a_head(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
    drips_on(connection)


def drips_on(connection: socket.socket) -> None:
    """Each part comes in time, the whole never does."""
    while True:
        connection.sendall(b" ")
        if not is_open(connection):
            raise OSError


def is_open(connection: socket.socket) -> bool:
    """After a moment; the other side says nothing more, it can only leave."""
    connection.settimeout(0.05)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def not_http(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.shutdown(socket.SHUT_RDWR)


def says(status: int, value: Any, *headers: str) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda connection, body: respond(connection, status, text, *headers)


def data(*scored: Any) -> dict[str, Any]:
    return {"data": [{"index": n, "score": each} for n, each in enumerate(scored)]}


FAULTS: list[tuple[str, Any, type[Exception], str]] = [
    ("hangs", hang, TimedOut, "did not answer within 0.5 s"),
    ("drips", drips, TimedOut, "did not answer within 0.5 s"),
    ("drips a head", drips_a_head, TimedOut, "did not answer within 0.5 s"),
    ("breaks off", half, Unavailable, "could not be asked: "),
    ("is no web server", not_http, Unavailable, "could not be asked: "),
    ("never ends", endless, Unavailable, "more than a list of scores"),
    ("is no JSON", says(200, "<html>"), Unavailable, "no list of scores"),
    ("is a number", says(200, 5), Unavailable, "no list of scores"),
    ("has no data", says(200, {"results": []}), Unavailable, "no list of scores"),
    ("has null scores", says(200, data(None, 1, 1)), Unavailable, "no list of scores"),
    ("is too short", says(200, data(0.5)), Unavailable, "1 scores for 3 documents"),
    ("is too long", says(200, data(0.1, 0.2, 0.3, 0.4)), Unavailable, "4 scores for 3 documents"),
    ("repeats", says(200, {"data": [{"index": 0, "score": 0.5}] * 3}), Unavailable, "3 scores for"),
    ("is logits", says(200, data(7.5, 0.1, -3)), Unavailable, "do not lie between 0 and 1"),
    ("is no number", says(200, "[NaN]"), Unavailable, "no list of scores"),
    ("is NaN", says(200, '{"data": [{"index": 0, "score": NaN}, {"index": 1, "score": 0}, '
     '{"index": 2, "score": 0}]}'), Unavailable, "do not lie between 0 and 1"),
    ("is busy", says(429, {}, "retry-after: 7"), Overloaded, "busy. Try again in 7 s"),
    ("is busy oddly", says(429, "no", "retry-after: soon"), Overloaded, "Try again in 1 s"),
    ("wants a key", says(401, {"error": "Unauthorized"}), Unavailable, "_KEY"),
    ("is elsewhere", says(404, {"detail": "Not Found"}), Unavailable, "has no /score"),
    ("knows no such model",
     says(404, {"error": {"message": "The model `x` does not exist."}}),
     Unavailable, "not this model: The model `x` does not exist; see QUARTET_RERANK__UPSTREAM"),
    ("refuses", says(400, {"object": "error", "message": "too\nlong.", "code": 400}),
     BadInput, "refuses this query and document: too long."),
    ("fails", says(500, {"error": {"message": "CUDA out of memory"}}),
     Unavailable, "failed with status 500: CUDA out of memory."),
    ("is unavailable", says(503, ""), Unavailable, "failed with status 503."),
    ("sends elsewhere", says(307, "", "location: http://127.0.0.1:1/x"),
     Unavailable, "failed with status 307."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_an_answer_that_cannot_be_used_is_one_sentence(
    answer: Any, kind: type[Exception], sentence: str
) -> None:
    with (
        scoring_server(answer) as server,
        engine(server, upstream_seconds=0.5) as upstream,
        pytest.raises(kind) as said,
    ):
        upstream.run(PAIRS, emit)
    assert sentence in str(said.value)
    assert "\n" not in str(said.value)
    assert str(said.value)[-1] in ".?"


def test_the_retry_after_of_a_busy_server_is_passed_on_but_not_for_ever() -> None:
    with scoring_server(says(429, {}, "retry-after: 9000")) as server, engine(server) as upstream:
        with pytest.raises(Overloaded) as said:
            upstream.run(PAIRS, emit)
        assert said.value.retry_after == 60


def test_a_server_that_is_starting_says_when_to_come_again() -> None:
    with scoring_server(says(503, {}, "retry-after: 20")) as server, engine(server) as upstream:
        with pytest.raises(Unavailable) as said:
            upstream.run(PAIRS, emit)
        assert said.value.retry_after == 20


def test_a_caller_who_left_closes_their_connection_and_is_not_asked_for_again() -> None:
    """The server hears it, and stops; of a batch, the queries of the others are still asked."""
    closed = threading.Event()

    def silent(connection: socket.socket, body: dict[str, Any]) -> None:
        if body["text_1"] != QUERY:
            scores(connection, body)
            return
        while is_open(connection):
            pass
        closed.set()

    with scoring_server(silent) as server, engine(server, upstream_seconds=3600) as upstream:
        gone = [Pair(QUERY, text, ()) for text in DOCUMENTS]
        pairs = [*gone, Pair("Grain fell.", "Grain prices fell.", ()), Pair("a tax", "a tax", ())]

        def listens(index: int, part: Any) -> bool:
            return index == 3 or (index < 3 and not server.requests)

        found = upstream.run(pairs, listens)
        assert closed.wait(20)
        assert found[3].score == score("Grain fell.", "Grain prices fell.")
        assert [request["text_1"] for request in server.requests] == [QUERY, "Grain fell."]


def test_a_server_that_is_not_there_is_one_sentence(free_port: int) -> None:
    with engine(ScoringServer(free_port, hang)) as upstream, pytest.raises(Unavailable) as said:
        upstream.run(PAIRS, emit)
    assert "could not be asked: " in str(said.value)


@pytest.mark.parametrize(
    ("pair", "field"), [(Pair(QUERY, RED, ()), "documents"), (Pair(RED, "red", ()), "query")]
)
def test_pictures_are_refused_before_anything_is_sent(pair: Pair, field: str) -> None:
    with scoring_server() as server, engine(server) as upstream:
        with pytest.raises(BadInput, match="lychee-rerank-mm can") as said:
            upstream.tokens(pair)
        assert said.value.field == field
        assert not server.requests


def test_without_an_address_it_is_not_loaded() -> None:
    load = MODELS["upstream"].load
    assert load is not None
    with pytest.raises(ModelLoadError, match="QUARTET_RERANK__UPSTREAM names no server"):
        load(Settings())


def test_it_is_offered_only_where_a_server_is_named() -> None:
    assert "upstream" not in configured(FAMILIES, Settings())["rerank"].models
    named = Settings(rerank=Rerank(upstream="http://vllm:8000"))
    assert "upstream" in configured(FAMILIES, named)["rerank"].models


@contextmanager
def served(
    server: ScoringServer, folder: Path, seconds: float = 5, **batching: Any
) -> Iterator[httpx.Client]:
    settings = Settings(
        state_dir=folder,
        rerank=Rerank(model="upstream", upstream=server.url, upstream_seconds=seconds),
        batching=Batching(engine_threads=1, **batching),
    )
    with (
        running.in_thread(build_service(settings, "rerank")[0]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def test_through_the_route_it_ranks_and_its_faults_keep_their_status(tmp_path: Path) -> None:
    body = {"query": QUERY, "documents": list(DOCUMENTS)}
    with scoring_server() as server, served(server, tmp_path) as client:
        answer = client.post("/v1/rerank", json=body)
        assert answer.status_code == 200, answer.text
        assert [result["index"] for result in answer.json()["results"]] == [2, 0, 1]
        assert answer.headers["x-model"] == "upstream"
        server.answer = says(429, {}, "retry-after: 7")
        server.requests.clear()
        for _ in range(7):  # more than the failures that would stop a service
            busy = client.post("/v1/rerank", json=body)
            assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
        assert len(server.requests) == 7  # a server that is busy is not asked for each document
        server.answer = says(500, "")
        assert client.post("/v1/rerank", json=body).status_code == 503
        assert len(server.requests) == 8
        server.answer = scores
        assert client.post("/v1/rerank", json=body).status_code == 200


def test_a_visitor_who_hangs_up_ends_the_work_on_the_server(tmp_path: Path) -> None:
    closed = threading.Event()

    def silent(connection: socket.socket, body: dict[str, Any]) -> None:
        while is_open(connection):
            pass
        closed.set()

    body = {"query": QUERY, "documents": list(DOCUMENTS)}
    with scoring_server() as server, served(server, tmp_path, 40) as client:
        assert client.post("/v1/rerank", json=body).status_code == 200
        server.answer = silent
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/rerank", json={**body, "query": "else"}, timeout=1)
        assert closed.wait(20)
        server.answer = scores
        assert client.post("/v1/rerank", json=body).status_code == 200


def test_four_threads_at_once_get_what_one_gets() -> None:
    queries = (QUERY, "Grain fell.", "desk light", "prices that")
    batches = [[Pair(query, text, ()) for text in DOCUMENTS] for query in queries]
    with scoring_server() as server, engine(server) as upstream, ThreadPoolExecutor(4) as threads:
        alone = [upstream.run(batch, emit) for batch in batches]
        again = threads.map(lambda n: upstream.run(batches[n % 4], emit), range(40))
        assert list(again) == alone * 10


def test_one_document_that_the_server_refuses_fails_alone(tmp_path: Path) -> None:
    def picky(connection: socket.socket, body: dict[str, Any]) -> None:
        if any("long" in text for text in body["text_2"]):
            respond(connection, 400, json.dumps({"message": "too long"}))
        else:
            scores(connection, body)

    with scoring_server(picky) as server, served(server, tmp_path) as client:
        bad = client.post("/v1/rerank", json={"query": QUERY, "documents": ["long", "a lamp"]})
        assert bad.status_code == 422
        assert bad.json()["error"] == "The model server refuses this query and document: too long."
        good = client.post("/v1/rerank", json={"query": QUERY, "documents": ["a lamp"]})
        assert good.status_code == 200
