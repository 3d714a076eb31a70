"""
Who may ask what: every HTTP route of the portal, asked by everybody.

The routes are read from the application: one that is missing in the table fails the test. The
handlers of the pages are not routes; they have tests of their own.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import build_portal
from backends.identity import COOKIE, Role
from backends.portal import Portal
from backends.settings import Settings
from tests import running

PHOTOS = Path(__file__).parents[1] / "photos"
PASSWORD = "correct horse battery"
PLAIN: Any = {"timeout": 60, "verify": False}  # no certificates to load for each of many clients
FAMILIES = ["rerank", "entailment", "fusion", "translate"]

# Who asks: nobody, three who signed in, and the keys: one with every family's scope, whose job
# it is; one without them; one that is wrong; and one of another tenant, with every scope.
ASKING = ("guest", "viewer", "operator", "swapper", "key", "no scope", "wrong", "other tenant")

# 422 and 400 are a body without sense, which was let in to be read.
TABLE: dict[str, tuple[int, ...]] = {
    #                                     guest view oper swap  key  less wrong other
    "GET /openapi.json":                   (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /static-offline-docs":            (404, 404, 404, 404, 404, 404, 404, 404),
    "GET /docs":                           (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /docs/oauth2-redirect":           (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /healthz":                        (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /health":                         (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /readyz":                         (200, 200, 200, 200, 200, 200, 200, 200),
    "GET /metrics":                        (200, 200, 200, 200, 200, 200, 200, 200),
    "POST /internal/swap":                 (401, 401, 401, 401, 401, 401, 401, 401),
    "POST /internal/stop":                 (401, 401, 401, 401, 401, 401, 401, 401),
    "POST /internal/drain":                (401, 401, 401, 401, 401, 401, 401, 401),
    "GET /internal/{path:path}":           (404, 404, 404, 404, 404, 404, 404, 404),
    "POST /v1/rerank":                     (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /v2/rerank":                     (400, 400, 400, 400, 400, 403, 401, 400),
    "POST /rerank":                        (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /score":                         (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /v1/score":                      (422, 422, 422, 422, 422, 403, 401, 422),
    "GET /info":                           (200, 200, 200, 200, 200, 403, 401, 200),
    "POST /v1/entailment":                 (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /predict":                       (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /v1/translate":                  (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /translate":                     (400, 400, 400, 400, 400, 403, 403, 400),
    "POST /detect":                        (400, 400, 400, 400, 400, 403, 403, 400),
    "GET /languages":                      (200, 200, 200, 200, 200, 403, 403, 200),
    "POST /v2/translate":                  (400, 400, 400, 400, 400, 403, 403, 400),
    "GET /v2/languages":                   (200, 200, 200, 200, 200, 403, 403, 200),
    "GET /v2/usage":                       (200, 200, 200, 200, 200, 403, 403, 200),
    "POST /v1/fusion":                     (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /v1/fusion/faces":               (422, 422, 422, 422, 422, 403, 401, 422),
    "POST /v1/fusion/jobs":                (422, 422, 422, 422, 422, 403, 401, 422),
    "GET /v1/fusion/jobs":                 (200, 200, 200, 200, 200, 403, 401, 200),
    "GET /v1/fusion/jobs/{job}":           (404, 404, 404, 404, 200, 403, 401, 404),
    "GET /v1/fusion/jobs/{job}/events":    (404, 404, 404, 404, 200, 403, 401, 404),
    "GET /v1/fusion/jobs/{job}/result":    (404, 404, 404, 404, 200, 403, 401, 404),
    "POST /v1/fusion/jobs/{job}/retry":    (404, 404, 404, 404, 409, 403, 401, 404),
    "DELETE /v1/fusion/jobs/{job}":        (404, 404, 404, 404, 204, 403, 401, 404),
    "GET /v1/admin/services":              (401, 200, 200, 200, 403, 200, 401, 403),
    "GET /v1/admin/models":                (401, 200, 200, 200, 403, 200, 401, 403),
    "POST /v1/admin/services/{service}/plan": (401, 403, 403, 422, 403, 422, 401, 403),
    "POST /v1/admin/services/{service}/swap": (401, 403, 403, 422, 403, 422, 401, 403),
    "POST /v1/admin/services/{service}/undo": (401, 403, 403, 422, 403, 422, 401, 403),
    "POST /v1/admin/services/{service}/stop": (401, 403, 403, 404, 403, 404, 401, 403),
    "GET /v1/admin/figures/{name}":        (401, 404, 404, 404, 403, 404, 401, 403),
    "GET /v1/admin/audit":                 (401, 200, 200, 200, 403, 200, 401, 403),
    "GET /v1/admin/audit.jsonl":           (401, 200, 200, 200, 403, 200, 401, 403),
    "GET /v1/admin/audit/verify":          (401, 200, 200, 200, 403, 200, 401, 403),
    "GET /v1/admin/accounts":              (401, 200, 200, 200, 403, 200, 401, 403),
    "POST /v1/admin/accounts":             (401, 403, 422, 403, 403, 403, 401, 403),
    "DELETE /v1/admin/accounts/{name}":    (401, 403, 404, 403, 403, 403, 401, 403),
    "GET /v1/admin/keys":                  (401, 200, 200, 200, 403, 200, 401, 403),
    "POST /v1/admin/keys":                 (401, 403, 422, 403, 403, 403, 401, 403),
    "DELETE /v1/admin/keys/{id}":          (401, 403, 404, 403, 403, 403, 401, 403),
    "GET /v1/admin/jobs":                  (401, 200, 200, 200, 403, 200, 401, 403),
    "POST /v1/admin/jobs/{job}/cancel":    (401, 403, 200, 403, 403, 403, 401, 403),
    "DELETE /v1/admin/jobs/{job}":         (401, 403, 204, 403, 403, 403, 401, 403),
    "GET /v1/{path:path}":                 (404, 404, 404, 404, 404, 404, 401, 404),
    "GET /v2/{path:path}":                 (404, 404, 404, 404, 404, 404, 401, 404),
    "POST /admin/sign-in":                 (422, 422, 422, 422, 422, 422, 422, 422),
    "POST /admin/sign-out":                (303, 303, 303, 303, 303, 303, 303, 303),
    "GET /admin":                          (401, 200, 200, 200, 401, 401, 401, 401),
    "GET /":                               (200, 200, 200, 200, 200, 200, 200, 200),
}  # fmt: skip


class CheapHasher:
    def hash(self, password: str) -> str:
        return f"hashed {password}"

    def matches(self, stored: str, password: str) -> bool:
        return stored == f"hashed {password}"


@dataclass(frozen=True, slots=True)
class Served:
    app: FastAPI
    url: str
    secrets: dict[str, str]

    def asking(self, who: str) -> httpx.Client:
        """Somebody at an address of their own: wrong keys slow an address down."""
        headers = {"x-forwarded-for": f"198.51.100.{next(ADDRESSES) % 250}"}
        if who in self.secrets:
            headers["authorization"] = f"Bearer {self.secrets[who]}"
        cookies = {}
        if who in set(Role):
            form = {"name": who, "password": PASSWORD}
            answer = httpx.post(f"{self.url}/admin/sign-in", data=form, headers=headers, **PLAIN)
            cookies[COOKIE] = answer.cookies[COOKIE]
        return httpx.Client(base_url=self.url, headers=headers, cookies=cookies, **PLAIN)

    def job(self) -> str:
        """A finished job of the key's."""
        with self.asking("key") as client:
            made = submitted(client)
            assert "token" not in made  # the key is proof enough
            path = f"/v1/fusion/jobs/{made['id']}"
            running.wait_until(lambda: client.get(path).json()["state"] == "done", "not done")
        return str(made["id"])


