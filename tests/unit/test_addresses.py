"""Addresses and keys of other servers: what may be set, and what would be shown or break later."""

import pytest
from pydantic import SecretStr, ValidationError

from backends.settings import Internal, Models, Remote, Rerank, Translate, read_settings


@pytest.mark.parametrize(
    "address",
    ["gpu:8000", "ftp://gpu", "http://", "http://gpu:0", "http://gpu:99999", "http://[::1",
     "http://gpu/?a=b", "http://gpu/#a", "http://g pu", "http://name:secret@gpu"],
)  # fmt: skip
def test_half_an_address_and_one_with_a_password_is_refused(address: str) -> None:
    for group, field in ((Rerank, "upstream"), (Translate, "upstream"), (Remote, "rerank")):
        with pytest.raises(ValidationError):
            group(**{field: (address,) if group is Remote else address})


def test_an_address_is_kept_without_what_surrounds_it() -> None:
    assert Rerank(upstream=" http://gpu:8000/ ").upstream == "http://gpu:8000"
    assert Translate(upstream="https://gpu/openai/v1").upstream == "https://gpu/openai/v1"
    assert Rerank(upstream=" ").upstream == ""


@pytest.mark.parametrize("key", ["two words", "line\nend", "nul\0", "k\u00e9y", "k\u2026"])
def test_a_key_that_no_header_can_carry_is_refused_at_the_start_and_not_shown(key: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        read_settings({}, rerank={"upstream_key": key})
    assert str(refusal.value) == (
        "QUARTET_RERANK__UPSTREAM_KEY: Value error, "
        "a key is one word of ASCII letters, digits and signs."
    )


def test_a_key_out_of_a_file_loses_its_line_end() -> None:
    key = SecretStr("hush\n")
    assert Rerank(upstream_key=key).upstream_key.get_secret_value() == "hush"
    assert Translate(upstream_key=key).upstream_key.get_secret_value() == "hush"
    assert Models(token=key).token.get_secret_value() == "hush"
    assert Internal(token=key).token.get_secret_value() == "hush"
