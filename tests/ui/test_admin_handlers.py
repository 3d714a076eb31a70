"""
Every handler of Admin, asked over HTTP by everybody; a table says who gets in.

The handlers are read from the page's own configuration: a new one that is missing in the table
fails. Twice: as it is served, where the door refuses; and with the door and Gradio's own check
taken away, where only the first line of each handler is left.
"""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from gradio.routes import App
from gradio_client import Client

from app import build_portal
from backends.identity import COOKIE, Role
from backends.portal import Portal
from backends.settings import Settings
from tests.running import in_thread
from ui.admin import page as admin

T = TypeVar("T")

PASSWORD = "correct horse battery"

ASKING = ("guest", "viewer", "operator", "swapper")
YES, NO = True, False

TABLE: dict[str, tuple[bool, ...]] = {
    #                  guest view oper swap
    "refresh":        (NO, YES, YES, YES),
    "opened":         (NO, YES, YES, YES),
    "pace":           (NO, YES, YES, YES),
    "rest":           (NO, YES, YES, YES),
    "other_service":  (NO, YES, YES, YES),
    "other_model":    (NO, YES, YES, YES),
    "review_change":  (NO, NO, NO, YES),
    "cancel":         (NO, NO, NO, YES),
    "swap":           (NO, NO, NO, YES),
    "undo":           (NO, NO, NO, YES),
    "stop":           (NO, NO, NO, YES),
    "ask_job":        (NO, NO, YES, NO),
    "keep_job":       (NO, NO, YES, NO),
    "end_job":        (NO, NO, YES, NO),
    "make_key":       (NO, NO, YES, NO),
    "ask_key":        (NO, NO, YES, NO),
    "keep_key":       (NO, NO, YES, NO),
    "revoke_key":     (NO, NO, YES, NO),
    "add_account":    (NO, NO, YES, NO),
    "ask_account":    (NO, NO, YES, NO),
    "keep_account":   (NO, NO, YES, NO),
    "remove_account": (NO, NO, YES, NO),
}  # fmt: skip
LOOKS = {name for name, gets_in in TABLE.items() if gets_in[1]}


class CheapHasher:
    def hash(self, password: str) -> str:
        return f"hashed {password}"

    def matches(self, stored: str, password: str) -> bool:
        return stored == f"hashed {password}"


@dataclass(frozen=True, slots=True)
class Served:
    """A portal as it is served, and its bare Admin at `bare`, without the door."""

    url: str
    bare: str
    portal: Portal

    def person(self, role: str) -> httpx.Client:
        """Somebody signed in with this role, or a guest, at both addresses."""
        if role == "guest":
            return httpx.Client(timeout=30)
        form = {"name": role, "password": PASSWORD}
        answer = httpx.post(f"{self.url}/admin/sign-in", data=form)
        return httpx.Client(timeout=30, cookies={COOKIE: answer.cookies[COOKIE]})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    async def built() -> tuple[FastAPI, FastAPI, Portal]:
        app, _, portal = build_portal(Settings(state_dir=tmp_path_factory.mktemp("state")))
        bare = FastAPI()
        gr.mount_gradio_app(bare, admin.build(portal), "/bare")
        return app, bare, portal

    app, bare, portal = in_a_loop(built())
    portal.identity.accounts._hasher = CheapHasher()
    for role in Role:
        portal.identity.accounts.add(role, PASSWORD, [role])
    with in_thread(app) as url, in_thread(bare, ready=False) as other:
        yield Served(url, f"{other}/bare", portal)


def in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Outside a loop Gradio makes loops and leaves them; and this thread's may be Playwright's."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, work).result()


def handlers(served: Served) -> list[dict[str, Any]]:
    """Every handler that runs on the server, with inputs that it takes."""
    config = httpx.get(f"{served.bare}/config").json()
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    kinds = {c["id"]: c["type"] for c in config["components"]}
    found = []
    for handler in config["dependencies"]:
        if handler["backend_fn"]:
            data = ["why" if kinds[i] == "textbox" else values[i] for i in handler["inputs"]]
            found.append({**handler, "data": data})
    return found


def asked(client: httpx.Client, base: str, handler: dict[str, Any]) -> dict[str, Any]:
    """What the queue answers to this handler, asked by its number."""
    session = f"s{handler['id']}"
    body = {"data": handler["data"], "fn_index": handler["id"], "session_hash": session}
    joined = client.post(f"{base}/gradio_api/queue/join", json=body)
    if joined.is_error:
        return {"success": False, "output": {"error": joined.text}, "status": joined.status_code}
    with client.stream(
        "GET", f"{base}/gradio_api/queue/data", params={"session_hash": session}
    ) as events:
        for line in events.iter_lines():
            event = json.loads(line[5:]) if line.startswith("data:") else {}
            if event.get("msg") == "process_completed":
                return dict(event)
    raise AssertionError("the queue never answered")


