"""Jobs, keys and accounts on Admin as a person meets them, in a real Chromium."""

import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from backends.engines import Emit
from backends.engines.fusion import Check
from backends.families import FAMILIES, Family
from backends.identity import COOKIE, Role
from tests.stubs import Recorder, family, model
from tests.ui.conftest import DESKTOP, PHONE, Opener, Visit
from tests.ui.site import Site, site

PASSWORD = "correct horse battery"
PHOTOS = Path(__file__).parents[1] / "photos"
TICK = 60_000.0  # milliseconds in which a refresh has surely come, on a busy machine too
HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}}"
LOOKS = [
    (DESKTOP, "light", "en"),
    (DESKTOP, "dark", "zh"),
    (PHONE, "light", "zh"),
    (PHONE, "dark", "en"),
]


class Held(Recorder):
    """A fusion that checks pictures at once and ends no other run until it is let."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__("held")
        self._held = gate

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        for item in batch:
            if item != "sample" and not isinstance(item, Check):
                assert self._held.wait(120), "the test never opened the gate"
        return super().run(batch, emit)


@dataclass(frozen=True, slots=True)
class Own:
    """A portal of this test alone."""

    site: Site
    gate: threading.Event

    @property
    def door(self) -> str:
        return f"/admin/?token={self.site.portal.identity.token}"

    def account(self, name: str, *roles: str) -> None:
        self.site.portal.identity.accounts.add(name, PASSWORD, roles)

    def signed_in(self, name: str) -> httpx.Client:
        """A program that signed in."""
        form = {"name": name, "password": PASSWORD}
        answer = httpx.post(f"{self.site.url}/admin/sign-in", data=form, timeout=60)
        return httpx.Client(
            base_url=self.site.url, timeout=60, cookies={COOKIE: answer.cookies[COOKIE]}
        )

    def job(self) -> str:
        """A job of a stranger's, which runs until it is let, or waits for the one that does."""
        files = {
            "source": ("a", (PHOTOS / "hopper.jpg").read_bytes()),
            "target": ("b", (PHOTOS / "astronaut.png").read_bytes()),
        }
        sent = httpx.post(
            f"{self.site.url}/v1/fusion/jobs", files=files, data={"options": '{"consent": true}'},
            timeout=60,
        )  # fmt: skip
        assert sent.status_code == 202, sent.text
        return str(sent.json()["id"])

    def said(self) -> list[str]:
        return [f"{line.object} {line.outcome}" for line in self.site.portal.audit.lines(99)]


def families(gate: threading.Event) -> dict[str, Family]:
    rerank = replace(
        FAMILIES["rerank"], models={"bm25": FAMILIES["rerank"].models["bm25"]},
        default=lambda settings: "bm25",
    )  # fmt: skip
    held = family(model(lambda settings: Held(gate), "held"), name="fusion")
    return {"rerank": rerank, "fusion": held}


@pytest.fixture
def own(browser: Browser, state_dir: Path) -> Iterator[Own]:
    gate = threading.Event()
    with site(state_dir, families(gate)) as served:
        yield Own(served, gate)
        gate.set()


@pytest.fixture
def admin(own: Own, visit: Opener) -> Page:
    """Admin of that portal, signed in with every role."""
    return shown(visit(own.door, at=own.site.url).page)


def shown(page: Page) -> Page:
    page.wait_for_selector("#q-overview .svc", timeout=TICK)
    page.wait_for_selector("#accounts-roles label")
    return page


def field(page: Page, name: str) -> Any:
    return page.locator(f"#{name} textarea, #{name} input").first


def make_key(page: Page, name: str, *scopes: str) -> str:
    """The secret that the page shows."""
    field(page, "keys-name").fill(name)
    for scope in scopes:
        page.locator("#keys-scopes").get_by_label(scope, exact=True).check()
    page.click("#keys-make")
    secret = page.locator("#keys-made code")
    expect(secret).to_have_text(re.compile("^qk_"), timeout=TICK)
    return str(secret.text_content())


