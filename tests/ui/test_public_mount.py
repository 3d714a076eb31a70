"""The public page as a program meets it: what is open, what is closed, and what is in it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ui.site import Site


@pytest.fixture
def client(portal_site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=portal_site.url, timeout=30) as opened:
        yield opened


def events(client: httpx.Client, output: str) -> list[dict[str, Any]]:
    """The events of the page that answer into the component with this id."""
    config = client.get("/config").json()
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    return [event for event in config["dependencies"] if event["outputs"][:1] == [ids[output]]]


def ask(client: httpx.Client, event: dict[str, Any], data: list[Any]) -> str:
    """Everything the page's queue answers, as text."""
    body = {"data": data, "fn_index": event["id"], "session_hash": "program"}
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.is_error:
        return joined.text
    with client.stream("GET", "/gradio_api/queue/data?session_hash=program") as stream:
        lines = []
        for line in stream.iter_lines():
            lines.append(line)
            if "process_completed" in line or "close_stream" in line:
                break
        return "\n".join(lines)


@pytest.mark.parametrize(
    "path",
    ["/monitoring", "/monitoring/summary", "/gradio_api/mcp/", "/gradio_api/runs", "/api/predict"],
)
def test_what_a_portal_does_not_offer_is_closed(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in (401, 403, 404, 405)


def test_the_page_names_no_endpoint_and_no_other_host(client: httpx.Client) -> None:
    page = client.get("/").text
    assert client.get("/gradio_api/info").json()["named_endpoints"] == {}
    assert re.findall(r'(?:src|href|content)="(https?:)?//[^"]+"', page) == []
    config = client.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []
    assert not config["run_history"]


def test_the_look_stands_before_the_body(client: httpx.Client) -> None:
    page = client.get("/").text
    head, _, _ = page.partition("<body")
    assert head.index("<title>Quartet</title>") < head.index("quartet.theme")
    assert head.index("quartet.theme") < head.index("window.gradio_config")
    assert page.count("quartet.theme") == 2  # read once, written once


@pytest.mark.parametrize("path", ["", "http://127.0.0.1:9/x.txt", "https://example.org/x.txt"])
def test_what_nobody_uploaded_is_neither_read_nor_fetched(
    client: httpx.Client, tmp_path: Path, path: str
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret line")
    given = {"path": path or str(secret), "meta": {"_type": "gradio.FileData"}}
    runs = events(client, "rerank-result")
    notes = [event for event in events(client, "rerank-file-note") if event["inputs"]]
    codes = events(client, "rerank-code")
    assert runs
    assert notes
    assert codes
    for event, data in (
        (runs[0], ["q", None, "a", given, "", 10, 0]),
        (runs[0], ["q", [{"image": given, "caption": None}], "a", None, "", 10, 0]),
        (notes[0], [given, ""]),
        (codes[0], ["q", None, "a", given, "", 10, 0, "http://h/"]),
    ):
        answer = ask(client, event, data)
        assert "secret line" not in answer
        assert "The page sent something that cannot be used" in answer


@pytest.mark.parametrize(
    "data",
    [
        ["q", None, None, None, None, None, None],
        [None] * 7,
        [{"a": 1}, "b", ["c"], "nowhere.txt", 5, -1, 7],
        ["q", None, "a", None, "", 1e300, 0],
        ["q"],
    ],
)
def test_a_senseless_request_is_refused_without_a_trace(
    client: httpx.Client, data: list[Any]
) -> None:
    answer = ask(client, events(client, "rerank-result")[0], data)
    for leak in ("Traceback", "NoneType", "AttributeError", "TypeError", 'File "'):
        assert leak not in answer
    assert json.dumps(answer)


def test_a_good_request_is_answered_to_a_program_too(client: httpx.Client) -> None:
    answer = ask(
        client, events(client, "rerank-result")[0], ["q", None, "a\nb", None, "", 10, 0, None]
    )
    assert "2 of 2 documents" in answer


def test_signing_in_is_not_asked_of_the_public_page(client: httpx.Client) -> None:
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"cookie": "quartet_session=forged"}).status_code == 200
