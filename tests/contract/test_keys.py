"""API keys and limits over real HTTP, in the words of every dialect."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import build_service
from backends.identity import Keys
from backends.settings import Settings
from tests import running
from tests.contract.test_dialects import GOOD, PATHS

WRONG = "qk_" + "0" * 48
LIBRE = "/translate"
FORBIDS = (LIBRE, "/v2/translate")  # their clients know no 401
ALSO = {
    "/v1/rerank": {"message", "detail"},
    "/v2/rerank": {"message", "detail"},
    "/rerank": {"message", "detail"},
    "/score": {"message", "detail"},
    "/v1/score": {"message", "detail"},
    "/v2/translate": {"message"},
}

every_path = pytest.mark.parametrize(("name", "path"), PATHS, ids=[path for _, path in PATHS])


def keys_in(folder: Path) -> Keys:
    return Keys(folder / "keys.json")


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@contextmanager
def serving(name: str, folder: Path, **access: Any) -> Iterator[httpx.Client]:
    """One service whose state folder is `folder`."""
    settings = Settings(state_dir=folder)
    group = settings.access.model_copy(update=access)
    app, _ = build_service(settings.model_copy(update={"access": group}), name)
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


class Locked:
    """A service of each family that somebody has a key of."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clients: dict[str, httpx.Client] = {}
        self.secrets: dict[str, str] = {}
        for name in sorted({name for name, _ in PATHS}):
            place = folder / name
            self.secrets[name] = keys_in(place).make("search", "shop", [name])[1]
            self.clients[name] = stack.enter_context(serving(name, place))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with ExitStack() as stack:
        yield Locked(tmp_path_factory.mktemp("locked"), stack)


def elsewhere(number: int) -> dict[str, str]:
    """The headers of an address of its own: wrong keys slow an address down."""
    return {"x-forwarded-for": f"198.51.100.{number}"}


@every_path
def test_a_wrong_key_is_refused_in_the_words_of_its_route(
    locked: Locked, name: str, path: str
) -> None:
    headers = {**bearer(WRONG), **elsewhere(PATHS.index((name, path))), "x-request-id": "mine-2"}
    answer = locked.clients[name].post(path, json=GOOD[path], headers=headers)
    said = answer.json()
    assert answer.status_code == (403 if path in FORBIDS else 401)
    assert said["error_type"] == "SignInNeeded"
    assert said["request_id"] == answer.headers["x-request-id"] == "mine-2"
    assert set(said) == {"error", "error_type", "request_id"} | ALSO.get(path, set())
    assert "is not known here" in said["error"]
    assert {said[field] for field in ALSO.get(path, ())} <= {said["error"]}
    assert ("www-authenticate" in answer.headers) == (path not in FORBIDS)
    assert WRONG not in answer.text


@every_path
def test_a_right_key_and_none_at_all_are_served(locked: Locked, name: str, path: str) -> None:
    for headers in (bearer(locked.secrets[name]), {}):
        answer = locked.clients[name].post(path, json=GOOD[path], headers=headers)
        assert answer.status_code == 200, answer.text


@every_path
def test_a_wrong_key_is_refused_before_the_body_is_read(
    locked: Locked, name: str, path: str
) -> None:
    number = 100 + PATHS.index((name, path))
    host, port = str(locked.clients[name].base_url).removeprefix("http://").rstrip("/").split(":")
    lines = {"host": "x", "content-length": "999", **bearer(WRONG), **elsewhere(number)}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}\r\n".encode())
        answer = connection.recv(65536).decode()  # not one byte of the body was sent
    assert answer.startswith(f"HTTP/1.1 {403 if path in FORBIDS else 401}")


