"""Whose a job is: signed cookies, tokens of which only a hash is kept."""

import stat
from pathlib import Path

import pytest

from backends.errors import QuartetError
from backends.identity import ANONYMOUS, Principal
from backends.jobs.owners import (
    TOKEN_PREFIX,
    Visitors,
    bearer,
    is_owner,
    needs_token,
    new_token,
    token_hash,
)


def test_a_visitors_cookie_is_known_again_after_a_restart(tmp_path: Path) -> None:
    visitor, cookie = Visitors(tmp_path).welcome()
    assert Visitors(tmp_path).read(cookie) == visitor
    assert visitor.tenant == "anonymous"
    assert not visitor.roles


def test_every_visitor_is_another(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    assert visitors.welcome()[0] != visitors.welcome()[0]


@pytest.mark.parametrize("spoil", [
    lambda cookie: "",
    lambda cookie: None,
    lambda cookie: cookie[:-1],
    lambda cookie: "x" + cookie,
    lambda cookie: cookie.split(".")[0],
    lambda cookie: cookie.split(".")[0] + ".",
    lambda cookie: cookie + ".é",
])  # fmt: skip
def test_a_cookie_that_we_did_not_sign_is_nobodys(tmp_path: Path, spoil) -> None:  # noqa: ANN001
    visitors = Visitors(tmp_path)
    _, cookie = visitors.welcome()
    assert visitors.read(spoil(cookie)) is None


def test_a_cookie_of_another_installation_is_nobodys(tmp_path: Path) -> None:
    _, cookie = Visitors(tmp_path / "one").welcome()
    assert Visitors(tmp_path / "other").read(cookie) is None


def test_the_signing_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    Visitors(tmp_path)
    key = tmp_path / "visitors.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    Visitors(tmp_path)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["visitors.key"]


def test_a_damaged_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "visitors.key").write_bytes(b"short")
    with pytest.raises(QuartetError, match="is damaged; delete it"):
        Visitors(tmp_path)


def test_a_token_is_long_random_and_recognisable() -> None:
    first, second = new_token(), new_token()
    assert first != second
    assert first.startswith(TOKEN_PREFIX)
    assert len(first) > 40


def test_only_the_token_opens_a_job_that_has_one() -> None:
    token = new_token()
    hashed = token_hash(token)
    assert token not in hashed
    assert is_owner(bearer(token), "anonymous", "anonymous", hashed)
    assert not is_owner(bearer(new_token()), "anonymous", "anonymous", hashed)
    assert not is_owner(bearer(""), "anonymous", "anonymous", hashed)
    assert not is_owner(bearer(hashed), "anonymous", "anonymous", hashed)
    assert not is_owner(ANONYMOUS, "anonymous", "anonymous", hashed)


def test_a_name_opens_a_job_only_within_its_tenant() -> None:
    anna = Principal("anna", tenant="one", method="account")
    assert is_owner(anna, "one", "anna", "")
    assert not is_owner(Principal("anna", tenant="two", method="account"), "one", "anna", "")
    assert not is_owner(Principal("bert", tenant="one", method="account"), "one", "anna", "")


def test_a_token_that_looks_like_a_name_opens_nothing() -> None:
    assert not is_owner(bearer("visitor x"), "anonymous", "visitor x", "")


def test_an_address_is_no_proof_and_gets_a_token() -> None:
    assert needs_token(ANONYMOUS)
    assert needs_token(Principal("address 192.0.2.1", tenant="anonymous", method="address"))
    assert not needs_token(Principal("anna", method="account"))
    assert not needs_token(Principal("visitor x", tenant="anonymous", method="cookie"))
