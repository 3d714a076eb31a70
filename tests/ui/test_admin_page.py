"""Admin as a person meets it, in a real Chromium: sign-in, a swap from review to undo, silence."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from backends.identity import Accounts
from backends.serving.record import ModelRecord
from backends.settings import Server
from tests.stubs import Recorder, family, model
from tests.ui.conftest import DESKTOP, PHONE, Opener, Visit
from tests.ui.site import Site, site

TICK = 20_000.0  # milliseconds in which a refresh has surely come

PASSWORD = "correct horse battery"
LOOKS = [
    (DESKTOP, "light", "en"),
    (DESKTOP, "dark", "zh"),
    (PHONE, "light", "zh"),
    (PHONE, "dark", "en"),
]
HOSTILE = "<img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}} <script>alert(4)</script>"


class Engines:
    """Four models of one service: `slow` loads when it is let, `broken` never."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.family = family(
            model(lambda settings: Recorder("small"), "small"),
            model(lambda settings: Recorder("words"), "words"),
            model(self._slow, "slow"),
            model(self._broken, "broken"),
            name="rerank",
        )

    def _slow(self, settings: Any) -> Recorder:
        assert self.let.wait(60)
        return Recorder("slow")

    def _broken(self, settings: Any) -> Recorder:
        raise RuntimeError("no memory")


@dataclass(frozen=True, slots=True)
class Own:
    """A portal of this test alone, with stub engines; `folder` is its state."""

    site: Site
    engines: Engines
    folder: Path

    @property
    def door(self) -> str:
        return f"/admin/?token={self.site.portal.identity.token}"


@pytest.fixture
def own(browser: Browser, state_dir: Path) -> Iterator[Own]:
    engines = Engines()
    with site(state_dir, {"rerank": engines.family}) as served:
        yield Own(served, engines, state_dir)
        engines.let.set()


@pytest.fixture
def admin(own: Own, visit: Opener) -> Page:
    """Admin of that portal, signed in with every role."""
    return shown(visit(own.door, at=own.site.url).page)


def shown(page: Page) -> Page:
    page.wait_for_selector("#q-overview .svc")
    page.wait_for_selector("#swap-about .chip")
    return page


def choose(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).check()
    expect(page.locator("#swap-model label.selected")).to_have_text(name)


def choose_service(page: Page, name: str) -> None:
    page.locator("#swap-service").get_by_role("radio", name=name, exact=True).check()
    expect(page.locator("#swap-service label.selected")).to_have_text(name)


def review(page: Page, name: str) -> None:
    choose(page, name)
    page.click("#swap-review")
    expect(page.locator("#swap-panel .q-change")).to_contain_text(name)


def swap(page: Page, name: str, reason: str = "load test") -> None:
    review(page, name)
    page.fill("#swap-reason textarea", reason)
    page.click("#swap-apply")


def said(page: Page) -> Any:
    return expect(page.locator("#swap-message"))


def rows(page: Page) -> list[str]:
    return page.locator("#q-history tbody tr").all_inner_texts()


def as_one(theme: str, language: str, size: tuple[int, int]) -> str:
    return f"{'desktop' if size == DESKTOP else 'phone'}-{theme}-{language}"


# ---- the door


@contextmanager
def guest(browser: Browser, url: str, **given: Any) -> Iterator[Page]:
    """A visit that may be refused: Chromium writes every 401 to its console."""
    context = browser.new_context(reduced_motion="reduce", **given)
    context.set_default_timeout(20_000)
    try:
        page = context.new_page()
        page.goto(url)
        yield page
    finally:
        context.close()


@pytest.mark.parametrize(("size", "theme", "language"), LOOKS)
def test_a_guest_gets_our_own_page_in_their_language_and_theme(
    browser: Browser, portal_site: Site, size: tuple[int, int], theme: str, language: str
) -> None:
    look = {
        "viewport": {"width": size[0], "height": size[1]},
        "color_scheme": theme,
        "locale": "zh-CN" if language == "zh" else "en-US",
    }
    with guest(browser, f"{portal_site.url}/admin", **look) as page:
        title = "登录运维页面" if language == "zh" else "Sign in to Admin"
        expect(page.get_by_role("heading", level=1)).to_have_text(title, use_inner_text=True)
        expect(page.get_by_role("textbox")).to_be_focused()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(17, 17, 24)" if theme == "dark" else "rgb(248, 248, 250)")
        seen = Visit(page)
        seen.picture(f"sign-in-{as_one(theme, language, size)}")
        assert seen.violations() == []
        assert not seen.scrolls_sideways()


