"""
Every handler of the public page, asked over HTTP by everybody; a table says who is served.

The handlers are read from the page's own configuration: a new one that is missing in the table
fails. With anonymous use switched off, a guest gets nothing from a model and still sees the page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends.identity import COOKIE, Accounts, Role
from tests.running import Process
from tests.ui.test_admin_handlers import asked, named

PHOTOS = Path(__file__).parents[1] / "photos"
PASSWORD = "correct horse battery"

# Whether it asks a model: then a guest is refused where nobody may ask namelessly.
TABLE = {
    "run": True,
    "look": True,
    "refresh": False,
    "dropped": False,
    "code": False,
    "lambda": False,
    "cancel": False,
    "clicked": False,
    "chose": False,
    "swap": False,
    "aim": False,
}
REFUSALS = ("Sign in first", "lacks the role", "serves nobody it does not know")


@dataclass(frozen=True, slots=True)
class Served:
    """`is_open`: whether it serves those whom it does not know."""

    url: str
    is_open: bool

    def person(self, who: str) -> httpx.Client:
        if who == "guest":
            return httpx.Client(timeout=60)
        form = {"name": who, "password": PASSWORD}
        answer = httpx.post(f"{self.url}/admin/sign-in", data=form, timeout=60)
        return httpx.Client(timeout=60, cookies={COOKIE: answer.cookies[COOKIE]})


@pytest.fixture(scope="module", params=[True, False], ids=["open", "closed"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """In a process of its own: an engine of the portal's cannot be loaded twice in one."""
    folder = tmp_path_factory.mktemp("state")
    accounts = Accounts(folder / "accounts.json")
    for role in Role:
        accounts.add(role, PASSWORD, [role])
    env = {"QUARTET_ACCESS__ANONYMOUS": str(request.param)}
    with Process("--port", "0", state_dir=folder, env=env) as quartet:
        yield Served(quartet.ready().address, request.param)


def handlers(url: str) -> list[dict[str, Any]]:
    """Every handler that runs on the server, once a kind, with inputs that make sense."""
    config = httpx.get(f"{url}/config").json()
    parts = {part["id"]: part for part in config["components"]}
    pictures = {"image": uploaded(url, "hopper.jpg"), "gallery": None, "file": None}
    found: dict[Any, dict[str, Any]] = {}
    for handler in config["dependencies"]:
        if handler["backend_fn"]:
            data = [valued(parts[each], pictures) for each in handler["inputs"]]
            kind = (named(handler), tuple(parts[each]["type"] for each in handler["inputs"]))
            found.setdefault(kind, {**handler, "data": data})
    return list(found.values())


def valued(part: dict[str, Any], pictures: dict[str, Any]) -> Any:
    """Consent is given, texts are texts, pictures are there; else what the page begins with."""
    begun = part["props"].get("value")
    if part["type"] in ("textbox", "checkbox"):
        return begun or (part["type"] == "checkbox" or "text")
    return pictures.get(part["type"], begun)


def uploaded(url: str, name: str) -> dict[str, Any]:
    files = {"files": (PHOTOS / name).read_bytes()}
    (path,) = httpx.post(f"{url}/gradio_api/upload", files=files).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_every_handler_stands_in_the_table_and_no_other(served: Served) -> None:
    assert {named(handler) for handler in handlers(served.url)} == set(TABLE)


@pytest.mark.parametrize("who", ["guest", "viewer", "operator", "swapper"])
def test_everybody_is_served_where_the_table_says(served: Served, who: str) -> None:
    with served.person(who) as person:
        for handler in handlers(served.url):
            answer = asked(person, served.url, handler)
            error = str((answer["output"] or {}).get("error") or "")
            refused = any(words in error for words in REFUSALS)
            wanted = who == "guest" and not served.is_open and TABLE[named(handler)]
            assert refused is wanted, (handler["api_name"], error)