def test_a_key_counts_wherever_clients_send_it(locked: Locked) -> None:
    client, secret = locked.clients["translate"], locked.secrets["translate"]
    for number, (right, wrong) in enumerate(
        (
            ({"headers": bearer(secret)}, {"headers": bearer(WRONG)}),
            ({"headers": {"x-api-key": secret}}, {"headers": {"x-api-key": WRONG}}),
            (
                {"headers": {"authorization": f"DeepL-Auth-Key {secret}"}},
                {"headers": {"authorization": f"DeepL-Auth-Key {WRONG}"}},
            ),
            ({"json": {"api_key": secret}}, {"json": {"api_key": WRONG}}),
            ({"data": {"api_key": secret}}, {"data": {"api_key": WRONG}}),
            (
                {"data": {"api_key": secret}, "files": {"x": b""}},
                {"data": {"api_key": WRONG}, "files": {"x": b""}},
            ),
        )
    ):
        for sent, status in ((right, 200), (wrong, 403)):
            kind = "data" if "data" in sent else "json"
            asked = {**sent, kind: {**GOOD[LIBRE], **sent.get(kind, {})}}
            asked["headers"] = {**elsewhere(150 + number), **sent.get("headers", {})}
            answer = client.post(LIBRE, **asked)
            assert answer.status_code == status, (number, answer.text)


def test_libretranslates_other_routes_read_the_key_of_their_form(locked: Locked) -> None:
    client, secret = locked.clients["translate"], locked.secrets["translate"]
    for method, path, form in (("POST", "/detect", {"q": "Good day"}), ("GET", "/languages", {})):
        for key, status in ((secret, 200), (WRONG, 403)):
            answer = client.request(
                method, path, data={**form, "api_key": key}, headers=elsewhere(170)
            )
            assert answer.status_code == status, answer.text


def test_a_key_without_the_scope_is_told_which_it_lacks(tmp_path: Path) -> None:
    other = keys_in(tmp_path).make("search", "shop", ["translate"])[1]
    with serving("rerank", tmp_path) as client:
        answer = client.post("/v2/rerank", json=GOOD["/v2/rerank"], headers=bearer(other))
    assert (answer.status_code, answer.json()["error_type"]) == (403, "Denied")
    assert (
        answer.json()["message"] == "This API key lacks the scope rerank; ask for one that has it."
    )


def test_an_address_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    secret = keys_in(tmp_path).make("search", "shop", ["rerank"])[1]
    body = GOOD["/v1/rerank"]
    with serving("rerank", tmp_path, anonymous_per_minute=2) as client:
        for left in (1, 0):
            answer = client.post("/v1/rerank", json=body)
            assert answer.status_code == 200
            assert answer.headers["ratelimit-limit"] == "2"
            assert answer.headers["ratelimit-remaining"] == str(left)
            assert 0 < int(answer.headers["ratelimit-reset"]) <= 60
        for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
            refused = client.post(path, json=GOOD[path])
            assert (refused.status_code, refused.json()["error_type"]) == (429, "RateLimited")
            assert 0 < int(refused.headers["retry-after"]) <= 60
            assert refused.headers["ratelimit-remaining"] == "0"
            assert "may ask 2 times a minute. Try again in" in refused.json()["message"]
        assert client.get("/info").status_code == 200  # a look does not count
        assert client.post("/v1/rerank", json=body, headers=elsewhere(1)).status_code == 200
        mine = client.post("/v1/rerank", json=body, headers=bearer(secret))
        assert mine.status_code == 200  # the same address, and no nameless caller
        assert "ratelimit-limit" not in mine.headers
        told = client.get("/metrics").text
        assert 'quartet_requests_total{outcome="RateLimited",service="rerank"} 3.0' in told
        assert "127.0.0.1" not in told


def test_a_limit_is_met_before_the_body_is_read(tmp_path: Path) -> None:
    secret = keys_in(tmp_path).make("search", "shop", ["rerank"], per_day=1)[1]
    with serving("rerank", tmp_path) as client:
        good = client.post("/v1/rerank", json=GOOD["/v1/rerank"], headers=bearer(secret))
        assert (good.status_code, good.headers["ratelimit-remaining"]) == (200, "0")
        host, port = str(client.base_url).removeprefix("http://").rstrip("/").split(":")
        head = f"POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\nx-api-key: {secret}"
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode())
            answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 429")
    assert "once a day" in answer


def test_a_key_in_the_body_has_its_own_limit_and_not_that_of_its_address(tmp_path: Path) -> None:
    secret = keys_in(tmp_path).make("search", "shop", ["translate"], per_minute=2)[1]
    body = GOOD[LIBRE]
    with serving("translate", tmp_path, anonymous_per_minute=1) as client:
        statuses = [
            client.post(LIBRE, json={**body, "api_key": key}).status_code
            for key in ("", secret, secret, secret, "")
        ]
        assert statuses == [200, 200, 200, 429, 429]
        said = client.post(LIBRE, json={**body, "api_key": secret})
        assert "This API key may ask 2 times a minute" in said.json()["error"]
        assert said.headers["ratelimit-limit"] == "2"


