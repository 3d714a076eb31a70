"""`/v1/admin` over real HTTP: what it answers, what it refuses, and what nobody can do by it."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.families import FAMILIES
from backends.identity import COOKIE
from backends.ops.audit import verify
from backends.settings import Models
from tests.stubs import Recorder, family, model
from tests.ui.site import Site, site

PASSWORD = "correct horse battery"


class Broken:
    def __call__(self, settings: Any) -> Recorder:
        raise RuntimeError("no memory")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    rerank = family(
        model(lambda settings: Recorder("small"), "small"),
        model(lambda settings: Recorder("words"), "words"),
        model(Broken(), "broken"),
        name="rerank",
    )
    with site(tmp_path_factory.mktemp("state"), {"rerank": rerank}) as made:
        for name, roles in (("ada", ["operator", "swapper"]), ("olga", ["operator"])):
            made.portal.identity.accounts.add(name, PASSWORD, roles)
        yield made


def signed_in(served: Site, name: str) -> httpx.Client:
    form = {"name": name, "password": PASSWORD}
    answer = httpx.post(f"{served.url}/admin/sign-in", data=form, timeout=60)
    cookies = {COOKIE: answer.cookies[COOKIE]}
    return httpx.Client(base_url=f"{served.url}/v1/admin/", cookies=cookies, timeout=60)


def by_key(served: Site, *scopes: str) -> httpx.Client:
    _, secret = served.portal.identity.keys.make("robot", "default", scopes)
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=f"{served.url}/v1/admin/", headers=headers, timeout=60)


def now(client: httpx.Client) -> dict[str, Any]:
    (service,) = client.get("services").json()["services"]
    return dict(service)


def test_a_swap_is_planned_done_and_undone_against_the_revision_that_was_seen(
    served: Site,
) -> None:
    with by_key(served, "admin:swapper") as robot:
        seen = robot.post("services/rerank/plan", json={"model": "words"}).json()["seen"]
        asked = {"model": "words", "seen": seen, "reason": "by a program"}
        receipt = robot.post("services/rerank/swap", json=asked).json()
        assert (receipt["model"], receipt["revision"]) == ("words", seen + 1)
        assert (now(robot)["model"], now(robot)["previous"]) == ("words", "small")
        late = robot.post("services/rerank/swap", json={**asked, "model": "small"})
        assert (late.status_code, late.json()["error_type"]) == (409, "Conflict")
        assert f"now words, revision {seen + 1}" in late.json()["error"]
        assert robot.post("services/rerank/undo", json={"seen": seen}).status_code == 409
        back = robot.post("services/rerank/undo", json={"seen": seen + 1}).json()
        assert (back["model"], now(robot)["model"]) == ("small", "small")
    lines = served.portal.audit.lines(4)
    assert {line.user.partition(" ")[0] for line in lines} == {"key"}
    assert {line.reason for line in lines} == {"by a program", f"Undo of revision {seen + 1}"}


def test_a_plan_tells_of_files_that_one_must_supply_and_the_models_their_notice(
    tmp_path: Path,
) -> None:
    models, families = Models(folder=tmp_path / "models"), {"fusion": FAMILIES["fusion"]}
    with (
        site(tmp_path / "state", families, models=models) as own,
        by_key(own, "admin:swapper") as robot,
    ):
        plan = robot.post("services/fusion/plan", json={"model": "inswapper"}).json()
        assert plan["terms"]
        assert "It cannot be loaded yet: put det_10g.onnx" in plan["consequences"][-1]
        rows = {row["name"]: row for row in robot.get("models").json()["models"]["fusion"]}
        assert "InsightFace's, for non-commercial research only" in rows["inswapper"]["notice"]


def test_a_swap_without_a_reason_or_to_nothing_changes_nothing(served: Site) -> None:
    with by_key(served, "admin:swapper") as robot:
        seen = now(robot)["revision"]
        for body, told in (
            ({"model": "words", "seen": seen, "reason": " "}, "reason"),
            ({"model": "words", "seen": seen}, "reason is missing"),
            ({"model": "nothing", "seen": seen, "reason": "x"}, "no model called nothing"),
            ({"model": "words", "seen": "0", "reason": "x"}, "seen must be a whole number"),
        ):
            answer = robot.post("services/rerank/swap", json=body)
            assert answer.status_code == 422
            assert told in answer.json()["error"]
        assert now(robot)["revision"] == seen


def test_a_model_that_does_not_load_is_undone_and_the_receipt_says_why(served: Site) -> None:
    with by_key(served, "admin:swapper") as robot:
        asked = {"model": "broken", "seen": now(robot)["revision"], "reason": "try it"}
        receipt = robot.post("services/rerank/swap", json=asked).json()
        assert "no memory" in receipt["undone"]
        assert receipt["model"] == now(robot)["model"] == "small"


def test_the_audit_is_read_in_pages_and_its_file_can_be_verified_elsewhere(
    served: Site, tmp_path: Path
) -> None:
    with by_key(served, "admin:operator") as robot:
        for number in range(3):
            robot.post("keys", json={"name": f"key {number}", "scopes": ["admin:viewer"]})
        seqs, address = [], "audit?limit=4"
        while address:
            page = robot.get(address).json()
            seqs += [line["seq"] for line in page["lines"]]
            address = page["next"] and f"audit?limit=4&before={page['next']}"
        chain = robot.get("audit/verify").json()
        assert seqs == list(range(chain["lines"], 0, -1))
        assert chain["intact"]
        answer = robot.get("audit.jsonl")
    assert "attachment" in answer.headers["content-disposition"]
    rows = answer.content.splitlines()
    assert json.loads(rows[1])["previous"] == hashlib.sha256(rows[0]).hexdigest()
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(answer.content)
    assert verify(copy).is_intact
    assert verify(copy).lines == chain["lines"]


@pytest.mark.parametrize(
    "address", ["audit?limit=0", "audit?limit=1001", "audit?before=x", "figures/rps?minutes=61"]
)
def test_a_number_that_makes_no_sense_is_named(served: Site, address: str) -> None:
    with by_key(served, "admin:viewer") as robot:
        answer = robot.get(address)
    assert answer.status_code == 422
    assert "must be a whole number from 1 to" in answer.json()["error"]


def test_figures_are_there_once_there_were_requests(served: Site) -> None:
    instruments = served.portal.instruments
    served.portal.metrics.sample()  # type: ignore[attr-defined]
    for _ in range(20):
        instruments.requests.labels("rerank", "ok").inc()
        instruments.request_seconds.labels("rerank").observe(0.05)
    served.portal.metrics.sample()  # type: ignore[attr-defined]
    with by_key(served, "admin:viewer") as robot:
        (curve,) = robot.get("figures/p95?minutes=5").json()["series"]
        assert 0 < curve["points"][-1][1] <= 0.05
        assert robot.get("figures/nothing").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://other.localhost"},
    ],
)
def test_another_site_changes_nothing_in_the_name_of_who_signed_in(
    served: Site, headers: dict[str, str]
) -> None:
    account = {"name": "eve", "password": PASSWORD, "roles": ["operator"]}
    with signed_in(served, "ada") as ada:
        for answer in (
            ada.post("accounts", json=account, headers=headers),
            ada.delete("accounts/olga", headers=headers),
            ada.post("services/rerank/undo", json={"seen": 0}, headers=headers),
            ada.post("keys", json={"name": "x", "scopes": ["rerank"]}, headers=headers),
        ):
            assert answer.status_code == 403
            assert "another site" in answer.json()["error"]
        assert [a["name"] for a in ada.get("accounts").json()["accounts"]] == ["ada", "olga"]


def test_who_signed_in_changes_things_from_the_portal_s_own_page(served: Site) -> None:
    host = served.url.removeprefix("http://")
    account = {"name": "bob", "password": PASSWORD, "roles": ["viewer"]}
    with signed_in(served, "ada") as ada:
        own = {"sec-fetch-site": "same-origin", "origin": f"http://{host}"}
        assert ada.post("accounts", json=account, headers=own).status_code == 201
        with signed_in(served, "bob") as bob:
            assert bob.get("services").status_code == 200
            assert ada.delete("accounts/bob", headers={"origin": own["origin"]}).status_code == 204
            assert bob.get("services").status_code == 401


def test_an_operator_cannot_climb_by_an_account_or_a_key(served: Site) -> None:
    with signed_in(served, "olga") as olga, by_key(served, "admin:operator") as robot:
        for client in (olga, robot):
            account = {"name": "eve", "password": PASSWORD, "roles": ["swapper"]}
            key = {"name": "eve", "scopes": ["admin:swapper"]}
            for answer in (
                client.post("accounts", json=account),
                client.post("keys", json=key),
                client.delete("accounts/ada"),
            ):
                assert answer.status_code == 403
                assert "You lack the role swapper" in answer.json()["error"]
        family = robot.post("keys", json={"name": "eve", "scopes": ["rerank"]})
        assert "Your key lacks the scope rerank" in family.json()["error"]
        assert olga.post("keys", json={"name": "fine", "scopes": ["rerank"]}).status_code == 201
        assert olga.delete("accounts/olga").status_code == 409


def test_a_secret_and_a_password_stand_in_no_list_and_in_no_audit(served: Site) -> None:
    with by_key(served, "admin:operator", "rerank") as robot:
        asked = {"name": "shown once", "tenant": "shop", "scopes": ["rerank"], "per_minute": 5}
        made = robot.post("keys", json=asked).json()
        assert made["secret"].startswith(f"qk_{made['id']}")
        everything = robot.get("keys").text + robot.get("audit.jsonl").text
        everything += robot.get("accounts").text
    for hidden in (made["secret"][11:], PASSWORD, "hash", "argon2"):
        assert hidden not in everything


def test_two_swaps_at_once_are_one_swap_and_one_conflict(served: Site) -> None:
    answers: list[int] = []
    with by_key(served, "admin:swapper") as robot:
        asked = {"model": "words", "seen": now(robot)["revision"], "reason": "both"}

        def swap() -> None:
            answers.append(robot.post("services/rerank/swap", json=asked).status_code)

        both = [threading.Thread(target=swap) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
    assert sorted(answers) in ([200, 409], [200, 422])  # or it is told that it already runs


def test_every_route_is_described(served: Site) -> None:
    paths = httpx.get(f"{served.url}/openapi.json", timeout=60).json()["paths"]
    admin = {p: routes for p, routes in paths.items() if p.startswith("/v1/admin/")}
    assert len(admin) == 14  # without fusion there are no jobs
    for path, routes in admin.items():
        for method, said in routes.items():
            assert said["summary"], path
            assert len(said["description"]) > 10, path
            assert {"401", "403"} <= set(said["responses"]), path
            good = said["responses"][min(said["responses"])]
            if path.endswith("jsonl") or (method == "delete" and "accounts" in path):
                continue
            assert "$ref" in str(good["content"]["application/json"]["schema"]), path
