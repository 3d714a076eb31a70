"""
The upstream model: a server that speaks OpenAI's protocol over a real socket, well and badly.
"""

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from app import build_service
from backends.engines.translate import MODELS, SAMPLE, Passage, Translation
from backends.engines.translate.upstream import about_tokens, base
from backends.errors import BadInput, ModelLoadError, Overloaded, TimedOut, Unavailable
from backends.families import FAMILIES, configured
from backends.settings import Settings, Translate
from tests import running
from tests.openai_server import MODEL, Server

HELLO = Passage("hello there, world", "en", "fr")


@contextmanager
def speaking(server: Server) -> Iterator[str]:
    with running.in_thread(server.app, ready=False) as address:
        yield address


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def address(server: Server) -> Iterator[str]:
    with speaking(server) as address:
        yield address


@contextmanager
def loaded(address: str, **group: Any) -> Iterator[Any]:
    row = MODELS["upstream"]
    assert row.load is not None
    settings = Settings(translate=Translate(upstream=address, **group))
    engine = row.load(settings)
    try:
        yield engine
    finally:
        engine.close()


def run(engine: Any, *passages: Passage) -> list[Translation]:
    made: list[Translation] = engine.run(passages, lambda index, part: True)
    return made


def test_the_row_is_there_only_where_a_server_is_named() -> None:
    without = configured(FAMILIES, Settings())["translate"].models
    assert "upstream" not in without
    assert len(without) == len(MODELS) - 1
    group = Translate(upstream="https://gpu.example:8000/v1", upstream_model="Hy-MT2-30B-A3B")
    named = configured(FAMILIES, Settings(translate=group))["translate"].models["upstream"]
    assert named.title == "Hy-MT2-30B-A3B at gpu.example:8000"
    with pytest.raises(ModelLoadError, match="QUARTET_TRANSLATE__UPSTREAM names no server"):
        MODELS["upstream"].load(Settings())  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Translate(upstream="gpu.example")


def test_every_passage_is_asked_for_in_the_words_of_the_prompts(
    server: Server, address: str
) -> None:
    with loaded(address) as engine:
        made = run(engine, *SAMPLE, HELLO)
        assert engine.title == f"{MODEL} at {address.removeprefix('http://')}"
    assert [each.text for each in made] == [s.text.upper() for s in (*SAMPLE, HELLO)]
    body = next(b for b in server.bodies if "French" in b["messages"][0]["content"])
    assert body["messages"][0]["content"] == (
        "Translate the following text into French. Note that you should only output the "
        "translated result without any additional explanation:\n\nhello there, world"
    )
    assert {k: body[k] for k in ("model", "stream", "temperature", "top_p", "top_k")} == {
        "model": MODEL, "stream": True, "temperature": 0.7, "top_p": 0.6, "top_k": 20,
    }  # fmt: skip
    assert body["max_tokens"] == 64 + 8 * about_tokens(HELLO.text)


def test_greedy_and_the_other_prompts_are_settings(server: Server, address: str) -> None:
    with loaded(f"{address}/v1/", sampling="greedy", upstream_prompts="hy-mt1.5") as engine:
        assert engine.capabilities.html
        assert not engine.capabilities.style
        run(engine, HELLO)
    assert server.bodies[-1]["temperature"] == 0
    assert "top_p" not in server.bodies[-1]
    assert server.bodies[-1]["messages"][0]["content"].startswith("Translate the following segment")


def test_a_stream_is_passed_on_as_it_comes(address: str) -> None:
    parts: list[str] = []
    with loaded(address) as engine:
        emit = lambda index, part: parts.append(part) or True  # noqa: E731
        (made,) = engine.run([HELLO], emit)
    assert [part for part in parts if part] == ["HELLO", " THERE,", " WORLD"]
    assert made.text == "HELLO THERE, WORLD"