def named(handler: dict[str, Any]) -> str:
    return str(handler["api_name"]).rstrip("0123456789").rstrip("_")


def test_every_handler_stands_in_the_table_and_no_other(served: Served) -> None:
    assert {named(handler) for handler in handlers(served)} == set(TABLE)


def test_a_choice_is_answered_before_the_review_that_followed_it(served: Served) -> None:
    """Or the late answer closes the review again."""
    turns = {"other_service", "other_model", "review_change", "cancel"}
    by_name = {named(handler): handler for handler in handlers(served)}
    order = [by_name[name] for name in sorted(turns)] * 10
    with served.person("swapper") as swapper:
        base = f"{served.bare}/gradio_api/queue"
        events = []
        for handler in order:
            body = {"data": handler["data"], "fn_index": handler["id"], "session_hash": "turns"}
            events.append(swapper.post(f"{base}/join", json=body).json()["event_id"])
        with swapper.stream("GET", f"{base}/data", params={"session_hash": "turns"}) as lines:
            told = [json.loads(line[5:]) for line in lines.iter_lines() if line[:5] == "data:"]
    assert [e["event_id"] for e in told if e["msg"] == "process_completed"] == events


def test_no_handler_has_a_public_name(served: Served) -> None:
    assert {handler["api_visibility"] for handler in handlers(served)} == {"private"}


@pytest.mark.parametrize("who", ASKING)
def test_everybody_gets_in_where_the_table_says_and_nowhere_else(served: Served, who: str) -> None:
    """By the first line of each handler alone, which refuses before anything is looked at."""
    refusals = ("Sign in first. / 请先登录。", "lacks the role")
    with served.person(who) as person:
        for handler in handlers(served):
            answer = asked(person, served.bare, handler)
            assert answer["success"] is TABLE[named(handler)][ASKING.index(who)], handler
            if not answer["success"]:
                assert refusals[who != "guest"] in answer["output"]["error"], handler
    assert served.portal.audit.lines(1) == []  # nothing was asked about, nothing to undo


def test_a_guest_cannot_run_a_handler_by_name_or_by_number(served: Served) -> None:
    with httpx.Client(timeout=30) as guest:
        for handler in handlers(served):
            name, data = handler["api_name"], {"data": handler["data"]}
            for route in ("run", "call", "api"):
                url = f"{served.url}/admin/gradio_api/{route}/{name}"
                assert guest.post(url, json=data).status_code == 401
            answer = asked(guest, f"{served.url}/admin", handler)
            assert answer["status"] == 401, name


def test_a_guest_gets_nothing_from_any_route_below_admin(served: Served) -> None:
    """Gradio's own check leaves some open: cancel, reset, heartbeat, theme, manifest."""
    routes = in_a_loop(gradio_routes(served))
    assert {"/config", "/theme.css", "/gradio_api/queue/join", "/gradio_api/reset"} <= set(routes)
    with httpx.Client(timeout=30) as guest:
        for route in routes:
            path = route.replace("{path:path}", "x").replace("{", "").replace("}", "")
            for method in ("GET", "POST", "DELETE"):
                answer = guest.request(method, f"{served.url}/admin{path}")
                assert answer.status_code in (401, 404), (method, path)  # 404: blocked for all


async def gradio_routes(served: Served) -> list[str]:
    """Every path that Gradio serves a page's program under."""
    app = App.create_app(admin.build(served.portal))
    included = [route for route in app.routes if hasattr(route, "original_router")]
    routers = [app.router, *(route.original_router for route in included)]
    return [path for router in routers for r in router.routes if (path := getattr(r, "path", ""))]


def test_the_programs_client_cannot_open_admin_either(served: Served) -> None:
    with pytest.raises(Exception, match=r"401|Could not"):
        Client(f"{served.url}/admin", verbose=False)


def test_the_public_page_knows_nothing_of_admin(served: Served) -> None:
    config = httpx.get(f"{served.url}/config").json()
    names = {str(handler["api_name"]) for handler in config["dependencies"]}
    assert not {n for n in names if n.startswith(("undo", "review", "opened", "pace"))}
    for word in ("admin.apply", "swap-reason", "swap-undo", "q-history", "keys-make", "jobs-ask"):
        assert word not in json.dumps(config["components"])


def test_a_viewer_sees_admin_and_swaps_nothing_as_it_is_served(served: Served) -> None:
    with served.person("viewer") as viewer:
        assert viewer.get(f"{served.url}/admin/").status_code == 200
        for handler in handlers(served):
            answer = asked(viewer, f"{served.url}/admin", handler)
            assert answer["success"] is (named(handler) in LOOKS), handler["api_name"]
