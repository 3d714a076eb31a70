"""The API's own description: everything it refers to is in it, and errors are described as ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import build_service
from backends.families import FAMILIES
from backends.routes.described import tell_only_our_errors
from backends.settings import Settings
from tests import running


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def document(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    settings = Settings(state_dir=tmp_path_factory.mktemp("state"))
    document: dict[str, Any] = build_service(settings, request.param)[0].openapi()
    return document


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_error_that_is_described_has_our_body(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status.startswith(("4", "5")) and path != "/readyz":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (path, status)


def test_an_error_that_our_routes_never_give_is_not_described() -> None:
    app = FastAPI()
    app.add_api_route("/jobs/{job}", lambda job: {"id": job})
    assert "422" in app.openapi()["paths"]["/jobs/{job}"]["get"]["responses"]  # FastAPI's own
    tell_only_our_errors(app)
    assert set(app.openapi()["paths"]["/jobs/{job}"]["get"]["responses"]) == {"200"}


def test_a_form_of_a_lookup_with_too_many_fields_is_refused_with_a_sentence(
    tmp_path: Path,
) -> None:
    settings = Settings(state_dir=tmp_path)
    with running.in_thread(build_service(settings, "translate")[0]) as url:
        answer = httpx.request("GET", f"{url}/languages", content=b"&a=1" * 3000)
    assert answer.status_code == 400
    assert "cannot be read" in answer.json()["error"]