def test_where_nobody_may_be_nameless_a_key_is_needed(tmp_path: Path) -> None:
    with serving("translate", tmp_path, anonymous=False) as client:
        for path in ("/v1/translate", LIBRE, "/v2/translate"):
            for headers in ({}, bearer("any-key")):  # no key exists, so this one is nobody's
                refused = client.post(path, json=GOOD[path], headers=headers)
                assert refused.status_code == (403 if path in FORBIDS else 401)
                assert "serves nobody it does not know" in refused.json()["error"]
        assert client.get("/languages").status_code == 403
        secret = keys_in(tmp_path).make("search", "shop", ["translate"])[1]
        for path in ("/v1/translate", LIBRE, "/v2/translate"):
            answer = client.post(path, json=GOOD[path], headers=bearer(secret))
            assert answer.status_code == 200
        in_body = client.post(LIBRE, json={**GOOD[LIBRE], "api_key": secret})
        assert in_body.status_code == 200
        assert client.post(LIBRE, json=GOOD[LIBRE]).status_code == 403
        for free in ("/healthz", "/readyz", "/metrics", "/docs"):
            assert client.get(free).status_code == 200


def test_a_page_of_another_site_may_read_why_it_was_refused(tmp_path: Path) -> None:
    keys_in(tmp_path).make("search", "shop", ["rerank"])
    settings = Settings(state_dir=tmp_path)
    server = settings.server.model_copy(update={"cors_origins": ("https://shop.example",)})
    app, _ = build_service(settings.model_copy(update={"server": server}), "rerank")
    origin = {"origin": "https://shop.example"}
    with running.in_thread(app) as url:
        asked = {**origin, "access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "authorization"
        assert httpx.options(f"{url}/v1/rerank", headers=asked).status_code == 200
        refused = httpx.post(f"{url}/v1/rerank", json={}, headers={**origin, **bearer(WRONG)})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    assert "ratelimit-remaining" in refused.headers["access-control-expose-headers"]


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "app.py", "key", *words],
        cwd=running.ROOT,
        env={**os.environ, "QUARTET_STATE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=running.PATIENCE,
    )
    return done.stdout


def test_a_command_beside_a_running_service_makes_and_revokes_keys(tmp_path: Path) -> None:
    body = GOOD["/v1/rerank"]
    with running.Process("--serve", "rerank", "--port", "0", state_dir=tmp_path) as service:
        with httpx.Client(base_url=service.ready().address, timeout=60) as client:
            assert client.post("/v1/rerank", json=body, headers=bearer(WRONG)).status_code == 200
            made = command(tmp_path, "make", "search box", "--tenant", "shop", "--scope", "rerank")
            secret, key = made.split()[-1], made.split()[0]
            assert client.post("/v1/rerank", json=body, headers=bearer(secret)).status_code == 200
            assert client.post("/v1/rerank", json=body, headers=bearer(WRONG)).status_code == 401
            listed = command(tmp_path, "list")
            assert f"{key}  active  search box  tenant shop  rerank" in listed
            assert secret not in listed
            assert "is refused from now on" in command(tmp_path, "revoke", key)
            refused = client.post("/v1/rerank", json=body, headers=bearer(secret))
            assert refused.status_code == 401
            assert " revoked " in command(tmp_path, "list")
            service.process.terminate()
            assert service.wait() == 0
        answered = [(line["user"], line["tenant"]) for line in service.events("answered")]
        assert answered == [("anonymous", "anonymous"), (f"key {key}", "shop")]
        outcomes = [line["outcome"] for line in service.events("refused")]
        assert outcomes == ["SignInNeeded", "SignInNeeded"]
        everything = "".join(service.logged) + "".join(service.said)
        assert secret[11:] not in everything  # all but its id
        assert WRONG not in everything
        kept = json.loads((tmp_path / "keys.json").read_text())
        assert list(kept) == [key]
        assert secret[11:] not in json.dumps(kept)
