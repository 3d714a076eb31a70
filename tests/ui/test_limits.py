"""What a visitor sees who asked too often, or who has no name where one is needed."""

from pathlib import Path

import httpx
from playwright.sync_api import expect

from backends.settings import Access
from tests.ui.conftest import Opener
from tests.ui.site import site
from tests.ui.test_rerank_page import run


def test_a_visitor_shares_the_limit_of_the_address_with_its_programs(
    visit: Opener, tmp_path: Path
) -> None:
    with site(tmp_path, access=Access(anonymous_per_minute=2)) as served:
        body = {"query": "x", "documents": ["a"]}
        assert httpx.post(f"{served.url}/v1/rerank", json=body).status_code == 200
        page = visit(at=served.url).page
        assert run(page)
        page.click("#rerank-go")
        toast = page.locator(".toast-body")
        expect(toast).to_contain_text("an address may ask 2 times a minute. Try again in")
        expect(toast).to_contain_text("每个地址每分钟最多请求 2 次")
        refused = httpx.post(f"{served.url}/v1/rerank", json=body)
        assert (refused.status_code, refused.json()["error_type"]) == (429, "RateLimited")
        page.context.close()  # its streams end before the server does


def test_a_visitor_without_a_name_may_look_and_is_asked_to_sign_in(
    visit: Opener, tmp_path: Path
) -> None:
    with site(tmp_path, access=Access(anonymous=False)) as served:
        page = visit(at=served.url).page
        page.click("#rerank-go")
        expect(page.locator(".toast-body")).to_contain_text("or sign in. / 本服务不接受匿名请求")
        page.goto(f"{served.url}/admin/?token={served.token}")
        page.wait_for_load_state()
        page.goto(f"{served.url}/")
        page.wait_for_selector("#q-ready .q-pill[data-state=ready]")
        assert run(page)
        page.context.close()
