"""Accounts and keys given and taken: audited, and nobody hands out more than they hold."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.errors import BadInput, Conflict, Denied, NotFound, Unavailable
from backends.identity import Accounts, Keys, Principal, Role
from backends.ops.audit import Audit
from backends.ops.changes import Change, Changes
from backends.ops.permits import NewKey, Permits

PASSWORD = "correct horse battery"
TOKEN = Principal("operator", roles=frozenset(Role), method="token")
ADA = Principal("ada", roles=frozenset(Role), method="account")
OLGA = Principal("olga", roles=frozenset({Role.VIEWER, Role.OPERATOR}), method="account")
ROBOT = Principal(
    "key 1", roles=frozenset({Role.VIEWER, Role.OPERATOR}), method="key",
    scopes=frozenset({"rerank", "admin:operator"}),
)  # fmt: skip


class SlowHasher:
    """Hashes when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()

    def hash(self, password: str) -> str:
        assert self.let.wait(20)
        return f"hashed {password}"

    def matches(self, stored: str, password: str) -> bool:
        return stored == f"hashed {password}"


class Office:
    def __init__(self, folder: Path) -> None:
        self.hasher = SlowHasher()
        self.accounts = Accounts(folder / "accounts.json", self.hasher)
        self.keys = Keys(folder / "keys.json")
        self.audit = Audit(folder / "audit.jsonl")
        self.changes = Changes(self.audit)
        self.permits = Permits(self.accounts, self.keys, self.changes)

    def written(self) -> list[str]:
        """What the audit says, oldest first: event, object, outcome."""
        lines = reversed(self.audit.lines(99))
        return [" ".join((line.event, line.object, line.outcome)).strip() for line in lines]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    yield office
    office.hasher.let.set()
    await office.changes.close()
    office.audit.close()


async def test_an_account_is_added_with_its_intent_before_and_its_outcome_after(
    office: Office,
) -> None:
    await office.permits.add_account("ada", PASSWORD, ["operator"], TOKEN)
    assert [a.name for a in office.permits.all_accounts()] == ["ada"]
    assert office.accounts.check("ada", PASSWORD)
    assert office.written() == ["intent accounts/ada", "outcome accounts/ada done"]
    intent = office.audit.lines(1)[0]
    assert (intent.user, intent.role) == ("operator", "operator")
    assert (intent.before, intent.after) == ("none", "roles operator, viewer")
    assert PASSWORD not in "".join(office.written())


async def test_the_first_account_must_be_able_to_make_the_next(office: Office) -> None:
    with pytest.raises(BadInput, match="Give the first account the role operator"):
        await office.permits.add_account("ada", PASSWORD, ["viewer", "swapper"], TOKEN)
    assert office.written() == []


@pytest.mark.parametrize("role", ["swapper"])
async def test_nobody_gives_a_role_that_they_lack(office: Office, role: str) -> None:
    office.accounts.add("ada", PASSWORD, ["operator"])
    for who in (OLGA, ROBOT):
        with pytest.raises(Denied, match="You lack the role swapper"):
            await office.permits.add_account("eve", PASSWORD, [role], who)
        with pytest.raises(Denied, match="You lack the role swapper"):
            await office.permits.make_key(NewKey("eve", "default", ("admin:swapper",)), who)
    assert list(office.accounts.all()) == ["ada"]
    assert office.permits.all_keys() == []
    assert office.written() == []


async def test_nobody_takes_a_role_that_they_lack(office: Office) -> None:
    office.accounts.add("ada", PASSWORD, ["operator", "swapper"])
    office.accounts.add("olga", PASSWORD, ["operator"])
    key, secret = office.keys.make("swaps", "default", ["admin:swapper"])
    with pytest.raises(Denied, match="swapper"):
        await office.permits.remove_account("ada", OLGA)
    with pytest.raises(Denied, match="swapper"):
        await office.permits.revoke_key(key.id, OLGA)
    assert "ada" in office.accounts.all()
    assert office.keys.find(secret)