def submitted(client: httpx.Client) -> dict[str, Any]:
    pictures = {
        "source": ("a", (PHOTOS / "hopper.jpg").read_bytes()),
        "target": ("b", (PHOTOS / "astronaut.png").read_bytes()),
    }
    data = {"options": json.dumps({"consent": True})}
    answer = client.post("/v1/fusion/jobs", files=pictures, data=data)
    assert answer.status_code == 202, answer.text
    value: dict[str, Any] = answer.json()
    return value


ADDRESSES = itertools.count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    async def built() -> tuple[FastAPI, Portal]:
        app, _, portal = build_portal(Settings(state_dir=tmp_path_factory.mktemp("state")))
        return app, portal

    # Where no loop runs, Gradio makes one for each of its locks and closes none of them.
    with ThreadPoolExecutor(1) as thread:
        app, portal = thread.submit(asyncio.run, built()).result()
    portal.identity.accounts._hasher = CheapHasher()
    for role in Role:
        portal.identity.accounts.add(role, PASSWORD, [role])
    keys = portal.identity.keys
    secrets = {
        "key": keys.make("search", "shop", FAMILIES)[1],
        "no scope": keys.make("robot", "shop", ["admin:swapper"])[1],
        "wrong": "qk_" + "0" * 48,
        "colleague": keys.make("search", "shop", FAMILIES)[1],
        "other tenant": keys.make("search", "stall", FAMILIES)[1],
    }
    with running.in_thread(app) as url:
        yield Served(app, url, secrets)


