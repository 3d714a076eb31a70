"""Accounts, sign-in, sessions, and the slowing of wrong tries; no seconds pass here."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backends import settings
from backends.errors import BadInput, NotFound, Overloaded, QuartetError, SignInNeeded
from backends.identity import ANONYMOUS, Accounts, Argon2, Identity, Role, sessions, tries

PASSWORD = "correct horse battery"
HERE = "192.0.2.1"


class CheapHasher:
    """Counts its work, and the most of it that ran at once."""

    def __init__(self) -> None:
        self.work = 0
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        self.slow = threading.Event()
        self.slow.set()

    def hash(self, password: str) -> str:
        self._count()
        return f"hashed {password[::-1]}"

    def matches(self, stored: str, password: str) -> bool:
        self._count()
        return stored == f"hashed {password[::-1]}"

    def _count(self) -> None:
        with self._lock:
            self.work += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.slow.wait(5)
        with self._lock:
            self.at_once -= 1


class Desk:
    """An identity whose clock and sleep are ours."""

    def __init__(self, folder: Path, hours: float = 12.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.announced: list[str] = []
        self.hasher = CheapHasher()
        self.identity = Identity(
            settings.Identity(session_hours=hours),
            folder,
            announce=self.announced.append,
            hasher=self.hasher,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def account(self, name: str = "ada", roles: tuple[str, ...] = ("viewer",)) -> None:
        self.identity.accounts.add(name, PASSWORD, roles)

    async def wrong(self, name: str = "ada", address: str = HERE) -> None:
        with pytest.raises(SignInNeeded):
            await self.identity.sign_in(name, "not it", address)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_an_account_signs_in_and_has_its_roles(desk: Desk) -> None:
    desk.account("ada", ("viewer", "swapper"))
    cookie = await desk.identity.sign_in("ada", PASSWORD, HERE)
    who = desk.identity.principal(cookie)
    assert (who.subject, who.method) == ("ada", "account")
    assert who.roles == {Role.VIEWER, Role.SWAPPER}


async def test_without_a_cookie_or_with_a_made_up_one_the_caller_is_anonymous(desk: Desk) -> None:
    assert desk.identity.principal(None) is ANONYMOUS
    assert desk.identity.principal("") is ANONYMOUS
    assert desk.identity.principal("made-up") is ANONYMOUS
    assert not ANONYMOUS.roles


async def test_who_may_change_may_also_look(desk: Desk) -> None:
    assert desk.identity.accounts.add("eve", PASSWORD, ["swapper"]).roles == {
        Role.VIEWER,
        Role.SWAPPER,
    }


async def test_a_wrong_password_and_a_missing_account_get_one_answer_and_one_hash(
    desk: Desk,
) -> None:
    desk.account("ada")
    answers, work = [], []
    for name in ("ada", "nobody"):
        before = desk.hasher.work
        with pytest.raises(SignInNeeded) as error:
            await desk.identity.sign_in(name, "not it", HERE)
        answers.append(error.value.text)
        work.append(desk.hasher.work - before)
    assert answers[0] == answers[1]
    assert work == [1, 1]


async def test_the_hash_is_argon2_and_the_password_is_not_in_the_file(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.json", Argon2())
    accounts.add("ada", PASSWORD, ["viewer"])
    text = (tmp_path / "accounts.json").read_text()
    assert "$argon2id$" in text
    assert PASSWORD not in text
    assert accounts.check("ada", PASSWORD) is not None
    assert accounts.check("ada", PASSWORD + "!") is None


def test_only_its_owner_may_read_the_accounts_file(desk: Desk, tmp_path: Path) -> None:
    desk.account("ada")
    desk.account("bob")
    assert (tmp_path / "accounts.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["accounts.json"]


def test_a_process_without_accounts_never_imports_argon2() -> None:
    code = (
        "import sys, backends.identity as i, backends.settings as s, pathlib, tempfile\n"
        "i.Identity(s.Identity(), pathlib.Path(tempfile.mkdtemp()))\n"
        "assert 'argon2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "password", "roles", "says"),
    [
        ("", PASSWORD, ["viewer"], "1 to 64"),
        ("a b", PASSWORD, ["viewer"], "1 to 64"),
        ("<script>", PASSWORD, ["viewer"], "1 to 64"),
        ("x" * 65, PASSWORD, ["viewer"], "1 to 64"),
        ("eve", "short", ["viewer"], "12 to 1024"),
        ("eve", "x" * 1025, ["viewer"], "12 to 1024"),
        ("eve", PASSWORD, ["admin"], "viewer, operator, swapper"),
        ("eve", PASSWORD, [], "at least one role"),
        ("ada", PASSWORD, ["viewer"], "remove it first"),
    ],
)
def test_a_bad_account_is_refused_with_what_to_change(
    desk: Desk, name: str, password: str, roles: list[str], says: str
) -> None:
    desk.account("ada")
    with pytest.raises(BadInput, match=says):
        desk.identity.accounts.add(name, password, roles)


def test_removing_an_account_that_is_not_there_says_so(desk: Desk) -> None:
    with pytest.raises(NotFound, match="nobody"):
        desk.identity.accounts.remove("nobody")


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"ada": {}}', '{"ada": {"hash": "x", "roles": ["god"]}}', '{"ada": 1}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)  # fmt: skip
def test_a_damaged_accounts_file_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "accounts.json").write_text(text)
    with pytest.raises(QuartetError, match="damaged"):
        Desk(tmp_path)


async def test_an_account_made_by_another_process_is_seen_without_a_restart(
    desk: Desk, tmp_path: Path
) -> None:
    assert desk.identity.token is not None
    Accounts(tmp_path / "accounts.json", CheapHasher()).add("ada", PASSWORD, ["viewer"])
    assert desk.identity.token is None
    assert await desk.identity.sign_in("ada", PASSWORD, HERE)


async def test_a_removed_account_ends_its_sessions_and_no_others(desk: Desk) -> None:
    desk.account("ada")
    desk.account("bob")
    ada = await desk.identity.sign_in("ada", PASSWORD, HERE)
    bob = await desk.identity.sign_in("bob", PASSWORD, HERE)
    desk.identity.accounts.remove("ada")
    assert desk.identity.principal(ada) is ANONYMOUS
    assert desk.identity.principal(bob).subject == "bob"


async def test_a_session_ends_after_its_hours(desk: Desk) -> None:
    desk.account("ada")
    cookie = await desk.identity.sign_in("ada", PASSWORD, HERE)
    desk.now += 12 * 3600 - 1
    assert desk.identity.principal(cookie).subject == "ada"
    desk.now += 1
    assert desk.identity.principal(cookie) is ANONYMOUS


async def test_sign_out_ends_the_session(desk: Desk) -> None:
    desk.account("ada")
    cookie = await desk.identity.sign_in("ada", PASSWORD, HERE)
    desk.identity.sign_out(cookie)
    assert desk.identity.principal(cookie) is ANONYMOUS
    desk.identity.sign_out(cookie)
    desk.identity.sign_out(None)


async def test_the_session_itself_is_not_kept_only_its_hash(desk: Desk) -> None:
    desk.account("ada")
    cookie = await desk.identity.sign_in("ada", PASSWORD, HERE)
    assert cookie not in repr(vars(desk.identity))


async def test_past_the_most_sessions_the_oldest_leaves(desk: Desk) -> None:
    desk.account("ada")
    first = await desk.identity.sign_in("ada", PASSWORD, HERE)
    for _ in range(sessions._SESSIONS):
        last = await desk.identity.sign_in("ada", PASSWORD, HERE)
    assert desk.identity.principal(first) is ANONYMOUS
    assert desk.identity.principal(last).subject == "ada"


async def test_the_token_grants_every_role_once_and_a_fresh_one_is_announced(desk: Desk) -> None:
    token = desk.identity.token
    assert token is not None
    assert desk.announced == []
    cookie = await desk.identity.sign_in_with_token(token, HERE)
    assert desk.identity.principal(cookie).roles == set(Role)
    assert desk.announced == [desk.identity.token]
    assert desk.identity.token != token
    with pytest.raises(SignInNeeded, match="not valid"):
        await desk.identity.sign_in_with_token(token, HERE)


async def test_two_tries_with_one_token_at_once_open_one_session(desk: Desk) -> None:
    token = desk.identity.token
    assert token is not None
    tries = [desk.identity.sign_in_with_token(token, HERE) for _ in range(2)]
    got = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in got) == ["SignInNeeded", "str"]


async def test_an_account_ends_the_token_and_what_the_token_opened(desk: Desk) -> None:
    token = desk.identity.token
    assert token is not None
    cookie = await desk.identity.sign_in_with_token(token, HERE)
    fresh = desk.identity.token
    desk.account("ada")
    assert desk.identity.token is None
    assert desk.identity.principal(cookie) is ANONYMOUS
    with pytest.raises(SignInNeeded):
        await desk.identity.sign_in_with_token(fresh or "", HERE)


@pytest.mark.parametrize("token", ["", "x", "令牌"])
async def test_a_wrong_token_is_refused(desk: Desk, token: str) -> None:
    with pytest.raises(SignInNeeded, match="not valid"):
        await desk.identity.sign_in_with_token(token, HERE)
    assert desk.announced == []


async def test_a_name_while_there_is_no_account_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(SignInNeeded, match="one-time token"):
        await desk.identity.sign_in("ada", PASSWORD, HERE)


async def test_the_first_wrong_try_is_free_and_each_further_one_waits_longer(desk: Desk) -> None:
    desk.account("ada")
    for _ in range(8):
        await desk.wrong()
    assert desk.slept == [0.5, 1, 2, 4, 8, 8, 8]


async def test_after_ten_wrong_tries_the_address_is_refused_unheard(desk: Desk) -> None:
    desk.account("ada")
    for number in range(10):
        await desk.wrong(f"name{number}")
    work = desk.hasher.work
    with pytest.raises(Overloaded) as error:
        await desk.identity.sign_in("ada", PASSWORD, HERE)
    assert error.value.retry_after == 60
    assert desk.hasher.work == work
    assert await desk.identity.sign_in("ada", PASSWORD, "198.51.100.7")


async def test_after_ten_wrong_tries_the_name_is_refused_from_everywhere(desk: Desk) -> None:
    desk.account("ada")
    desk.account("bob")
    for number in range(10):
        await desk.wrong("ada", f"192.0.2.{number + 10}")
    with pytest.raises(Overloaded):
        await desk.identity.sign_in("ada", PASSWORD, "198.51.100.7")
    assert await desk.identity.sign_in("bob", PASSWORD, "198.51.100.7")


async def test_a_refused_try_does_not_prolong_the_refusal(desk: Desk) -> None:
    desk.account("ada")
    for _ in range(10):
        await desk.wrong()
    for _ in range(3):
        desk.now += 15
        with pytest.raises(Overloaded):
            await desk.identity.sign_in("ada", PASSWORD, HERE)
    desk.now += 15
    assert await desk.identity.sign_in("ada", PASSWORD, HERE)


async def test_after_the_refusal_one_try_passes_then_it_is_refused_again(desk: Desk) -> None:
    desk.account("ada")
    for _ in range(10):
        await desk.wrong()
    desk.now += 60
    await desk.wrong()
    with pytest.raises(Overloaded):
        await desk.identity.sign_in("ada", PASSWORD, HERE)


async def test_a_success_resets_the_delays(desk: Desk) -> None:
    desk.account("ada")
    for _ in range(3):
        await desk.wrong()
    await desk.identity.sign_in("ada", PASSWORD, HERE)
    desk.slept.clear()
    await desk.wrong()
    assert desk.slept == []


async def test_wrong_tries_are_forgotten_after_a_quarter_of_an_hour(desk: Desk) -> None:
    desk.account("ada")
    for _ in range(5):
        await desk.wrong()
    desk.now += 15 * 60
    desk.slept.clear()
    await desk.wrong()
    assert desk.slept == []


async def test_a_hundred_tries_at_once_are_counted_before_they_are_heard(desk: Desk) -> None:
    desk.account("ada")
    work = desk.hasher.work
    tries = [desk.identity.sign_in("ada", f"guess {n}", HERE) for n in range(100)]
    got = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in got) == 90
    assert desk.hasher.work - work == 10


async def test_wrong_tokens_are_slowed_for_their_address_and_lock_nobody_else(desk: Desk) -> None:
    for _ in range(10):
        with pytest.raises(SignInNeeded):
            await desk.identity.sign_in_with_token("wrong", HERE)
    with pytest.raises(Overloaded):
        await desk.identity.sign_in_with_token(desk.identity.token or "", HERE)
    assert await desk.identity.sign_in_with_token(desk.identity.token or "", "198.51.100.7")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
async def test_an_ipv6_network_counts_as_one_address(
    desk: Desk, one: str, other: str, together: bool
) -> None:
    desk.account("ada")
    for number in range(3):
        await desk.wrong(f"name{number}", one)
    desk.slept.clear()
    await desk.wrong("other", other)
    assert bool(desk.slept) is together


async def test_the_memory_for_wrong_tries_is_bounded(desk: Desk) -> None:
    desk.account("ada")
    for number in range(tries._KEYS):
        await desk.wrong(f"n{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(desk.identity._tries._tries) == tries._KEYS


async def test_two_hashes_run_at_once_at_most(desk: Desk) -> None:
    desk.account("ada")
    desk.hasher.slow.clear()
    tries = [
        asyncio.create_task(desk.identity.sign_in(f"n{n}", "guess", f"192.0.2.{n}"))
        for n in range(6)
    ]
    while desk.hasher.at_once < 2:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    desk.hasher.slow.set()
    await asyncio.gather(*tries, return_exceptions=True)
    assert desk.hasher.most_at_once == 2


def test_the_accounts_file_holds_names_roles_and_hashes_and_nothing_else(
    desk: Desk, tmp_path: Path
) -> None:
    desk.account("ada", ("operator",))
    rows = json.loads((tmp_path / "accounts.json").read_text())
    assert set(rows) == {"ada"}
    assert set(rows["ada"]) == {"hash", "roles"}
    assert rows["ada"]["roles"] == ["operator", "viewer"]