def test_the_sign_in_page_switches_language_and_theme_and_the_portal_remembers(
    browser: Browser, portal_site: Site
) -> None:
    with guest(browser, f"{portal_site.url}/admin", locale="en-US") as page:
        page.get_by_role("button", name="中文").click()
        page.get_by_role("button", name="Dark theme").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(
            "登录运维页面", use_inner_text=True
        )
        page.goto(portal_site.url)
        expect(page.locator("html")).to_have_attribute("data-lang", "zh")
        expect(page.locator("body.dark")).to_be_visible()


def test_without_storage_the_sign_in_page_still_switches(
    browser: Browser, portal_site: Site
) -> None:
    with guest(browser, "about:blank", locale="en-US") as page:
        page.add_init_script(
            "Object.defineProperty(window, 'localStorage', "
            "{ get() { throw new Error('no storage'); } });"
        )
        page.goto(f"{portal_site.url}/admin")
        page.get_by_role("button", name="中文").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(
            "登录运维页面", use_inner_text=True
        )


def test_the_sign_in_page_asks_no_other_host_and_its_font_is_there(
    browser: Browser, portal_site: Site
) -> None:
    with guest(browser, "about:blank") as page:
        asked: list[tuple[str, int]] = []
        page.on("response", lambda answer: asked.append((answer.url, answer.status)))
        page.goto(f"{portal_site.url}/admin")
        page.evaluate("document.fonts.ready")
        assert all(url.startswith((portal_site.url, "data:")) for url, _ in asked)
        assert {status for url, status in asked if "/admin" not in url} <= {200}


