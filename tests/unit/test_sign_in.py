"""The door of Admin, over ASGI: no socket, no browser."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from backends.errors import QuartetError
from backends.identity import COOKIE, Identity
from backends.routes.sign_in import add_sign_in
from backends.settings import Settings

PASSWORD = "correct horse battery"


class PlainHasher:
    def hash(self, password: str) -> str:
        return f"hashed {password}"

    def matches(self, stored: str, password: str) -> bool:
        return stored == f"hashed {password}"


class Site:
    """An application with the door, and behind it an Admin that says who came."""

    def __init__(self, folder: Path, root: str = "", **given: object) -> None:
        self.root = root
        self.settings = Settings(state_dir=folder, **given)  # type: ignore[arg-type]
        self.announced: list[str] = []
        self.identity = Identity(
            self.settings.identity,
            folder,
            announce=self.announced.append,
            hasher=PlainHasher(),
            sleep=self._sleep,
        )
        self.app = FastAPI()
        add_sign_in(self.app, self.identity, self.settings)

        @self.app.exception_handler(QuartetError)
        async def refused(request: Request, error: QuartetError) -> Response:
            return JSONResponse({"error": error.text}, error.status)

        @self.app.api_route("/admin/{rest:path}", methods=["GET", "HEAD", "POST"])
        async def admin(request: Request, rest: str) -> Response:
            who = self.identity.principal(request.cookies.get(COOKIE))
            return PlainTextResponse(f"admin of {who.subject} at {rest!r}")

        @self.app.get("/")
        async def home() -> Response:
            return PlainTextResponse("home")

    async def _sleep(self, seconds: float) -> None:
        pass

    @property
    def token(self) -> str:
        assert self.identity.token is not None
        return self.identity.token

    def account(self, *roles: str) -> None:
        self.identity.accounts.add("ada", PASSWORD, roles or ("viewer",))

    @asynccontextmanager
    async def browser(
        self, base: str = "http://quartet.example"
    ) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, root_path=self.root, client=("192.0.2.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield client


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin?lang=zh", "/admin/?tab=x"])
async def test_a_guest_gets_our_page_with_401_in_both_languages(site: Site, path: str) -> None:
    async with site.browser() as browser:
        answer = await browser.get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert "Sign in to Admin" in answer.text
    assert "登录运维页面" in answer.text
    assert "admin of" not in answer.text


async def test_the_page_names_no_other_host_and_needs_no_other_file(site: Site) -> None:
    async with site.browser() as browser:
        text = (await browser.get("/admin")).text
    assert "http://" not in text
    assert "https://" not in text
    assert "<script src" not in text
    assert "stylesheet" not in text


async def test_a_head_request_is_answered_like_a_get_and_uses_no_token_up(site: Site) -> None:
    token = site.token
    async with site.browser() as browser:
        answer = await browser.head(f"/admin?token={token}")
    assert answer.status_code == 401
    assert site.token == token


@pytest.mark.parametrize("path", ["/", "/adminx", "/administrator/", "/v1/admin"])
async def test_other_addresses_pass_the_door(site: Site, path: str) -> None:
    async with site.browser() as browser:
        answer = await browser.get(path)
    assert answer.status_code in (200, 404)
    assert "Sign in" not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/admin/x", "/admin/gradio_api/queue/join", "/admin//", "/admin/sign-in/", "/%61dmin/x"],
)
async def test_a_guest_is_refused_whatever_they_ask_below_admin(
    site: Site, path: str, method: str
) -> None:
    async with site.browser() as browser:
        answer = await browser.request(method, path)
        assert answer.status_code == 401
        if method != "HEAD":
            assert answer.json()["error_type"] == "SignInNeeded"
        await browser.get(f"/admin?token={site.token}")
        assert (await browser.request(method, path)).status_code in (200, 405)


async def test_the_address_of_the_form_leads_to_its_page(site: Site) -> None:
    async with site.browser() as browser:
        for path in ("/admin/sign-in", "/admin/sign-out?token=x"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")


async def test_the_token_in_the_address_signs_in_once_and_leaves_the_address(site: Site) -> None:
    token = site.token
    async with site.browser() as browser:
        answer = await browser.get(f"/admin?token={token}&lang=zh")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/admin/?lang=zh"
        assert answer.headers["cache-control"] == "no-store"
        assert (await browser.get("/admin/")).text == "admin of operator at ''"
    async with site.browser() as other:
        again = await other.get(f"/admin/?token={token}")
    assert again.status_code == 401
    assert "This token is not valid" in again.text
    assert "令牌无效" in again.text
    assert COOKIE not in again.cookies


async def test_a_token_that_a_signed_in_person_opens_again_is_not_used_up(site: Site) -> None:
    async with site.browser() as browser:
        await browser.get(f"/admin?token={site.token}")
        fresh = site.token
        answer = await browser.get(f"/admin/?token={fresh}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
    assert site.token == fresh


async def test_signed_in_without_the_slash_one_is_sent_to_it(site: Site) -> None:
    async with site.browser() as browser:
        await browser.get(f"/admin?token={site.token}")
        answer = await browser.get("/admin?__theme=dark")
    assert (answer.status_code, answer.headers["location"]) == (307, "/admin/?__theme=dark")


async def test_an_account_signs_in_by_the_form(site: Site) -> None:
    site.account()
    async with site.browser() as browser:
        form = {"name": "ada", "password": PASSWORD}
        answer = await browser.post("/admin/sign-in", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
        assert (await browser.get("/admin/")).text == "admin of ada at ''"


async def test_an_account_signs_in_by_json_and_a_wrong_one_gets_json(site: Site) -> None:
    site.account()
    async with site.browser() as browser:
        wrong = await browser.post("/admin/sign-in", json={"name": "ada", "password": "no"})
        right = await browser.post("/admin/sign-in", json={"name": "ada", "password": PASSWORD})
    assert wrong.status_code == 401
    assert wrong.json() == {"error": "The name or the password is wrong."}
    assert right.status_code == 303


async def test_the_token_signs_in_by_the_form(site: Site) -> None:
    async with site.browser() as browser:
        answer = await browser.post("/admin/sign-in", data={"token": site.token})
        assert answer.status_code == 303
        assert (await browser.get("/admin/")).text.startswith("admin of operator")


async def test_a_wrong_password_brings_the_page_back_with_the_sentence_and_the_name(
    site: Site,
) -> None:
    site.account()
    async with site.browser() as browser:
        form = {"name": 'a"><script>alert(1)</script>', "password": "wrong one"}
        answer = await browser.post("/admin/sign-in", data=form)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "用户名或密码错误。" in answer.text
    assert 'value="a&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in answer.text
    assert "wrong one" not in answer.text
    assert COOKIE not in answer.cookies


async def test_too_many_wrong_tries_are_answered_with_429_and_retry_after(site: Site) -> None:
    site.account()
    async with site.browser() as browser:
        for _ in range(10):
            await browser.post("/admin/sign-in", data={"name": "ada", "password": "x"})
        form = {"name": "ada", "password": PASSWORD}
        answer = await browser.post("/admin/sign-in", data=form)
        by_token = await browser.get("/admin?token=x")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert "Too many wrong tries" in answer.text
    assert by_token.status_code == 429


async def test_sign_out_ends_the_session_and_goes_home(site: Site) -> None:
    async with site.browser() as browser:
        await browser.get(f"/admin?token={site.token}")
        stolen = browser.cookies[COOKIE]
        answer = await browser.post("/admin/sign-out")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert COOKIE not in browser.cookies
        assert (await browser.get("/admin/")).status_code == 401
        old = await browser.get("/admin/", headers={"cookie": f"{COOKIE}={stolen}"})
    assert old.status_code == 401


async def test_sign_out_asks_for_a_post(site: Site) -> None:
    async with site.browser() as browser:
        await browser.get(f"/admin?token={site.token}")
        await browser.get("/admin/sign-out")
        assert (await browser.get("/admin/")).status_code == 200


async def test_a_new_sign_in_ends_the_session_that_the_browser_had(site: Site) -> None:
    site.account()
    form = {"name": "ada", "password": PASSWORD}
    async with site.browser() as browser:
        await browser.post("/admin/sign-in", data=form)
        first = browser.cookies[COOKIE]
        await browser.post("/admin/sign-in", data=form)
    assert site.identity.principal(first).method == ""


async def test_the_cookie_is_for_our_pages_alone(site: Site) -> None:
    async with site.browser() as browser:
        answer = await browser.get(f"/admin?token={site.token}")
    flags = answer.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"} == set(flags)


async def test_the_cookie_is_secure_over_https_and_where_the_settings_say_so(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    async with site.browser("https://quartet.example") as browser:
        over_https = await browser.get(f"/admin?token={site.token}")
    strict = Site(tmp_path, identity={"secure_cookie": True})
    async with strict.browser() as browser:
        by_setting = await browser.get(f"/admin?token={strict.token}")
    assert "Secure" in over_https.headers["set-cookie"]
    assert "Secure" in by_setting.headers["set-cookie"]


@pytest.mark.parametrize("prefix", ["", "/portal"])
async def test_behind_a_sub_path_every_address_has_it(tmp_path: Path, prefix: str) -> None:
    """A server may say the sub-path again in the path, or not."""
    site = Site(tmp_path, root="/portal")
    async with site.browser() as browser:
        page = await browser.get(f"{prefix}/admin")
        assert page.status_code == 401
        assert 'action="/portal/admin/sign-in"' in page.text
        answer = await browser.get(f"{prefix}/admin?token={site.token}")
        assert answer.headers["location"] == "/portal/admin/"
        assert "Path=/portal" in answer.headers["set-cookie"]
        out = await browser.post(f"{prefix}/admin/sign-out")
        assert out.headers["location"] == "/portal/"
        assert "Path=/portal" in out.headers["set-cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://other.quartet.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://quartet.example:8080"}, 403),
        ({"origin": "http://quartet.example"}, 303),
        ({"sec-fetch-site": "same-origin", "origin": "http://quartet.example"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({}, 303),
    ],
)
async def test_a_form_from_another_site_is_refused(
    site: Site, headers: dict[str, str], status: int
) -> None:
    token = site.token
    async with site.browser() as browser:
        out = await browser.post("/admin/sign-out", headers=headers)
        answer = await browser.post("/admin/sign-in", data={"token": token}, headers=headers)
    assert (out.status_code, answer.status_code) == (status, status)
    assert (site.identity.token == token) is (status == 403)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x" * 16_385, "application/x-www-form-urlencoded"),
        (b"&".join(b"a=1" for _ in range(17)), "application/x-www-form-urlencoded"),
        (b"{", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 16_000, "application/json"),
        (b"[]", "application/json"),
        (b'{"token": 1}', "application/json; charset=utf-8"),
        (b'{"token": ["x"]}', "application/json"),
    ],
)
async def test_what_cannot_be_read_is_refused_before_it_is_a_try(
    site: Site, body: bytes, kind: str
) -> None:
    async with site.browser() as browser:
        answer = await browser.post("/admin/sign-in", content=body, headers={"content-type": kind})
    assert answer.status_code == 422


@pytest.mark.parametrize("body", [b"", b"name=%ff&password=%00", b"token=", b"token=%ff", b"\xff"])
async def test_odd_forms_are_wrong_tries_and_nothing_worse(site: Site, body: bytes) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    async with site.browser() as browser:
        answer = await browser.post("/admin/sign-in", content=body, headers=kind)
    assert answer.status_code == 401


async def test_half_a_surrogate_pair_is_a_wrong_token(site: Site) -> None:
    async with site.browser() as browser:
        answer = await browser.post(
            "/admin/sign-in",
            content=rb'{"token": "\ud800"}',
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 401


async def test_signed_in_without_the_role_viewer_one_is_told_which_role_is_missing(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "accounts.json").write_text(
        json.dumps({"ada": {"hash": f"hashed {PASSWORD}", "roles": ["swapper"]}})
    )
    async with site.browser() as browser:
        await browser.post("/admin/sign-in", data={"name": "ada", "password": PASSWORD})
        answer = await browser.get("/admin/")
        below = await browser.post("/admin/gradio_api/queue/join")
    assert (answer.status_code, below.status_code) == (403, 403)
    assert below.json()["error_type"] == "Denied"
    assert "ada is signed in, without the role viewer." in answer.text


async def test_the_page_asks_for_a_token_until_there_is_an_account(site: Site) -> None:
    async with site.browser() as browser:
        before = (await browser.get("/admin")).text
        site.account()
        after = (await browser.get("/admin")).text
    assert 'name="token"' in before
    assert "python app.py account add NAME --role viewer" in before
    assert 'name="password"' not in before
    assert 'autocomplete="username"' in after
    assert 'autocomplete="current-password"' in after
    assert 'name="token"' not in after