async def test_a_key_gives_no_scope_that_it_lacks(office: Office) -> None:
    with pytest.raises(Denied, match="Your key lacks the scope fusion, translate"):
        await office.permits.make_key(
            NewKey("more", "default", ("rerank", "translate", "fusion")), ROBOT
        )
    key, _ = await office.permits.make_key(NewKey("as much", "default", ("rerank",)), ROBOT)
    assert key.scopes == {"rerank"}


async def test_one_s_own_account_and_the_last_one_stay(office: Office) -> None:
    office.accounts.add("ada", PASSWORD, ["operator", "swapper"])
    with pytest.raises(Conflict, match="the account that you are signed in with"):
        await office.permits.remove_account("ada", ADA)
    with pytest.raises(Conflict, match="the last account"):
        await office.permits.remove_account("ada", TOKEN)
    assert list(office.accounts.all()) == ["ada"]
    assert office.written()[-1].startswith("outcome accounts/ada refused: ada is the last account")


async def test_two_accounts_removed_at_once_leave_one(office: Office) -> None:
    for name in ("ada", "olga"):
        office.accounts.add(name, PASSWORD, ["operator"])
    ended = await asyncio.gather(
        *(office.permits.remove_account(name, TOKEN) for name in ("ada", "olga")),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in ended) == ["Conflict", "NoneType"]
    assert len(office.accounts.all()) == 1


async def test_an_account_that_is_removed_is_gone_and_one_that_is_not_there_is_said(
    office: Office,
) -> None:
    for name in ("ada", "bob"):
        office.accounts.add(name, PASSWORD, ["operator"])
    await office.permits.remove_account("bob", ADA)
    assert list(office.accounts.all()) == ["ada"]
    with pytest.raises(NotFound, match="no account called bob"):
        await office.permits.remove_account("bob", ADA)
    assert office.written() == ["intent accounts/bob", "outcome accounts/bob done"]


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [("a b", PASSWORD, "A name has"), ("ada", "short", "12 to"), ("bob", PASSWORD, "remove it")],
)
async def test_what_must_be_mended_is_said_in_both_languages_before_anything_is_written(
    office: Office, name: str, password: str, said: str
) -> None:
    office.accounts.add("bob", PASSWORD, ["operator"])
    with pytest.raises(BadInput, match=said) as error:
        await office.permits.add_account(name, password, ["viewer"], ADA)
    assert error.value.zh
    assert office.written() == []


async def test_a_key_is_made_and_its_secret_is_nowhere_but_in_the_answer(
    office: Office, tmp_path: Path
) -> None:
    asked = NewKey("search", "shop", ("rerank",), expires_days=2, per_minute=5)
    key, secret = await office.permits.make_key(asked, ADA)
    assert office.keys.find(secret) == key
    assert (key.tenant, key.per_minute) == ("shop", 5)
    for path in tmp_path.iterdir():
        assert secret not in path.read_text()
    assert office.written() == ["intent keys", f"outcome keys done: key {key.id}"]
    await office.permits.revoke_key(key.id, ADA)
    assert office.keys.find(secret) is None
    with pytest.raises(NotFound):
        await office.permits.revoke_key("nothing", ADA)


async def test_a_change_goes_on_when_whoever_asked_leaves(office: Office) -> None:
    office.hasher.let.clear()
    asked = asyncio.create_task(office.permits.add_account("ada", PASSWORD, ["operator"], TOKEN))
    while office.written() != ["intent accounts/ada"]:
        await asyncio.sleep(0.001)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    office.hasher.let.set()
    while len(office.written()) < 2:
        await asyncio.sleep(0.001)
    assert office.written()[1] == "outcome accounts/ada done"
    assert "ada" in office.accounts.all()


async def test_what_the_audit_cannot_take_is_not_begun(office: Office, tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").unlink()
    with pytest.raises(Unavailable, match="cannot be continued"):
        await office.permits.add_account("ada", PASSWORD, ["operator"], TOKEN)
    assert office.accounts.all() == {}


async def test_a_bug_in_a_change_is_told_as_ours_and_still_has_its_outcome(office: Office) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await office.changes.make(Change(ADA, Role.OPERATOR, "thing", "a", "b"), broken)
    assert office.written()[-1].startswith("outcome thing failed: ZeroDivisionError")
