"""Who may ask, and how often: keys, scopes, limits, and days that outlive a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import Denied, Overloaded, RateLimited, SignInNeeded, Unavailable
from backends.identity import ANONYMOUS, Access, Caller, Keys, Principal, rates, refusal
from backends.identity.rates import Rates, Room
from backends.settings import Access as Group

HERE, THERE = "192.0.2.1", "192.0.2.2"
ADA = Principal("ada", method="account")


class Door:
    """An access whose clock and sleep are ours."""

    def __init__(self, folder: Path, **group: Any) -> None:
        self.now = 1_000_000.0
        self.slept: list[float] = []
        self.keys = Keys(folder / "keys.json", clock=lambda: self.now)
        self.access = Access(
            Group(**group), self.keys, folder, clock=lambda: self.now, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def with_key(self, secret: str, address: str = HERE) -> Caller:
        return await self.access.caller(ANONYMOUS, address, secret)

    def allowed(self, caller: Caller, family: str = "rerank") -> int:
        """How many requests are served in a row, up to 50."""
        for number in range(50):
            try:
                self.access.enter(caller, family)
            except RateLimited:
                return number
        return 50


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    yield from opened(tmp_path)


def opened(folder: Path, **group: Any) -> Iterator[Door]:
    made = Door(folder, **group)
    yield made
    made.access.close()


async def test_while_no_key_exists_any_key_is_nobodys(door: Door) -> None:
    for principal in (ANONYMOUS, ADA):
        caller = await door.access.caller(principal, HERE, "anything")
        assert (caller.principal, caller.key) == (principal, None)


async def test_from_the_first_key_on_an_unknown_one_is_refused(door: Door) -> None:
    key, secret = door.keys.make("search", "shop", ["rerank"])
    assert (await door.with_key(secret)).principal == key.principal()
    for wrong in ("anything", secret[:-1], f"qk_{key.id}"):
        with pytest.raises(SignInNeeded, match="is not known here, has expired or was revoked"):
            await door.with_key(wrong)
    assert (await door.with_key("")).principal == ANONYMOUS


async def test_a_key_that_has_ended_is_refused_in_the_words_of_an_unknown_one(door: Door) -> None:
    _, expiring = door.keys.make("search", "shop", ["rerank"], expires_days=1)
    key, revoked = door.keys.make("search", "shop", ["rerank"])
    door.keys.revoke(key.id)
    door.now += 86_400
    told = set()
    for number, secret in enumerate((expiring, revoked, "qk_unknown")):
        with pytest.raises(SignInNeeded) as refused:
            await door.with_key(secret, f"192.0.2.{number}")
        told.add((refused.value.text, refused.value.zh))
    assert len(told) == 1


async def test_revoking_the_last_key_lets_nobody_in_again(door: Door) -> None:
    key, secret = door.keys.make("search", "shop", ["rerank"])
    door.keys.revoke(key.id)
    with pytest.raises(SignInNeeded):
        await door.with_key(secret)


async def test_a_key_goes_before_a_sign_in(door: Door) -> None:
    key, secret = door.keys.make("search", "shop", ["rerank"])
    caller = await door.access.caller(ADA, HERE, secret)
    assert caller.principal.subject == f"key {key.id}"


async def test_wrong_keys_are_slowed_by_address_and_a_right_one_never_waits(door: Door) -> None:
    _, secret = door.keys.make("search", "shop", ["rerank"])
    for _ in range(10):
        with pytest.raises(SignInNeeded):
            await door.with_key("wrong")
    assert door.slept == sorted(door.slept)
    assert door.slept[-1] > door.slept[0]
    with pytest.raises(Overloaded, match="Too many wrong tries") as refused:
        await door.with_key("wrong")
    assert refused.value.retry_after
    waits = len(door.slept)
    assert (await door.with_key(secret)).key  # from the very address
    with pytest.raises(SignInNeeded):
        await door.with_key("wrong", THERE)
    assert len(door.slept) == waits


async def test_a_key_opens_the_families_of_its_scopes_alone(door: Door) -> None:
    _, secret = door.keys.make("search", "shop", ["rerank", "admin:viewer"])
    caller = await door.with_key(secret)
    door.access.enter(caller, "rerank")
    with pytest.raises(Denied, match="lacks the scope translate"):
        door.access.enter(caller, "translate")


def test_whoever_signed_in_or_asks_namelessly_may_use_every_family(door: Door) -> None:
    for principal in (ADA, ANONYMOUS):
        assert door.access.enter(Caller(principal, HERE), "translate") is None


def test_without_anonymous_use_a_name_is_needed(tmp_path: Path) -> None:
    for door in opened(tmp_path, anonymous=False):
        with pytest.raises(SignInNeeded, match="Send an API key") as refused:
            door.access.enter(Caller(ANONYMOUS, HERE), "rerank")
        assert refused.value.zh
        door.access.enter(Caller(ADA, HERE), "rerank")


def test_no_limit_is_set_until_it_is_set(door: Door, tmp_path: Path) -> None:
    assert door.allowed(Caller(ANONYMOUS, HERE)) == 50
    assert not (tmp_path / "quotas.sqlite3").exists()


def test_an_address_has_its_own_minute_and_an_ipv6_network_is_one_address(tmp_path: Path) -> None:
    for door in opened(tmp_path, anonymous_per_minute=3):
        assert door.allowed(Caller(ANONYMOUS, HERE)) == 3
        assert door.allowed(Caller(ANONYMOUS, THERE)) == 3
        assert door.allowed(Caller(ANONYMOUS, "2001:db8::1")) == 3
        assert door.allowed(Caller(ANONYMOUS, "2001:db8::2:1")) == 0
        assert door.allowed(Caller(ANONYMOUS, "2001:db8:0:1::1")) == 3
        assert door.allowed(Caller(ADA, HERE)) == 50


def test_a_minute_moves(tmp_path: Path) -> None:
    for door in opened(tmp_path, anonymous_per_minute=2):
        caller = Caller(ANONYMOUS, HERE)
        assert door.access.enter(caller, "rerank") == Room("minute", 2, 1, 60.0)
        door.now += 40
        assert door.access.enter(caller, "rerank") == Room("minute", 2, 0, 20.0)
        door.now += 19
        with pytest.raises(RateLimited, match="Try again in 1 second") as refused:
            door.access.enter(caller, "rerank")
        assert refused.value.retry_after == 1.0
        door.now += refused.value.retry_after
        assert door.allowed(caller) == 1
        door.now += 60
        assert door.allowed(caller) == 2


async def test_a_key_has_its_own_limits_or_those_of_the_setting(tmp_path: Path) -> None:
    for door in opened(tmp_path, key_per_minute=5, key_per_day=7, anonymous_per_minute=1):
        _, plain = door.keys.make("a", "shop", ["rerank"])
        _, own = door.keys.make("b", "shop", ["rerank"], per_minute=2, per_day=3)
        for secret, allowed in ((plain, [5, 2, 0]), (own, [2, 1, 0])):
            caller = await door.with_key(secret)
            for number in allowed:
                assert door.allowed(caller) == number
                door.now += 60


async def test_a_request_that_the_minute_refuses_does_not_use_up_the_day(tmp_path: Path) -> None:
    for door in opened(tmp_path, key_per_minute=1, key_per_day=3):
        caller = await door.with_key(door.keys.make("a", "shop", ["rerank"])[1])
        for _ in range(3):
            assert door.allowed(caller) == 1
            door.now += 60
        with pytest.raises(RateLimited, match=r"3 times a day\. Try again in 24 hours"):
            door.access.enter(caller, "rerank")


async def test_a_restart_does_not_begin_another_day(tmp_path: Path) -> None:
    for door in opened(tmp_path, key_per_day=4):
        _, secret = door.keys.make("a", "shop", ["rerank"])
        caller = await door.with_key(secret)
        room = [door.access.enter(caller, "rerank") for _ in range(3)][-1]
        assert room == Room("day", 4, 1, 86_400.0)
    assert (tmp_path / "quotas.sqlite3").stat().st_mode & 0o777 == 0o600
    for door in opened(tmp_path, key_per_day=4):
        door.now += 3600
        assert door.allowed(caller) == 1
        door.now += 82_799
        assert door.allowed(caller) == 0
        door.now += 1
        assert door.allowed(caller) == 4


async def test_counts_of_days_that_are_over_are_thrown_away(tmp_path: Path) -> None:
    for door in opened(tmp_path, key_per_day=4):
        for name in "abc":
            door.access.enter(
                await door.with_key(door.keys.make(name, "s", ["rerank"])[1]), "rerank"
            )
            door.now += 86_400
        file = door.access._rates._counts._opened()
        assert file.execute("SELECT count(*) FROM days").fetchone() == (1,)


def test_a_file_of_days_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "quotas.sqlite3").write_text("this is no database, and long enough to be seen so")
    broken = Rates(tmp_path / "quotas.sqlite3", lambda: 0.0)
    with pytest.raises(Unavailable, match=r"cannot be counted: the file quotas\.sqlite3"):
        broken.take("key x", 0, 5)
    broken.close()


def test_the_memory_for_minutes_is_bounded_and_forgets_the_quietest(tmp_path: Path) -> None:
    busy = Caller(ANONYMOUS, HERE)
    for door in opened(tmp_path, anonymous_per_minute=2):
        door.access.enter(busy, "rerank")
        for number in range(rates._WINDOWS + 10):
            if number == 100:
                door.access.enter(busy, "rerank")
            door.access.enter(Caller(ANONYMOUS, f"host {number}"), "rerank")
        assert len(door.access._rates._counts._windows) == rates._WINDOWS
        assert door.allowed(busy) == 0
        assert door.allowed(Caller(ANONYMOUS, "host 1")) == 2  # forgotten: it counts as new


@given(
    limit=st.integers(1, 5),
    pauses=st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=40),
)
def test_no_minute_ever_holds_more_than_its_limit(limit: int, pauses: list[float]) -> None:
    now = [0.0]
    minutes = Rates(Path("never"), lambda: now[0])
    served: list[float] = []
    for pause in pauses:
        now[0] += pause
        room = minutes.take("somebody", limit, 0)
        assert room is not None
        assert room.remaining >= 0
        recent = [second for second in served if second > now[0] - 60]
        assert room.is_refused == (len(recent) == limit)
        if not room.is_refused:
            served.append(now[0])
            assert room.remaining == limit - len(recent) - 1


@pytest.mark.parametrize(("seconds", "words"), [
    (0.0, "in 1 second."),
    (1.0, "in 1 second."),
    (1.01, "in 2 seconds."),
    (120.0, "in 120 seconds."),
    (120.5, "in 3 minutes."),
    (7200.0, "in 120 minutes."),
    (7201.0, "in 3 hours."),
])  # fmt: skip
def test_a_refusal_says_which_limit_and_when_to_try_again(seconds: float, words: str) -> None:
    told = refusal(Caller(ANONYMOUS, HERE), Room("minute", 1, 0, seconds, True))
    assert "an address may ask once a minute." in told.text
    assert told.text.endswith(words)
    assert "每个地址每分钟最多请求 1 次" in told.zh


def test_a_refused_key_is_not_told_to_get_a_key(door: Door) -> None:
    key, _ = door.keys.make("search", "shop", ["rerank"])
    told = refusal(Caller(key.principal(), HERE, key), Room("day", 2, 0, 9.0, True))
    assert told.text == "This API key may ask 2 times a day. Try again in 9 seconds."
    assert told.zh == "此 API 密钥每天最多请求 2 次，请在 9 秒后重试。"