def press(page: Page, pane: str, row: str, name: str) -> None:
    """The button of the row; then its question is there, and has the focus."""
    line = page.locator(f"#{pane}-table tbody tr").filter(has_text=row)
    line.get_by_role("button", name=name, exact=True).click()
    expect(page.locator(f"#{pane}-panel .q-change")).to_contain_text(row, timeout=TICK)
    expect(page.locator(f"#{pane}-panel .q-change")).to_be_focused(timeout=TICK)


def rerank(own: Own, secret: str) -> str:
    """The status that curl gets, with this key."""
    return subprocess.run(
        [
            "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}",
            "--max-time", "60", f"{own.site.url}/v1/rerank",
            "--header", f"authorization: Bearer {secret}",
            "--header", "content-type: application/json",
            "--data", '{"query": "a", "documents": ["a", "b"]}',
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


# ---- keys


def test_a_key_made_in_the_page_opens_what_it_is_for_until_it_is_revoked_there(
    own: Own, admin: Page
) -> None:
    secret = make_key(admin, "search", "rerank")
    expect(admin.locator("#keys-made")).to_contain_text("it is never shown again")
    assert rerank(own, secret) == "200"
    row = admin.locator("#keys-table tbody tr")
    expect(row).to_contain_text("search", timeout=TICK)
    expect(row).to_contain_text(secret[3:11])
    assert secret not in admin.locator("#keys-table").inner_html()
    press(admin, "keys", "search", "Revoke")
    assert rerank(own, secret) == "200"
    admin.click("#keys-go")
    expect(admin.locator("#keys-message")).to_contain_text("search opens nothing", timeout=TICK)
    expect(row).to_contain_text("Revoked", timeout=TICK)
    assert rerank(own, secret) == "401"
    assert own.said()[::-2] == ["keys ", f"keys/{secret[3:11]} "]


def test_the_secret_is_copied_by_its_button_and_is_gone_after_a_reload(
    browser: Browser, visit: Opener, own: Own
) -> None:
    seen = visit(own.door, at=own.site.url, permissions=["clipboard-read", "clipboard-write"])
    page = shown(seen.page)
    secret = make_key(page, "search", "rerank")
    page.wait_for_timeout(1000)  # a copy waits until typing has ended
    page.locator("#keys-made").get_by_role("button", name="Copy").click()
    expect(page.locator("#keys-made .q-done")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    seen.reload()
    expect(shown(page).locator("#keys-table tbody tr")).to_contain_text("search", timeout=TICK)
    assert secret not in page.content()


def test_what_is_wrong_with_a_key_is_said_and_what_was_typed_stays(own: Own, admin: Page) -> None:
    field(admin, "keys-name").fill("search")
    admin.click("#keys-make")
    made = admin.locator("#keys-made")
    expect(made).to_contain_text("Give at least one scope", timeout=TICK)
    admin.locator("#keys-scopes").get_by_label("rerank", exact=True).check()
    field(admin, "keys-minute").fill("many")
    admin.click("#keys-make")
    expect(made).to_contain_text("many is no whole number", timeout=TICK)
    expect(field(admin, "keys-name")).to_have_value("search")
    assert own.said() == []


def test_a_key_that_is_kept_is_kept_and_the_focus_is_back_on_its_button(
    own: Own, admin: Page
) -> None:
    secret = make_key(admin, "search", "rerank")
    press(admin, "keys", "search", "Revoke")
    admin.click("#keys-keep")
    expect(admin.locator("#keys-panel")).to_be_hidden(timeout=TICK)
    revoke = admin.locator("#keys-table").get_by_role("button", name="Revoke")
    expect(revoke).to_be_focused()
    assert rerank(own, secret) == "200"


def test_hostile_names_are_text(own: Own, visit: Opener) -> None:
    page = shown(visit(own.door, at=own.site.url).page)
    make_key(page, HOSTILE, "rerank")
    row = page.locator("#keys-table tbody tr")
    expect(row).to_contain_text(HOSTILE, timeout=TICK)
    press(page, "keys", HOSTILE, "Revoke")
    page.click("#keys-go")
    expect(row).to_contain_text("Revoked", timeout=TICK)
    assert page.locator("#keys-table img, #keys-panel img, #keys-message img").count() == 0


# ---- accounts


@contextmanager
def guest(browser: Browser, url: str) -> Iterator[Page]:
    """Another person's browser; Chromium writes every 401 to its console."""
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(60_000)
    try:
        page = context.new_page()
        page.goto(f"{url}/admin/")
        yield page
    finally:
        context.close()


def sign_in(page: Page, name: str) -> Page:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    return shown(page)


def add_account(page: Page, name: str, *roles: str) -> None:
    field(page, "accounts-name").fill(name)
    page.fill("#accounts-password input", PASSWORD)
    for role in roles:
        page.locator("#accounts-roles").get_by_label(role, exact=True).check()
    page.click("#accounts-add")


def test_an_account_made_in_the_page_signs_in_until_it_is_removed_there(
    browser: Browser, own: Own
) -> None:
    own.account("ada", "operator", "swapper")
    with guest(browser, own.site.url) as admin, guest(browser, own.site.url) as other:
        sign_in(admin, "ada")
        add_account(admin, "bob")
        expect(admin.locator("#accounts-made")).to_contain_text("bob may sign in", timeout=TICK)
        expect(admin.locator("#accounts-password input")).to_have_value("")
        sign_in(other, "bob")
        expect(other.locator("#q-who")).to_contain_text("bob · viewer")
        press(admin, "accounts", "bob", "Remove")
        admin.click("#accounts-go")
        expect(admin.locator("#accounts-message")).to_contain_text(
            "bob can no longer sign in", timeout=TICK
        )
        expect(admin.locator("#accounts-table tbody tr")).to_have_count(1, timeout=TICK)
        other.goto(f"{own.site.url}/admin/")
        expect(other.get_by_role("heading", level=1)).to_contain_text("Sign in to Admin")
        other.get_by_label("Name").fill("bob")
        other.get_by_label("Password").fill(PASSWORD)
        other.keyboard.press("Enter")
        expect(other.get_by_role("alert")).to_contain_text("wrong", timeout=TICK)


def test_the_first_account_ends_the_token_and_its_sign_in_comes(browser: Browser, own: Own) -> None:
    with guest(browser, own.site.url) as page:
        page.goto(f"{own.site.url}{own.door}")
        expect(shown(page).locator("#accounts-lack")).to_contain_text("ends with the first account")
        expect(page.locator("#accounts-roles label.selected")).to_have_count(3)
        page.get_by_role("radio", name="Off", exact=True).check()
        expect(page.locator("#q-stamp [data-patience='1000000000']")).to_have_count(1, timeout=TICK)
        add_account(page, "ada")  # no refresh meets the end of the sign-in: the change itself does
        expect(page.get_by_role("heading", level=1)).to_contain_text(
            "Sign in to Admin", timeout=TICK
        )
        sign_in(page, "ada")
        expect(page.locator("#q-who")).to_contain_text("ada · operator, swapper, viewer")


def test_a_viewer_finds_everything_off_and_reads_which_role_is_missing(
    browser: Browser, own: Own
) -> None:
    own.account("ada", "operator", "swapper")
    own.account("vera", "viewer")
    job = own.job()
    with guest(browser, own.site.url) as page:
        sign_in(page, "vera")
        expect(page.locator("#jobs-table")).to_contain_text(job, timeout=TICK)
        for pane, control in (("keys", "keys-make"), ("accounts", "accounts-add")):
            expect(page.locator(f"#{pane}-lack")).to_contain_text("lacks the role operator")
            expect(page.locator(f"#{control}")).to_be_disabled()
        buttons = page.locator("[data-ask][title*='needs the role operator']")
        expect(buttons).to_have_count(3)  # cancel and delete the job, remove the other account
        assert page.locator("[data-ask]").count() == 3
        assert page.locator("[data-ask]:enabled").count() == 0


def test_an_operator_is_offered_only_what_they_hold(browser: Browser, own: Own) -> None:
    own.account("olga", "operator")
    with guest(browser, own.site.url) as page:
        sign_in(page, "olga")
        expect(page.locator("#accounts-roles label")).to_have_count(2)
        expect(page.locator("#keys-scopes label")).to_have_count(4)  # two families, two roles
        assert "swapper" not in page.locator("#keys-scopes").inner_text()


# ---- jobs


def test_a_running_job_is_cancelled_from_admin_and_the_next_one_runs(own: Own, admin: Page) -> None:
    first = own.job()
    table = admin.locator("#jobs-table tbody tr")
    expect(table.filter(has_text=first)).to_contain_text("Running", timeout=TICK)
    second = own.job()
    row = table.filter(has_text=second)
    expect(row).to_contain_text("number 1", timeout=TICK)
    expect(row).to_contain_text("anonymous")
    press(admin, "jobs", first, "Cancel")
    admin.click("#jobs-go")
    expect(admin.locator("#jobs-message")).to_contain_text("Cancelled", timeout=TICK)
    expect(table.filter(has_text=first)).to_contain_text("Cancelled", timeout=TICK)
    expect(row).to_contain_text("Running", timeout=TICK)
    press(admin, "jobs", second, "Delete")
    admin.click("#jobs-go")
    expect(row).to_have_count(0, timeout=TICK)
    assert f"jobs/{first} done: it is cancelled" in own.said()
    assert f"jobs/{second} done" in own.said()


def test_a_table_that_is_drawn_anew_keeps_the_focus_on_its_button(own: Own, admin: Page) -> None:
    job = own.job()
    expect(admin.locator("#jobs-table")).to_contain_text(job, timeout=TICK)
    press(admin, "jobs", job, "Cancel")
    admin.click("#jobs-keep")
    cancel = admin.locator("#jobs-table").get_by_role("button", name="Cancel")
    expect(cancel).to_be_focused(timeout=TICK)
    age = admin.locator("#jobs-table tbody td").nth(4).inner_text()
    drawn = admin.locator("#jobs-table tbody td").nth(4)
    expect(drawn).not_to_have_text(age, timeout=TICK, use_inner_text=True)
    expect(cancel).to_be_focused()


def test_a_job_that_is_gone_meanwhile_is_said(own: Own, admin: Page) -> None:
    job = own.job()
    expect(admin.locator("#jobs-table")).to_contain_text(job, timeout=TICK)
    press(admin, "jobs", job, "Delete")

    async def remove(portal: Any) -> None:
        await portal.jobs.remove(job)

    own.site.do(remove)
    admin.click("#jobs-go")
    expect(admin.locator("#jobs-message")).to_contain_text("no longer there", timeout=TICK)


# ---- how it looks


@pytest.mark.parametrize(("size", "theme", "language"), LOOKS)
def test_the_panes_read_well_with_a_question_open(
    visit: Opener, own: Own, size: tuple[int, int], theme: str, language: str
) -> None:
    job = own.job()
    keys = own.site.portal.identity.keys
    keys.make("search on the shop's site", "shop", ["rerank"], 90, 60)
    old, _ = keys.make("nightly figures", "default", ["admin:viewer"])
    keys.revoke(old.id)
    seen: Visit = visit(own.door, size=size, theme=theme, language=language, at=own.site.url)
    page = shown(seen.page)
    expect(page.locator("#jobs-table")).to_contain_text(job, timeout=TICK)
    page.locator("#jobs-table [data-ask]").first.click()
    expect(page.locator("#jobs-panel .q-change")).to_be_focused(timeout=TICK)
    field(page, "keys-name").fill("translation")
    page.locator("#keys-scopes").get_by_label("rerank", exact=True).check()
    page.click("#keys-make")
    expect(page.locator("#keys-made code")).to_have_count(1, timeout=TICK)
    look = f"{'desktop' if size == DESKTOP else 'phone'}-{theme}-{language}"
    seen.picture(f"panes-{look}")
    assert seen.violations() == []
    assert not seen.scrolls_sideways()
    told = page.locator("main").inner_text()
    for english, chinese in (("API keys", "API 密钥"), ("Add an account", "添加账号")):
        assert (english in told) is (language == "en")
        assert (chinese in told) is (language == "zh")
    assert {role.value for role in Role} <= set(told.split())