def test_no_more_requests_are_open_than_the_setting_says(server: Server, address: str) -> None:
    passages = [Passage(f"word {'x ' * 20}{n}", "en", "fr") for n in range(9)]
    with loaded(address, upstream_requests=3) as engine:
        made = run(engine, *passages)
    assert [each.text for each in made] == [each.text.upper() for each in passages]
    assert server.most_open == 3


def test_four_threads_at_once_get_what_one_gets(address: str) -> None:
    passages = [Passage(f"word {n} and another", "en", "fr") for n in range(4)]
    with loaded(address) as engine, ThreadPoolExecutor(4) as threads:
        alone = [run(engine, each) for each in passages]
        assert run(engine, *passages) == [made for (made,) in alone]
        again = threads.map(lambda n: run(engine, passages[n % 4]), range(40))
        assert list(again) == alone * 10


def test_a_caller_who_left_closes_their_connection(server: Server, address: str) -> None:
    asked = []

    def emit(index: int, part: str | None) -> bool:
        asked.append(part)
        return len([p for p in asked if p]) < 3

    with loaded(address) as engine:
        (made,) = engine.run([Passage("word " * 300, "en", "fr")], emit)
        running.wait_until(lambda: server.left == 1, "the connection stayed open")
    assert made.text == "WORD WORD WORD"
    assert server.words < 20


def test_a_caller_who_left_a_silent_server_is_let_go(server: Server, address: str) -> None:
    calls: list[Any] = []

    def emit(index: int, part: str | None) -> bool:
        calls.append(part)
        return len(calls) < 6

    with loaded(address, upstream_seconds=3600) as engine:
        server.fault = "silence"
        engine.run([HELLO], emit)
    assert [part for part in calls if part] == ["HELLO"]


def test_an_answer_that_was_cut_off_says_so(address: str) -> None:
    with loaded(address) as engine:
        assert "cut off" in run(engine, Passage("cut", "en", "fr"))[0].warnings[0][0]


FAULTS = [
    ("busy", Overloaded, "upstream server is busy"),
    ("key", Unavailable, "refused our key"),
    ("down", Unavailable, "answered 503: <html>upstream connect error</html>"),
    ("starting", Unavailable, r"answered 503: Service is not ready\.$"),
    ("broken", Unavailable, r"answered 500: CUDA error x{189}\.$"),
    ("context", BadInput, r"refuses this text: maximum context length is 8 tokens\.$"),
    ("sglang", BadInput, r"refuses this text: too long\.$"),
    ("old model", Unavailable, "has no /v1/chat/completions, or no such model"),
    ("nonsense", Unavailable, "broke off in the middle|no answer of an OpenAI-compatible"),
    ("error event", Unavailable, "failed: out of memory"),
    ("not JSON", Unavailable, "no answer of an OpenAI-compatible server"),
    ("other JSON", Unavailable, "no answer of an OpenAI-compatible server"),
    ("cut", Unavailable, "broke off in the middle"),
    ("abort", Unavailable, r"broke off in the middle of its answer \(abort\)\.$"),
    ("content_filter", Unavailable, r"middle of its answer \(content_filter\)\.$"),
    ("endless line", Unavailable, "no answer of an OpenAI-compatible server"),
    ("endless comments", Unavailable, "no answer of an OpenAI-compatible server"),
    ("end", Unavailable, "broke off in the middle"),
]


@pytest.mark.parametrize(("fault", "kind", "sentence"), FAULTS)
def test_a_fault_is_one_sentence_and_the_next_request_is_answered(
    server: Server, address: str, fault: str, kind: type[Exception], sentence: str
) -> None:
    with loaded(address) as engine:
        server.fault = fault
        with pytest.raises(kind, match=sentence) as raised:
            run(engine, HELLO)
        assert type(raised.value) is kind
        assert "\n" not in str(raised.value)
        again = {"busy": 7, "down": 40, "starting": 40}  # as the server said
        assert getattr(raised.value, "retry_after", None) == again.get(fault)
        server.fault = ""
        assert run(engine, HELLO)[0].text == "HELLO THERE, WORLD"