@pytest.fixture(scope="module")
def job(served: Served) -> str:
    return served.job()


def routes(app: FastAPI) -> Iterator[str]:
    """Each route as the table writes it; a path's refusal of other methods is told below."""
    for route in app.routes:
        path: str = getattr(route, "path", "")
        if is_refusal(route):
            if "{" in path:
                yield f"GET {path}"
            continue
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if method != "HEAD":
                yield f"{method} {path or '/'}"


def is_refusal(route: Any) -> bool:
    return getattr(getattr(route, "endpoint", None), "__name__", "") == "nowhere"


def test_every_route_stands_in_the_table_and_no_other(served: Served) -> None:
    assert sorted(routes(served.app)) == sorted(TABLE)


@pytest.mark.parametrize("route", TABLE)
def test_everybody_gets_what_the_table_says(
    served: Served, route: str, request: pytest.FixtureRequest
) -> None:
    method, template = route.split()
    path = template.replace("{path:path}", "nothing")
    if "{job}" in path:
        fresh: Callable[[], str] = served.job
        job = fresh() if method == "DELETE" else request.getfixturevalue("job")
        path = path.replace("{job}", job)
    path = re.sub(r"{\w+}", "nothing", path)
    path = f"{path}/" if template in ("/admin", "/static-offline-docs") else path
    answers = {}
    for who in sorted(ASKING, key=lambda who: who == "key"):  # the owner last: it may be gone then
        with served.asking(who) as client:
            body = {"json": {"name": 5}} if method == "POST" else {}
            answers[who] = client.request(method, path, **body).status_code
    assert tuple(answers[who] for who in ASKING) == TABLE[route]


def test_a_jobs_token_opens_its_job_where_keys_are_wanted_too(served: Served) -> None:
    with served.asking("guest") as client:
        job = submitted(client)
        path = f"/v1/fusion/jobs/{job['id']}"
        shown = {"authorization": f"Bearer {job['token']}"}
        assert client.get(path, headers=shown).json()["id"] == job["id"]
        assert client.get(path).status_code == 404
        assert client.delete(path, headers=shown).status_code in (200, 204)


def test_a_key_of_the_same_tenant_is_not_the_jobs_owner(served: Served, job: str) -> None:
    with served.asking("colleague") as client:
        assert client.get(f"/v1/fusion/jobs/{job}").status_code == 404
        assert client.get("/v1/fusion/jobs").json() == {"jobs": []}
    with served.asking("key") as client:
        assert job in {each["id"] for each in client.get("/v1/fusion/jobs").json()["jobs"]}


def test_no_path_does_more_by_another_method(served: Served) -> None:
    for path in [route.path for route in served.app.routes if is_refusal(route)]:
        for who in ASKING:
            with served.asking(who) as client:
                answer = client.patch(path.replace("{path:path}", "nothing"))
            assert answer.status_code in (401, 403, 404, 405), (path, who)
