"""
Around every handler of the pages: errors become messages, requests are counted, roles checked.

One of the two skins where any exception ends (the other is HTTP). What Quartet refuses on purpose
becomes a message in both languages; anything else is a bug: the full log here, a plain apology
with the request's number there. The portal counts what visitors met.
"""

import asyncio
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from backends.errors import BadInput, Denied, QuartetError, SignInNeeded
from backends.identity import COOKIE, Ask, Caller, Principal, Role
from backends.portal import Portal
from backends.serving import Answer
from backends.telemetry import new_request_id, request_id
from ui.texts import TEXTS, beside, plain

# An event of the page's own: no spinner, no named endpoint, no limit but our own queue's.
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_limit": None,
}

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


def principal(portal: Portal, request: gr.Request) -> Principal:
    """Who is behind this event: the anonymous principal when nobody signed in."""
    return portal.identity.principal(request.cookies.get(COOKIE))


def require(portal: Portal, request: gr.Request, role: Role) -> Principal:
    """The caller, who has the role; else SignInNeeded or Denied. First line of admin handlers."""
    who = principal(portal, request)
    if who.may(role):
        return who
    if not who.method:
        english, chinese = TEXTS["guard.sign_in"]
        raise SignInNeeded(english, zh=chinese)
    english, chinese = TEXTS["guard.denied"]
    raise Denied(english.format(role=role.value), zh=chinese.format(role=role.value))


def ask(portal: Portal, request: gr.Request) -> Ask:
    """
    On whose behalf, and until when: what a service wants to know of this event, which counts
    towards the limits of its address. Raises SignInNeeded or RateLimited.
    """
    who = principal(portal, request)
    client = request.client
    portal.access.enter(Caller(who, client.host if client else ""))
    return Ask(
        principal=who,
        deadline=time.monotonic() + portal.settings.limits.deadline_seconds,
        request_id=request_id.get(),
    )


def noted(answer: Answer) -> None:
    """Put the answer's figures into this request's line of the log."""
    facts = _facts.get()
    if facts is not None:
        facts.update(
            items=len(answer),
            model=answer.model,
            queued=round(answer.queued, 4),
            ran=round(answer.ran, 4),
            **({"pod": answer.pod} if answer.pod else {}),
        )


def message(error: QuartetError) -> str:
    """The error's text in both languages; Gradio shows it as HTML, so it is escaped."""
    return escape(beside(error.text, error.zh))


def guarded(
    portal: Portal, service: str = ""
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """
    Decorate an async handler. With `service` it is a request to that family: counted, timed and
    logged under its name. A caller who leaves cancels it, and nothing is kept.
    """

    def decorate(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(handler)
        async def run(*given: P.args, **named: P.kwargs) -> R:
            with _translated(), _counted(portal, service, given):
                return await handler(*given, **named)

        return run

    return decorate


def streamed(
    portal: Portal, service: str
) -> Callable[[Callable[P, AsyncIterator[R]]], Callable[P, AsyncIterator[R]]]:
    """`guarded` for a handler that yields: one count and one line when its last value is out."""

    def decorate(handler: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncIterator[R]]:
        @functools.wraps(handler)
        async def run(*given: P.args, **named: P.kwargs) -> AsyncIterator[R]:
            # Gradio may resume it in another context, so nothing is kept in context variables
            number, facts = new_request_id(), dict[str, Any]()
            with _as_message(number), _tallied(portal, service, facts):
                facts.update(_said(portal, given), request_id=number)
                async for value in handler(*given, **named):
                    yield value

        return run

    return decorate


def validator(
    order: Sequence[str],
) -> Callable[[Callable[..., Iterable[BadInput]]], Callable[..., list[Any]]]:
    """
    Make a function that yields what is wrong into Gradio's `validator=`: each fault appears on the
    field it names; `order` are the names of the inputs. The first fault of a field is shown.

    Gradio sends a bug in a validator to the visitor as it is. Here it is logged, and the inputs
    pass: the handler behind will meet the same bug, and apologise.
    """

    def decorate(check: Callable[..., Iterable[BadInput]]) -> Callable[..., list[Any]]:
        @functools.wraps(check)
        def run(*values: Any) -> list[Any]:
            told: dict[str, str] = {}
            try:
                for fault in check(*values):
                    told.setdefault(fault.field, beside(fault.text, fault.zh))
            except Exception:
                log.exception("failed")
            return [gr.validate(name not in told, told.get(name, "")) for name in order]

        return run

    return decorate


def _said(portal: Portal, given: Sequence[Any]) -> dict[str, Any]:
    """What the log may say of the caller; nothing where a handler takes no request."""
    request = next((value for value in given if isinstance(value, gr.Request)), None)
    if request is None:
        return {}
    who = principal(portal, request)
    return {"user": who.subject, "tenant": who.tenant}


@contextmanager
def _translated() -> Iterator[None]:
    """Give the event a number of its own, and let no error out that a visitor cannot read."""
    number = request_id.set(new_request_id())
    try:
        with _as_message(request_id.get()):
            yield
    finally:
        request_id.reset(number)


@contextmanager
def _as_message(number: str) -> Iterator[None]:
    try:
        yield
    except QuartetError as error:
        raise gr.Error(message(error), title=plain("guard.title"), print_exception=False) from error
    except gr.Error:
        raise
    except Exception as error:
        log.exception("failed")
        apology = escape(plain("guard.bug", request_id=number))
        raise gr.Error(apology, title=plain("guard.title"), print_exception=False) from error


@contextmanager
def _counted(portal: Portal, service: str, given: Sequence[Any]) -> Iterator[None]:
    """One count, one duration and one line of the log a request; nothing without a service."""
    if not service:
        yield
        return
    facts = _said(portal, given)
    kept = _facts.set(facts)
    try:
        with _tallied(portal, service, facts):
            yield
    finally:
        _facts.reset(kept)


@contextmanager
def _tallied(portal: Portal, service: str, facts: dict[str, Any]) -> Iterator[None]:
    began = time.perf_counter()
    outcome = "ok"
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        outcome = "CallerLeft"
        raise
    except Exception as error:
        outcome = type(error).__name__ if isinstance(error, QuartetError) else "InternalError"
        raise
    finally:
        seconds = time.perf_counter() - began
        portal.instruments.requests.labels(service, outcome).inc()
        portal.instruments.request_seconds.labels(service).observe(seconds)
        event = "answered" if outcome == "ok" else "refused"
        log.info(
            event,
            extra={"service": service, "outcome": outcome, "seconds": round(seconds, 4), **facts},
        )