@pytest.mark.parametrize("fault", ["silence", "still here"])
def test_a_server_without_a_word_is_given_up(server: Server, address: str, fault: str) -> None:
    with loaded(address, upstream_seconds=0.3) as engine:
        server.fault = fault
        with pytest.raises(TimedOut, match="took too long"):
            run(engine, HELLO)


def test_a_server_that_went_away_could_not_be_reached(server: Server) -> None:
    with speaking(server) as address:
        engine = MODELS["upstream"].load(Settings(translate=Translate(upstream=address)))  # type: ignore[misc]
    with pytest.raises(Unavailable, match="could not be reached"):
        engine.run([HELLO], lambda index, part: True)
    engine.close()


def test_a_load_says_what_is_wrong_and_leaves_no_thread(
    server: Server, address: str, free_port: int
) -> None:
    before = threading.active_count()
    tries = [
        ({"upstream_model": "gpt"}, "", f"has no model gpt; it has {MODEL}"),
        ({}, "no models", "lists no model"),
        ({}, "key", "refused our key"),
    ]
    for group, fault, sentence in tries:
        server.fault = fault
        with pytest.raises(ModelLoadError, match=sentence), loaded(address, **group):
            pass
    with pytest.raises(ModelLoadError, match="reached"), loaded(f"http://127.0.0.1:{free_port}"):
        pass
    assert threading.active_count() == before


def test_the_key_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(key="s3cret")
    with speaking(server) as address:
        with pytest.raises(ModelLoadError, match="refused our key"), loaded(address):
            pass
        group = {"upstream_key": SecretStr("s3cret")}
        with caplog.at_level(logging.DEBUG), loaded(address, **group) as engine:
            assert run(engine, HELLO)[0].text == "HELLO THERE, WORLD"
            assert "s3cret" not in repr(vars(engine))
        assert "http" in caplog.text  # its libraries did tell what they do
        assert "s3cret" not in caplog.text


def test_addresses_and_lengths() -> None:
    for given in ("http://a:1", "http://a:1/", "http://a:1/v1", "http://a:1/v1/"):
        assert base(given) == "http://a:1/v1/"
    assert base("https://a/openai/v1") == "https://a/openai/v1/"
    assert about_tokens("") == 1
    assert about_tokens("a" * 400) == 100
    assert about_tokens("你好世界") == 4


def test_the_service_streams_it_and_tells_its_faults(
    server: Server, address: str, tmp_path: Path
) -> None:
    group = Translate(model="upstream", upstream=address)
    settings = Settings(state_dir=tmp_path, translate=group)
    body = {"text": HELLO.text, "source": "en", "target": "fr"}
    with (
        running.in_thread(build_service(settings, "translate")[0]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        answer = client.post("/v1/translate", json=body)
        assert answer.json()["translations"][0]["text"] == "HELLO THERE, WORLD"
        assert answer.headers["x-model"] == "upstream"
        with client.stream("POST", "/v1/translate", json={**body, "stream": True}) as stream:
            lines = [line for line in stream.iter_lines() if line]
        events = [json.loads(line.removeprefix("data: ")) for line in lines]
        assert [e["delta"] for e in events[:-1]] == ["HELLO", " THERE,", " WORLD"]
        server.fault = "busy"
        busy = client.post("/v1/translate", json=body)
        assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
        server.fault = "down"
        down = client.post("/v1/translate", json=body)
        assert (down.status_code, down.json()["error_type"]) == (503, "Unavailable")
        assert down.headers["retry-after"] == "40"
        server.fault = "context"
        for _ in range(settings.batching.breaker_failures + 1):  # a text's fault stops nobody
            long = client.post("/v1/translate", json=body)
            assert (long.status_code, long.json()["error_type"]) == (422, "BadInput")
        server.fault = ""
        assert client.post("/v1/translate", json=body).status_code == 200