def test_the_token_opens_admin_once_and_sign_out_closes_it(browser: Browser, own: Own) -> None:
    token = own.site.portal.identity.token or ""
    with guest(browser, f"{own.site.url}/admin") as page:
        page.fill("input[name=token]", token)
        page.keyboard.press("Enter")
        shown(page)
        assert token not in page.url
        expect(page.locator("#q-who")).to_contain_text("operator, swapper, viewer")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{own.site.url}/")
        page.goto(f"{own.site.url}/admin/")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Sign in to Admin")
        page.fill("input[name=token]", token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This token is not valid")


def test_an_account_signs_in_by_name_and_a_wrong_password_says_so(
    browser: Browser, own: Own
) -> None:
    Accounts(own.folder / "accounts.json").add("ada", PASSWORD, ["viewer"])
    with guest(browser, f"{own.site.url}/admin") as page:
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("not it at all")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
        expect(page.get_by_label("Name")).to_have_value("ada")
        expect(page.get_by_label("Password")).to_be_focused()
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        shown(page)
        expect(page.locator("#q-who")).to_contain_text("ada · viewer")
        expect(page.locator("#swap-lack")).to_contain_text("lacks the role swapper")
        expect(page.locator("#swap-review")).to_be_disabled()


def test_admin_is_one_click_from_the_portal_and_back(visit: Opener, own: Own) -> None:
    page = visit(own.door, at=own.site.url).page
    page.get_by_role("link", name="Stub").click()
    page.wait_for_url(f"{own.site.url}/?tab=rerank")
    page.get_by_role("link", name="Admin").click()
    page.wait_for_url(f"{own.site.url}/admin/")
    shown(page)


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_below_a_sub_path_sign_in_and_sign_out_stay_below_it(
    browser: Browser, state_dir: Path
) -> None:
    server = Server(root_path="/tools/q")
    with (
        site(state_dir, {"rerank": Engines().family}, server=server) as served,
        guest(browser, f"{served.url}/admin?token={served.token}") as page,
    ):
        shown(page)
        assert page.url == f"{served.url}/admin/"
        expect(page.locator("form.q-who")).to_have_attribute("action", "/tools/q/admin/sign-out")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{served.url}/")


# ---- what one sees


@pytest.mark.parametrize(("size", "theme", "language"), LOOKS)
def test_admin_reads_well_with_a_change_under_review(
    visit: Opener, own: Own, size: tuple[int, int], theme: str, language: str
) -> None:
    seen = visit(own.door, size=size, theme=theme, language=language, at=own.site.url)
    page = shown(seen.page)
    swap(page, "words")
    said(page).to_contain_text("revision 1" if language == "en" else "修订 1", use_inner_text=True)
    review(page, "small")
    seen.picture(f"admin-{as_one(theme, language, size)}")
    assert seen.violations() == []
    assert not seen.scrolls_sideways()
    told = page.locator("main").inner_text()
    for english, chinese in (("Requests", "请求"), ("Audit", "审计记录"), ("Cancel", "取消")):
        assert (english in told) is (language == "en")
        assert (chinese in told) is (language == "zh")


def test_the_language_changes_while_a_change_is_under_review(admin: Page) -> None:
    review(admin, "words")
    admin.get_by_role("button", name="中文").click()
    for text in ("确认变更", "原因（保存在审计记录中）", "更换模型", "刷新"):
        expect(admin.get_by_text(text).first).to_be_visible()
    expect(admin.locator("#swap-panel .q-change")).to_contain_text("words")


def test_requests_appear_in_the_figures(own: Own, admin: Page) -> None:
    expect(admin.locator("[data-tile=p95]")).to_contain_text("no requests in the last minute")
    instruments = own.site.portal.instruments
    for _ in range(40):
        instruments.requests.labels("rerank", "ok").inc()
        instruments.request_seconds.labels("rerank").observe(0.05)
    instruments.waiting.labels("rerank").set(3)
    own.site.portal.metrics.sample()  # type: ignore[attr-defined]
    expect(admin.locator("[data-tile=waiting] .val")).to_have_text("3", timeout=TICK)
    expect(admin.locator("[data-tile=p95] .val")).to_contain_text("ms")
    expect(admin.locator("[data-tile=errors] .val")).to_have_text("0%")


# ---- a swap


def test_a_swap_from_review_to_receipt_and_undo(own: Own, admin: Page) -> None:
    review(admin, "words")
    expect(admin.locator("#swap-panel .q-change")).to_be_focused()
    expect(admin.locator("#swap-panel")).to_contain_text("Requests in flight are answered")
    assert rows(admin) == []
    admin.fill("#swap-reason textarea", "try words")
    admin.click("#swap-apply")
    said(admin).to_contain_text("rerank now runs words, revision 1.")
    expect(admin.locator("#swap-panel")).to_be_hidden()
    expect(admin.locator(".svc .mono")).to_have_text("words")
    expect(admin.locator("#q-history tbody tr")).to_have_count(1)
    assert "small, revision 0 → words, revision 1" in rows(admin)[0]
    assert "try words" in rows(admin)[0]
    expect(admin.locator("#q-chain")).to_contain_text("Chain intact, 2 lines")
    admin.reload()
    shown(admin)
    expect(admin.locator("#swap-last")).to_contain_text("words, revision 1, by operator")
    admin.click("#swap-undo")
    said(admin).to_contain_text("rerank now runs small, revision 2.")
    expect(admin.locator("#q-history tbody tr")).to_have_count(2)
    assert "Undo of revision 1" in rows(admin)[0]


def test_without_a_reason_the_field_says_so_and_nothing_changes(own: Own, visit: Opener) -> None:
    seen = visit(own.door, at=own.site.url)
    page = shown(seen.page)
    review(page, "words")
    page.click("#swap-apply")
    expect(page.locator("#swap-reason .validation-error").first).to_contain_text("Give a reason")
    expect(page.locator("#swap-panel")).to_be_visible()
    assert own.site.portal.audit.lines(1) == []
    seen.forgive_refused()


def test_cancel_leaves_nothing(own: Own, admin: Page) -> None:
    review(admin, "words")
    admin.fill("#swap-reason textarea", "changed my mind")
    admin.click("#swap-cancel")
    expect(admin.locator("#swap-panel")).to_be_hidden()
    expect(admin.locator("#swap-review")).to_be_focused()
    assert own.site.portal.audit.lines(1) == []
    admin.click("#swap-review")
    expect(admin.locator("#swap-panel")).to_be_visible()
    expect(admin.locator("#swap-reason textarea")).to_have_value("")


def test_choosing_another_model_closes_the_review_of_the_first(admin: Page) -> None:
    review(admin, "words")
    choose(admin, "slow")
    expect(admin.locator("#swap-panel")).to_be_hidden()


def test_the_model_that_runs_cannot_be_reviewed(admin: Page) -> None:
    admin.click("#swap-review")
    said(admin).to_contain_text("rerank already runs small.")
    expect(admin.locator("#swap-panel")).to_be_hidden()


def test_a_record_changed_since_the_review_is_told_and_reviewed_again(
    own: Own, admin: Page
) -> None:
    review(admin, "words")
    own.site.portal.cluster._records.write(  # type: ignore[attr-defined]
        "rerank", ModelRecord(1, "words", previous="small", by="eve"), seen=0
    )
    admin.fill("#swap-reason textarea", "too late")
    admin.click("#swap-apply")
    said(admin).to_contain_text("now words, revision 1. Review again.")
    expect(admin.locator("#swap-panel")).to_be_hidden()
    expect(admin.locator("#swap-last")).to_contain_text("by eve")


def test_a_model_that_does_not_load_is_undone_and_the_receipt_says_why(admin: Page) -> None:
    swap(admin, "broken")
    said(admin).to_contain_text("rerank was not swapped to broken")
    said(admin).to_contain_text("no memory")
    expect(admin.locator(".svc .chip")).to_have_text("Running", use_inner_text=True)
    expect(admin.locator("#q-history .chip").first).to_have_text("Undone", use_inner_text=True)


def test_a_swap_goes_on_when_its_page_leaves(browser: Browser, own: Own) -> None:
    with guest(browser, f"{own.site.url}{own.door}") as page:
        swap(shown(page), "slow")
        expect(page.locator(".svc")).to_contain_text("Loading slow beside", timeout=TICK)
        page.goto(f"{own.site.url}/admin/")
        expect(shown(page).locator(".svc")).to_contain_text("Loading slow beside")
        choose(page, "words")
        page.click("#swap-review")
        said(page).to_contain_text("rerank is loading slow now.")
        expect(page.locator(".svc .mono")).to_have_text("small")  # what serves, until it is there
        own.engines.let.set()
        expect(page.locator(".svc .mono")).to_have_text("slow", timeout=TICK)
        expect(page.locator("#q-history .chip").first).to_contain_text("Done", timeout=TICK)


def test_a_hostile_reason_is_text(own: Own, visit: Opener) -> None:
    seen = visit(own.door, at=own.site.url)
    page = shown(seen.page)
    swap(page, "words", HOSTILE)
    expect(page.locator("#q-history tbody tr")).to_contain_text(HOSTILE)
    page.reload()
    expect(shown(page).locator("#q-history tbody tr")).to_contain_text(HOSTILE)
    assert page.locator("#q-history img, #q-history script").count() == 0


def test_each_of_several_services_is_swapped_on_its_own(
    browser: Browser, visit: Opener, state_dir: Path
) -> None:
    other = replace(Engines().family, name="translate", title=("Other", "其他"))
    with site(state_dir, {"rerank": Engines().family, "translate": other}) as served:
        seen = visit(f"/admin/?token={served.token}", at=served.url)
        page = shown(seen.page)
        review(page, "words")
        choose_service(page, "translate")
        expect(page.locator("#swap-panel")).to_be_hidden()
        swap(page, "words")
        said(page).to_contain_text("translate now runs words, revision 1.")
        expect(page.locator("[data-service=translate] .mono")).to_have_text("words")
        expect(page.locator("[data-service=rerank] .mono")).to_have_text("small")
        assert seen.violations() == []


# ---- what happens when nobody looks, or nobody answers


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden',"
        " { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


@contextmanager
def paused(browser: Browser, url: str) -> Iterator[Page]:
    """A page whose clock the test moves."""
    with guest(browser, "about:blank") as page:
        page.clock.install()
        page.goto(url)
        page.clock.run_for(2000)
        yield shown(page)


def test_a_hidden_page_asks_for_nothing_and_a_page_in_view_catches_up(
    browser: Browser, own: Own
) -> None:
    asked: list[str] = []
    with paused(browser, f"{own.site.url}{own.door}") as page:
        with page.expect_response(lambda a: "queue/data" in a.url or "queue/join" in a.url):
            hide(page, True)
        page.on("request", lambda r: asked.append(r.url) if "queue/join" in r.url else None)
        before = -1
        while before != len(asked):  # what was on its way when it was hidden
            before = len(asked)
            page.clock.run_for(3000)
            page.wait_for_timeout(500)
        page.clock.run_for(60_000)
        assert len(asked) == before
        with page.expect_request(lambda r: "queue/join" in r.url):
            hide(page, False)
        with page.expect_request(lambda r: "queue/join" in r.url):
            page.clock.run_for(6000)


def test_a_silent_portal_shows_after_fifteen_seconds_and_locks_what_writes(
    browser: Browser, own: Own
) -> None:
    held: list[Route] = []
    with paused(browser, f"{own.site.url}{own.door}") as page:
        review_paused(page)
        page.route("**/queue/join*", lambda route: held.append(route))  # asked, and not answered
        seen = []
        while not seen or not seen[-1][1]:
            page.clock.run_for(1000)
            seen.append(page.evaluate(AGE_AND_SILENCE))
            assert len(seen) < 60, seen
        assert all(is_silent is (age > 15) for age, is_silent in seen)
        expect(page.locator("#q-stamp .st")).to_be_visible()
        page.fill("#swap-reason textarea", "while silent")
        page.click("#swap-apply")
        for route in held:
            route.continue_()
        page.unroute("**/queue/join*")
        running(page, lambda: expect(page.locator("body.q-silent")).to_have_count(0, timeout=500))
        page.fill("#swap-reason textarea", "once it answers")
        page.click("#swap-apply")
        running(page, lambda: said(page).to_contain_text("now runs words", timeout=500))
    assert [line.reason for line in own.site.portal.audit.lines(9)] == ["once it answers"] * 2


AGE_AND_SILENCE = (
    "() => [Number(document.querySelector('[data-age]').textContent),"
    " document.body.classList.contains('q-silent')]"
)


def running(page: Page, claim: Callable[[], None]) -> None:
    """Let the page's clock run until the claim holds."""
    for _ in range(60):
        page.clock.run_for(1000)
        with suppress(AssertionError):
            return claim()
    return claim()


def review_paused(page: Page) -> None:
    page.get_by_role("radio", name="words", exact=True).check()
    page.clock.run_for(1000)
    page.click("#swap-review")
    page.clock.run_for(1000)
    expect(page.locator("#swap-panel .q-change")).to_be_visible()


def test_when_the_sign_in_ends_its_page_comes(browser: Browser, own: Own) -> None:
    with paused(browser, f"{own.site.url}{own.door}") as page:
        Accounts(own.folder / "accounts.json").add("ada", PASSWORD, ["viewer"])
        page.clock.run_for(20_000)
        expect(page.get_by_role("heading", level=1)).to_contain_text("Sign in to Admin")


def test_with_refresh_off_nothing_is_asked_and_nothing_is_called_silent(
    browser: Browser, own: Own
) -> None:
    asked: list[str] = []
    with paused(browser, f"{own.site.url}{own.door}") as page:
        with page.expect_response(lambda a: "queue/data" in a.url):
            page.get_by_role("radio", name="Off", exact=True).check()
        page.clock.run_for(3000)
        expect(page.locator("#q-stamp [data-patience='1000000000']")).to_have_count(1)
        page.on("request", lambda r: asked.append(r.url) if "queue/join" in r.url else None)
        page.clock.run_for(50_000)
        assert asked == []
        expect(page.locator("body.q-silent")).to_have_count(0)
