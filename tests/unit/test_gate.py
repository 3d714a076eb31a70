"""Where clients send their keys, and which paths ask for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from backends.jobs.owners import TOKEN_PREFIX
from backends.routes.dialects import DIALECTS, LOOKUPS, READINGS
from backends.routes.gate import JOB_TOKEN, key_of, places

KEY = "qk_" + "a" * 48


@pytest.mark.parametrize(("headers", "found"), [
    ({}, ""),
    ({"authorization": f"Bearer {KEY}"}, KEY),
    ({"authorization": f"bearer   {KEY} "}, KEY),
    ({"authorization": f"DeepL-Auth-Key {KEY}"}, KEY),
    ({"authorization": f"Bearer Bearer {KEY}"}, KEY),
    ({"authorization": KEY}, KEY),
    ({"authorization": "Bearer another-servers"}, "another-servers"),
    ({"authorization": "Bearer"}, ""),
    ({"authorization": "Bearer "}, ""),
    ({"authorization": "Basic dXNlcjpwYXNz"}, ""),
    ({"authorization": "another-servers"}, ""),
    ({"x-api-key": KEY}, KEY),
    ({"x-api-key": f" {KEY}"}, KEY),
    ({"authorization": "Basic dXNlcjpwYXNz", "x-api-key": KEY}, KEY),
    ({"authorization": "Bearer qj_token", "x-api-key": KEY}, KEY),
    ({"authorization": "Bearer qj_token"}, ""),
    ({"x-api-key": "qj_token"}, ""),
    ({"authorization": f"Bearer {KEY}", "x-api-key": "another"}, KEY),
])  # fmt: skip
def test_a_key_is_found_where_clients_send_it(headers: dict[str, str], found: str) -> None:
    assert key_of(Headers(headers)) == found


values = st.text(st.characters(max_codepoint=255), max_size=60) | st.sampled_from(
    ["Bearer qj_x", "bearer bearer qj_x", f"Bearer {KEY}", "DeepL-Auth-Key", "qj_x", KEY]
)


@given(headers=st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key"]), values)))
def test_no_header_breaks_the_search_and_a_jobs_token_is_never_a_key(
    headers: list[tuple[str, str]],
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    found = key_of(Headers(raw=raw))
    assert found == found.strip()
    assert not found.startswith(TOKEN_PREFIX)
    assert not found or any(found in value for _, value in headers)


def test_a_jobs_token_begins_as_the_gate_believes() -> None:
    assert JOB_TOKEN == TOKEN_PREFIX


def test_every_path_of_every_dialect_is_a_place_of_its_family() -> None:
    found = places(DIALECTS)
    for family, dialects in DIALECTS.items():
        for path in [path for dialect in dialects for path in dialect.paths]:
            assert found[path].family == family
    others: list[Any] = [
        each for all_ in (READINGS, LOOKUPS) for row in all_.values() for each in row
    ]
    for each in others:
        assert found[each.path].wording is each.wording
    assert found["/v1/fusion/jobs"].family == found["/v1/fusion/faces"].family == "fusion"
    assert set(places(["rerank"])) < set(found)
    assert "/v1/fusion/jobs" not in places(["rerank"])
