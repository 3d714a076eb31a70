"""The portal in a page of another site, as a Space shows it: by setting alone, and never Admin."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from backends.settings import Server
from tests.running import in_thread
from tests.ui.site import Site, site

LATER = 60_000.0  # milliseconds in which a job on a busy machine is surely done
SIZE = 'width="1000" height="800"'


@contextmanager
def other_site() -> Iterator[tuple[str, dict[str, str]]]:
    """Its address, another site than 127.0.0.1 to a browser, and a place for what it frames."""
    framed = {"url": ""}

    async def page(_request: object) -> HTMLResponse:
        return HTMLResponse(f'<title>Elsewhere</title><iframe src="{framed["url"]}" {SIZE}>')

    with in_thread(Starlette(routes=[Route("/", page)]), ready=False) as url:
        yield url.replace("127.0.0.1", "localhost"), framed


@contextmanager
def framing(folder: Path) -> Iterator[tuple[str, dict[str, str], Site]]:
    with ExitStack() as stack:
        elsewhere, framed = stack.enter_context(other_site())
        own = stack.enter_context(site(folder, server=Server(frame_ancestors=elsewhere)))
        yield elsewhere, framed, own


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_context(viewport={"width": 1040, "height": 860}, locale="en-US")
    yield opened.new_page()
    opened.close()


def inside(page: Page, elsewhere: str) -> FrameLocator:
    page.goto(elsewhere)
    return page.frame_locator("iframe")


def test_a_job_is_made_in_a_frame_and_admin_opens_outside(page: Page, tmp_path: Path) -> None:
    with framing(tmp_path) as (elsewhere, framed, own):
        framed["url"] = f"{own.url}/?tab=fusion"
        portal = inside(page, elsewhere)
        portal.locator("#fusion-consent input").check()
        portal.locator("#fusion-go").click()
        result = portal.locator("#fusion-result")
        expect(result).to_contain_text("Marked as AI-edited", timeout=LATER)
        expect(result.locator("img").first).to_be_visible()
        assert page.context.cookies(own.url) == []  # a frame gets none, so a token did it

        with page.context.expect_page() as opening:
            portal.locator(".q-pages a").click()
        expect(opening.value.locator("form")).to_contain_text("Sign in")
        expect(portal.locator("#fusion-go")).to_be_visible()  # the frame stayed where it was

        framed["url"] = f"{own.url}/admin/"
        expect(inside(page, elsewhere).locator("form")).to_have_count(0)
        assert page.frames[1].url.startswith("chrome-error:")


def test_without_the_setting_no_other_site_shows_the_portal(page: Page, portal_site: Site) -> None:
    with other_site() as (elsewhere, framed):
        framed["url"] = portal_site.url
        expect(inside(page, elsewhere).locator("#q-ready")).to_have_count(0)
        assert page.frames[1].url.startswith("chrome-error:")


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/sign-in", "/admin/config"])
def test_admin_is_framed_by_nobody_below_a_path_too(tmp_path: Path, path: str) -> None:
    server = Server(frame_ancestors="https://example.org", root_path="/q")
    with site(tmp_path, server=server) as own:
        open_to = httpx.get(own.url).headers["content-security-policy"]
        admin = httpx.get(own.url + path).headers["content-security-policy"]
    assert "frame-ancestors https://example.org;" in open_to
    assert "frame-ancestors 'self';" in admin
