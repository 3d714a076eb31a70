"""The store of API keys: made once, shown once, kept as a hash, ended at once."""

import logging
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BadInput, NotFound, QuartetError
from backends.families import FAMILIES
from backends.identity import SCOPES, Identity, Keys, Role
from backends.settings import Identity as Group

DAY = 86_400.0


class Shelf:
    """A store whose clock is ours."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000.0
        self.path = folder / "keys.json"
        self.keys = Keys(self.path, clock=lambda: self.now)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_key_is_found_by_its_secret_alone(shelf: Shelf) -> None:
    key, secret = shelf.keys.make("search", "shop", ["rerank"])
    other, _ = shelf.keys.make("search", "shop", ["rerank"])
    assert shelf.keys.find(secret) == key
    assert key.id != other.id
    assert secret.startswith(f"qk_{key.id}")
    for wrong in ("", key.id, f"qk_{key.id}", secret[:-1], secret + "0", secret.upper(), key.hash):
        assert shelf.keys.find(wrong) is None


@given(st.text(st.characters()))
def test_no_text_opens_anything_nor_breaks_the_search(text: str) -> None:
    assert Keys(Path("/nowhere/keys.json")).find(text) is None


def test_a_secret_has_enough_chance_in_it(shelf: Shelf) -> None:
    _, secret = shelf.keys.make("search", "shop", ["rerank"])
    hidden = secret.removeprefix("qk_")[8:]  # without the id, which is public
    assert len(bytes.fromhex(hidden)) * 8 >= 160


def test_only_a_hash_is_kept_and_only_its_owner_may_read_it(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        key, secret = shelf.keys.make("search", "shop", ["rerank"])
        shelf.keys.find(secret)
        shelf.keys.revoke(key.id)
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
    assert stat.S_IMODE(shelf.path.stat().st_mode) == 0o600
    hidden = secret.removeprefix(f"qk_{key.id}")
    assert hidden not in shelf.path.read_text()
    assert key.hash not in repr(key)
    events = [record.getMessage() for record in caplog.records]
    assert events == ["key made", "key revoked"]
    assert hidden not in "".join(str(record.__dict__) for record in caplog.records)


def test_an_expired_key_opens_nothing_and_stays_in_the_list(shelf: Shelf) -> None:
    key, secret = shelf.keys.make("search", "shop", ["rerank"], expires_days=2)
    assert key.expires == shelf.now + 2 * DAY
    shelf.now += 2 * DAY - 1
    assert shelf.keys.find(secret) == key
    assert key.state(shelf.now) == "active"
    shelf.now += 1
    assert shelf.keys.find(secret) is None
    assert shelf.keys.all()[key.id].state(shelf.now) == "expired"


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(shelf: Shelf) -> None:
    key, secret = shelf.keys.make("search", "shop", ["rerank"])
    kept, works = shelf.keys.make("other", "shop", ["rerank"])
    assert shelf.keys.revoke(key.id).state(shelf.now) == "revoked"
    assert shelf.keys.find(secret) is None
    assert shelf.keys.find(works) == kept
    assert set(shelf.keys.all()) == {key.id, kept.id}
    for missing in (key.id, "nothing"):
        with pytest.raises(NotFound, match="no key"):
            shelf.keys.revoke(missing)


def test_what_another_process_does_is_seen_at_the_next_look(shelf: Shelf) -> None:
    beside = Keys(shelf.path)
    assert shelf.keys.all() == {}
    key, secret = beside.make("search", "shop", ["rerank"])
    assert shelf.keys.find(secret) == key
    beside.revoke(key.id)
    assert shelf.keys.find(secret) is None
    shelf.path.unlink()
    assert shelf.keys.all() == {}


def test_writers_at_the_same_time_lose_nothing_of_each_other(shelf: Shelf) -> None:
    def write() -> None:
        mine = Keys(shelf.path)
        for _ in range(5):
            mine.revoke(mine.make("search", "shop", ["rerank"])[0].id)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = shelf.keys.all().values()
    assert len(keys) == 30
    assert all(key.revoked for key in keys)


def test_a_key_speaks_for_its_tenant_its_families_and_its_roles(shelf: Shelf) -> None:
    key, _ = shelf.keys.make("robot", "shop", ["rerank", "admin:operator"])
    who = key.principal()
    assert (who.subject, who.tenant, who.method) == (f"key {key.id}", "shop", "key")
    assert who.roles == {Role.OPERATOR, Role.VIEWER}  # who may change may also look
    assert who.may_use("rerank")
    assert not who.may_use("translate")
    plain = shelf.keys.make("plain", "shop", ["translate"])[0].principal()
    assert not plain.roles


def test_every_family_and_every_role_has_a_scope() -> None:
    assert list(SCOPES) == [*FAMILIES, *(f"admin:{role.value}" for role in Role)]


@pytest.mark.parametrize(("wrong", "field"), [
    ({"name": ""}, "name"),
    ({"name": " x"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "a\x1b[2J"}, "name"),
    ({"name": "x" * 65}, "name"),
    ({"tenant": ""}, "tenant"),
    ({"tenant": "anonymous"}, "tenant"),
    ({"scopes": []}, "scope"),
    ({"scopes": ["rerank", "everything"]}, "scope"),
    ({"expires_days": 0}, "expires_days"),
    ({"expires_days": float("nan")}, "expires_days"),
    ({"per_minute": 0}, "per_minute"),
    ({"per_day": -1}, "per_day"),
])  # fmt: skip
def test_what_makes_no_key_says_which_part_is_wrong(
    shelf: Shelf, wrong: dict[str, Any], field: str
) -> None:
    good: dict[str, Any] = {"name": "search", "tenant": "shop", "scopes": ["rerank"]}
    with pytest.raises(BadInput) as refused:
        shelf.keys.make(**{**good, **wrong})
    assert refused.value.field == field
    assert not shelf.path.exists()


@pytest.mark.parametrize("spoil", [
    lambda text: text[:-2],
    lambda text: "[]",
    lambda text: "null",
    lambda text: text.replace('"rerank"', '"everything"'),
    lambda text: text.replace('"hash"', '"hush"'),
    lambda text: text.replace('"hash": "', '"hash": "x'),
    lambda text: text.replace('"created": 1000000.0', '"created": "soon"'),
])  # fmt: skip
def test_a_damaged_file_is_no_file_without_keys(shelf: Shelf, spoil) -> None:  # noqa: ANN001
    _, secret = shelf.keys.make("search", "shop", ["rerank"])
    spoilt = spoil(shelf.path.read_text())
    assert spoilt != shelf.path.read_text()
    shelf.path.write_text(spoilt)
    for look in (shelf.keys.all, lambda: shelf.keys.find(secret)):
        with pytest.raises(QuartetError, match=r"keys file .* is damaged; restore it"):
            look()
    with pytest.raises(QuartetError, match="damaged"):
        Identity(Group(), shelf.path.parent)
    assert shelf.path.read_text() == spoilt  # it is left as it was


def test_limits_and_times_survive_a_restart(shelf: Shelf) -> None:
    key, secret = shelf.keys.make(
        "search", "shop", ["rerank"], expires_days=1, per_minute=3, per_day=4
    )
    assert Shelf(shelf.path.parent).keys.find(secret) == key
