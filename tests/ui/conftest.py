"""
A portal, a real Chromium, and visits that write down whatever went wrong.

The browser lives as long as this folder's tests: its loop would get in the way of tests that
await. Pictures go to `artefacts/`, or to the folder that ARTEFACTS names.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Frame, Page, Playwright, expect, sync_playwright

from tests.ui.site import Site, site

expect.set_options(timeout=20_000)  # a busy machine is slow, and that is no fault of the page

DESKTOP = (1440, 900)
PHONE = (390, 844)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="package")
def chromium() -> str:
    """The program; asked for before its driver starts, which fails on a machine without either."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is missing: apt-get install chromium fonts-noto-cjk")
    return program


@pytest.fixture(scope="package")
def playwright(chromium: str) -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(
        executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
    )
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def portal_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One portal with its real embedded engines, for all tests that change nothing in it."""
    with site(tmp_path_factory.mktemp("state")) as served:
        yield served


@dataclass
class Visit:
    """A page, and what it did that it should not have. A test may take known lines away."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    own: str = ""
    documents: int = 0  # that this page showed, one after the other

    def watch(self) -> None:
        self.page.on("framenavigated", self._navigated)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text} ({message.location.get('url')})")

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"a script ran: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.own, "data:", "blob:")):
            self.wrong.append(f"asked another host: {request.url}")

    def _navigated(self, frame: Frame) -> None:
        if frame == self.page.main_frame and frame.url.startswith("http"):
            self.documents += 1

    def faults(self) -> list[str]:
        """What went wrong. Who leaves a page cuts its streams, and Gradio mourns each of them."""
        cut = ("AbortError", "Connection errored out") if self.documents > 1 else ()
        return [line for line in self.wrong if not any(mourned in line for mourned in cut)]

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_selector("#q-ready .q-pill[data-state=ready]")

    def forgive_refused(self) -> None:
        """Gradio answers a refused input with 422, which Chromium writes to its console."""
        self.wrong[:] = [line for line in self.wrong if "status of 422" not in line]

    def violations(self) -> list[str]:
        """What axe finds and finds again: something may have been half faded in."""
        if found := self._violations():
            self.page.wait_for_timeout(1500)
            found = self._violations()
        return found

    def _violations(self) -> list[str]:
        """WCAG 2.2 A and AA, and best practice."""
        found = Axe().run(self.page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        return [
            f"{rule['id']}: {node['html'][:120]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]

    def scrolls_sideways(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))

    def picture(self, name: str) -> None:
        folder = Path(os.environ.get("ARTEFACTS", "artefacts"))
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)


Opener = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, portal_site: Site) -> Iterator[Opener]:
    """
    `visit()` opens a page that is ready to use, `visit(path, size, theme, language, at)` any.
    Whatever went wrong in any of them, and was not taken away, fails the test at its end.
    """
    visits: list[Visit] = []

    def opened(
        path: str = "/",
        size: tuple[int, int] = DESKTOP,
        theme: str = "light",
        language: str = "en",
        at: str = "",
        state: str = "ready",
        **context: Any,
    ) -> Visit:
        own = at or portal_site.url
        made = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme,
            locale={"en": "en-US", "zh": "zh-CN"}.get(language, language),
            reduced_motion="reduce",
            **context,
        )
        made.set_default_timeout(20_000)
        entry = Visit(made.new_page(), own=own)
        entry.watch()
        visits.append(entry)
        entry.page.goto(own + path)
        entry.page.wait_for_selector(f"#q-ready .q-pill[data-state={state}]")
        return entry

    yield opened
    wrong = [line for entry in visits for line in entry.faults()]
    for entry in visits:
        entry.page.context.close()
    assert wrong == []
