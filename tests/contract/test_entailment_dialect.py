"""Entailment in OFA's words, by JSON and by form, over real HTTP and the real engine."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import build_service
from backends.settings import Settings
from tests import running

PHOTO = (Path(__file__).parents[1] / "photos" / "coffee.png").read_bytes()
TEXT = "There is a cup of coffee."
ANSWERS = {TEXT: "yes", "This is a black and white photo.": "no", "It is Monday.": "maybe"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app, _ = build_service(Settings(state_dir=tmp_path_factory.mktemp("state")), "entailment")
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_ofa_gets_what_our_own_route_says_by_json_and_by_form(client: httpx.Client) -> None:
    image = b64encode(PHOTO).decode()
    ours = client.post("/v1/entailment", json={"image": image, "statements": [TEXT]}).json()
    (result,) = ours["results"]
    for answer in (
        client.post("/predict", json={"image": image, "text": TEXT}),
        client.post("/predict", data={"text": TEXT}, files={"image": ("coffee.png", PHOTO)}),
    ):
        value = answer.json()
        assert value["result"] == result["label"]
        assert value["probabilities"] == result["probabilities"]
        assert value["confidence"] == value["probabilities"][value["result"]]
        assert value["labels"] == ["yes", "maybe", "no"]
        assert value["latency_ms"] >= 0
        assert value["warnings"] == ours["warnings"]


@pytest.mark.parametrize(("text", "label"), ANSWERS.items())
def test_the_confidence_is_the_probability_of_the_result(
    client: httpx.Client, text: str, label: str
) -> None:
    value = client.post("/predict", json={"image": b64encode(PHOTO).decode(), "text": text}).json()
    assert value["result"] == label
    assert value["confidence"] == value["probabilities"][label]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": " "}, "text is empty; write what may be seen."),
        ({"text": None}, "text must be text."),
        ({"text": "x" * 2001}, "text has 2001 characters; send at most 2000."),
        ({"image": "https://example.org/cat.jpg"}, "image: Addresses are not fetched"),
        ({"image": 7}, "image must be text."),
    ],
)
def test_what_ofa_cannot_be_asked_is_one_sentence_in_its_words(
    client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    body = {"image": b64encode(PHOTO).decode(), "text": TEXT, **fields}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)
