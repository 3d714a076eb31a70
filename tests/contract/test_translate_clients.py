"""The unmodified clients of DeepL and of LibreTranslate against ours, as programs run them."""

from collections.abc import Iterator
from typing import Any

import pytest

from app import build_service
from backends.identity import Keys
from backends.settings import Settings
from tests import running
from tests.busy import busy
from tests.clients import environment

ENGLISH = "The library opens at nine in the morning."

Addresses = tuple[str, str, str, str]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A service that answers, one whose queue is full, and one that wants a key, with its key."""
    environment.ensure()
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    theirs = settings.model_copy(update={"state_dir": tmp_path_factory.mktemp("locked")})
    keys = Keys(theirs.state_dir / "keys.json")
    secret = keys.make("client", "shop", ["translate"])[1]
    body = {"text": [ENGLISH] * 200, "source": "en", "target": "pt"}
    with (
        running.in_thread(build_service(settings, "translate")[0]) as url,
        running.in_thread(build_service(theirs, "translate")[0]) as locked,
        busy("translate", body, tmp_path_factory.mktemp("busy")) as full,
    ):
        yield url, full, locked, secret


@pytest.fixture(scope="module")
def deepl(addresses: Addresses) -> dict[str, Any]:
    return environment.calls("deepl", *addresses)


@pytest.fixture(scope="module")
def libretranslate(addresses: Addresses) -> dict[str, Any]:
    return environment.calls("libretranslate", *addresses)


def test_deepls_client_translates_one_text_and_many(deepl: dict[str, Any]) -> None:
    ((text, source, billed),) = deepl["one"]["value"]
    assert "biblioteca" in text
    assert (source, billed) == ("EN", len(ENGLISH))
    first, blank, last = deepl["many"]["value"]
    assert first == last == [text, "EN", len(ENGLISH)]
    assert blank == ["", "EN", 0]


def test_deepls_client_lists_languages_with_the_variants_that_it_insists_on(
    deepl: dict[str, Any],
) -> None:
    assert {"EN", "PT"} <= {code for code, _ in deepl["sources"]["value"]}
    targets = dict(deepl["targets"]["value"])
    assert {"EN-GB", "EN-US", "PT-BR", "PT-PT"} <= set(targets)
    assert not {"EN", "PT"} & set(targets)
    assert targets["PT-BR"] == "Portuguese (Brazilian)"


def test_deepls_client_finds_no_limit(deepl: dict[str, Any]) -> None:
    assert deepl["usage"]["value"] == [True, False]


def test_deepls_client_raises_its_own_exceptions_with_our_sentence(deepl: dict[str, Any]) -> None:
    assert deepl["bad"]["raised"][0] == "DeepLException"
    assert deepl["bad"]["status"] == 400
    assert 'Bad request, message: target_lang: "TLH" is no language' in deepl["bad"]["text"]
    assert deepl["busy"]["raised"][0] == "TooManyRequestsException"
    assert "The translate service is busy" in deepl["busy"]["text"]


def test_libretranslates_client_translates(libretranslate: dict[str, Any]) -> None:
    assert "biblioteca" in libretranslate["translates"]["value"]
    assert libretranslate["finds out"] == libretranslate["translates"]


def test_libretranslates_client_detects_and_lists(libretranslate: dict[str, Any]) -> None:
    (found,) = libretranslate["detects"]["value"]
    assert found["language"] == "en"
    assert 50 < found["confidence"] <= 100
    languages = {each["code"]: each for each in libretranslate["languages"]["value"]}
    assert languages["en"]["name"] == "English"
    assert "pt" in languages["en"]["targets"]


def test_libretranslates_client_raises_what_it_knows(libretranslate: dict[str, Any]) -> None:
    for call, status in (("bad", 400), ("busy", 429)):
        assert libretranslate[call]["raised"][0] == "HTTPError"
        assert libretranslate[call]["status"] == status


def test_deepls_client_is_served_by_its_key_and_refused_by_a_wrong_one(
    deepl: dict[str, Any],
) -> None:
    assert deepl["key"] == deepl["one"]
    assert deepl["wrong key"]["raised"][0] == "AuthorizationException"


def test_libretranslates_client_is_served_by_its_key_and_refused_by_a_wrong_one(
    libretranslate: dict[str, Any],
) -> None:
    assert libretranslate["key"] == libretranslate["translates"]
    assert libretranslate["key detects"] == libretranslate["detects"]
    assert libretranslate["key lists"]["value"] >= 2
    assert libretranslate["wrong key"]["raised"][0] == "HTTPError"
    assert libretranslate["wrong key"]["status"] == 403
