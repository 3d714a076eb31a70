"""What the panes of Admin draw for whom: jobs, keys, accounts. No browser."""

import re
from dataclasses import replace
from html import escape

import pytest

from backends.identity import Account, Key, Principal, Role
from backends.jobs import Job, JobState
from tests.unit.test_admin_screens import HOSTILE, LINE, NOW, view
from ui.admin import accounts, history, jobs, keys
from ui.admin.table import SHOWN, moment, span

VIEWER = Principal("vera", roles=frozenset({Role.VIEWER}), method="account")
OPERATOR = Principal("olga", roles=frozenset({Role.VIEWER, Role.OPERATOR}), method="account")
JOB = Job("j1", "shop", "anna", JobState.RUNNING, NOW - 30, NOW + 60, 0.4, started=NOW - 10)
KEY = Key("0a1b2c3d", "search", "shop", frozenset({"rerank", "admin:viewer"}), "00", NOW - 90_000)
ADA = Account("ada", "hash of ada's", frozenset({Role.VIEWER, Role.OPERATOR}))


def text(html: str) -> str:
    """What an English reader sees."""
    shown = re.sub(r'<span class="l-zh".*?</span>', "", html)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def test_a_job_is_shown_with_its_tenant_progress_age_and_duration() -> None:
    drawn = text(jobs.draw(view(jobs=(JOB,)), OPERATOR))
    for shown in ("j1", "Running", "shop", "40%", "30 s", "10 s", "Cancel", "Delete"):
        assert shown in drawn
    assert "anna" not in drawn


@pytest.mark.parametrize(("state", "can_be_cancelled"), [("waiting", True), ("failed", False)])
def test_only_a_job_that_has_not_ended_can_be_cancelled(state: str, can_be_cancelled: bool) -> None:
    job = replace(
        JOB, state=JobState(state), position=3, ended=NOW, error="No face.", error_zh="无"
    )
    drawn = jobs.draw(view(jobs=(job,)), OPERATOR)
    assert ('data-value="cancel j1"' in drawn) is can_be_cancelled
    assert 'data-value="delete j1"' in drawn
    assert "number 3" in text(drawn)
    assert "No face." in text(drawn)


def test_a_running_job_s_duration_ends_with_it() -> None:
    ended = replace(JOB, state=JobState.DONE, ended=NOW - 5)
    assert " 5 s " in text(jobs.draw(view(jobs=(ended,)), OPERATOR))


def test_who_may_only_look_finds_every_button_off_and_reads_why() -> None:
    full = view(jobs=(JOB,), keys=(KEY,), accounts=(ADA,))
    for pane in (jobs, keys, accounts):
        assert re.findall(r"<button[^>]*>", pane.draw(full, OPERATOR))
        for button in re.findall(r"<button[^>]*>", pane.draw(full, VIEWER)):
            assert ' disabled title="needs the role operator / 需要 operator 角色"' in button
        assert "disabled" not in pane.draw(full, OPERATOR)


def test_a_form_is_off_for_who_may_only_look_and_says_which_role_is_missing() -> None:
    lack, *fields = accounts.opened(VIEWER)
    assert "lacks the role operator" in lack
    assert all(field["interactive"] is False for field in fields)
    lack, *fields = accounts.opened(OPERATOR)
    assert lack == ""
    assert fields[2]["choices"] == ["viewer", "operator"]


def test_who_came_by_the_token_reads_that_it_ends() -> None:
    by_token = Principal("operator", roles=frozenset(Role), method="token")
    notice, *_, roles, _ = accounts.opened(by_token)
    assert "ends with the first account" in notice
    assert roles["value"] == ["viewer", "operator", "swapper"]


def test_a_key_is_shown_with_what_it_may_and_never_with_its_hash() -> None:
    drawn = keys.draw(view(keys=(replace(KEY, per_minute=5, hash="c0ffee" * 9),)), OPERATOR)
    for shown in ("search", "0a1b2c3d", "shop", "rerank", "admin:viewer", "never", "5 a minute"):
        assert shown in text(drawn)
    assert "c0ffee" not in drawn


def test_keys_that_open_nothing_stand_last_and_cannot_be_revoked_again() -> None:
    gone = (replace(KEY, id="r", revoked=NOW - 1), replace(KEY, id="e", expires=NOW - 1))
    drawn = keys.draw(view(keys=(*gone, KEY)), OPERATOR)
    assert drawn.index("0a1b2c3d") < drawn.index('mono">r<') < drawn.index('mono">e<')
    assert re.findall(r'data-value="(\w+)"', drawn) == ["0a1b2c3d"]
    assert "Revoked" in text(drawn)
    assert "Expired" in text(drawn)


def test_an_account_is_shown_without_its_hash_and_one_s_own_cannot_be_removed() -> None:
    mine = replace(ADA, name="olga")
    drawn = accounts.draw(view(accounts=(ADA, mine)), OPERATOR)
    assert "hash of" not in drawn
    assert re.findall(r'data-value="(\w+)"', drawn) == ["ada"]
    assert "olga you Roles operator viewer" in text(drawn)


def test_empty_panes_say_what_will_stand_there() -> None:
    for pane, said in ((jobs, "No jobs"), (keys, "No keys"), (accounts, "No accounts")):
        assert said in text(pane.draw(view(), OPERATOR))


def test_of_many_the_newest_are_shown_and_it_is_said() -> None:
    many = tuple(replace(JOB, id=f"j{number}") for number in range(SHOWN + 7))
    drawn = jobs.draw(view(jobs=many), OPERATOR)
    assert drawn.count("<tr>") == SHOWN + 1
    assert f"The newest {SHOWN} of {SHOWN + 7}" in text(drawn)


def test_hostile_words_are_text_everywhere() -> None:
    job = replace(JOB, id=HOSTILE, tenant=HOSTILE, error=HOSTILE)
    key = replace(KEY, name=HOSTILE, tenant=HOSTILE)
    drawn = jobs.draw(view(jobs=(job,)), OPERATOR) + keys.draw(view(keys=(key,)), OPERATOR)
    drawn += accounts.draw(view(accounts=(replace(ADA, name=HOSTILE),)), OPERATOR)
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert escape(HOSTILE) in drawn


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.85, "850 ms"), (12, "12 s"), (180, "3 min"), (7300, "2 h"), (-1, "0 ms")],
)
def test_a_span_is_said_as_one_would_say_it(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_a_moment_is_a_date_with_its_time_beside_the_pointer() -> None:
    drawn = moment(1_767_323_045.0)
    assert ">2026-01-02<" in drawn
    assert 'title="2026-01-02 03:04:05 UTC"' in drawn
    assert moment(None) == "–"


def test_a_change_without_a_reason_has_no_empty_line() -> None:
    assert "<bdi" not in history.table([replace(LINE, reason="")])
    assert "<bdi" in history.table([LINE])


def test_the_download_stays_below_the_sub_path() -> None:
    assert 'href="/tools/q/v1/admin/audit.jsonl"' in history.download("/tools/q/")
