"""
The frame that both pages share: header, tab bar, footer.

The public page's tabs are real ones; what belongs to the other page is a plain link that looks
like a tab. Readiness is the services' own word, read again whenever the page asks.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from backends.identity import Role
from backends.portal import Portal
from backends.serving import State, Status
from ui.draw import html
from ui.guard import QUIET, guarded, require
from ui.intake import Intake
from ui.tabs import TABS
from ui.texts import TEXTS, both, label, plain, say

VERSION = "0.1.0"

LOGO = (
    '<svg class="q-logo" viewBox="0 0 28 28" aria-hidden="true">'
    '<rect x="2" y="12" width="4" height="12" rx="2"/><rect x="9" y="4" width="4" height="20" '
    'rx="2"/><rect x="16" y="8" width="4" height="16" rx="2"/>'
    '<rect x="23" y="15" width="4" height="9" rx="2"/></svg>'
)
MOON = (
    '<svg viewBox="0 0 20 20" aria-hidden="true"><path fill="currentColor" '
    'd="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7Z"/></svg>'
)

# The worst first: what the pill says of several services.
PILLS: dict[State, tuple[str, str]] = {
    State.FAILED: ("bad", "shell.failed"),
    State.CLOSED: ("bad", "shell.failed"),
    State.DRAINING: ("wait", "shell.draining"),
    State.LOADING: ("wait", "shell.loading"),
    State.READY: ("ok", "shell.ready"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """
    What the frame hands to a page. `again` are the events at which whatever shows the services'
    state is read anew: the page was opened, or came back into view. `refresh` answers into
    `pill`, for after a request.
    """

    blocks: gr.Blocks
    pill: gr.HTML
    refresh: Callable[..., Awaitable[str]]
    again: tuple[Any, ...]


@contextmanager
def page(portal: Portal, current: str) -> Iterator[Page]:
    """
    A page inside the frame; `current` is "public" or "admin". Add components in the `with`.
    page.js presses hidden buttons with the ids `q-away` and `q-back` when the page is hidden and
    shown, counts the age of `[data-stamp]`, and blocks `.q-write` buttons while that is stale.
    """
    root = portal.settings.server.root_path.rstrip("/")
    blocks = Intake(
        title="Quartet", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True
    )
    with blocks:
        with gr.Row(elem_id="q-top", elem_classes="q-top"):
            html(_brand(portal), elem_id="q-brand")
            with gr.Row(elem_classes="q-tools"):
                pill = html(_pill(()), elem_id="q-ready")
                html(_switches(), elem_id="q-switches")
        if current == "public":
            html(_public_links(root), elem_id="q-pages")
        else:
            html(_admin_links(portal, root), elem_id="q-pages")
        # page.js presses it when the page comes back into view, and while something loads
        pressed = gr.Button(label("shell.ready"), visible="hidden", elem_id="q-again")
        again = (blocks.load, pressed.click)

        @guarded(portal)
        async def refresh(request: gr.Request) -> str:
            if current == "admin":
                require(portal, request, Role.VIEWER)
            return await readiness(portal)

        gr.on(again, refresh, None, pill, **QUIET)
        yield Page(blocks, pill, refresh, again)
        html(_footer(root), elem_id="q-foot")


async def readiness(portal: Portal) -> str:
    """The header's pill, as the services are now."""
    return _pill([await service.status() for service in portal.services.values()])


def _pill(statuses: "list[Status] | tuple[()]") -> str:
    """Ready when all are; partly ready when some are; else the worst of them."""
    if not statuses:
        return '<span class="q-pill wait" data-state="unknown"><i></i></span>'
    ready = [status for status in statuses if status.is_ready]
    order = list(PILLS)
    worst = min((status.state for status in statuses), key=order.index)
    tone, key = PILLS[worst]
    if ready and len(ready) < len(statuses):
        tone, key = "wait", "shell.partly"
    devices = ", ".join(dict.fromkeys(s.device for s in statuses if s.device))
    return (
        f'<span class="q-pill {tone}" data-state="{worst.value}" role="status">'
        f"<i></i>{say(key)}<em>{escape(devices)}</em></span>"
    )


def _brand(portal: Portal) -> str:
    return (
        f'<div class="q-brand">{LOGO}<h1 class="q-name">Quartet</h1>'
        f'<span class="q-tag">{_purpose(portal.families)}</span></div>'
    )


def _purpose(families: Mapping[str, object]) -> str:
    """What one can do here, from the tabs that are here."""
    verbs = [tab.verb for name, tab in TABS.items() if name in families]
    english = _joined([verb[0] for verb in verbs], ", ", " and ")
    chinese = _joined([verb[1] for verb in verbs], "、", "和")
    line = TEXTS["shell.purpose"]
    return both(
        line[0].format(verbs=english[:1].upper() + english[1:]), line[1].format(verbs=chinese)
    )


def _joined(words: list[str], comma: str, last: str) -> str:
    return last.join(filter(None, (comma.join(words[:-1]), *words[-1:])))


def _switches() -> str:
    dark = escape(plain("shell.dark"))
    return (
        '<div class="q-switches"><button type="button" class="q-btn" data-q="lang">'
        '<span class="l-en" lang="zh-CN">中文</span><span class="l-zh" lang="en">English</span>'
        '</button><button type="button" class="q-btn q-icon" data-q="theme" aria-pressed="false" '
        f'aria-label="{dark}" title="{dark}">{MOON}</button></div>'
    )


def _public_links(root: str) -> str:
    """Admin, at the far right of the tab bar; and the tabs' names for page.js."""
    name = escape(plain("shell.pages"))
    names = escape(json.dumps({tab: TEXTS[f"tab.{tab}"] for tab in TABS}, ensure_ascii=False))
    return (
        f'<nav class="q-pages beside" aria-label="{name}" data-tabs="{names}">'
        f'<a class="q-tab right" href="{escape(root)}/admin/">{say("shell.admin")}</a></nav>'
    )


def _admin_links(portal: Portal, root: str) -> str:
    """The whole tab bar, as links; Admin is where we are."""
    tabs = "".join(
        f'<a class="q-tab" href="{escape(root)}/?tab={escape(name)}">'
        f"{both(*portal.families[name].title)}</a>"
        for name in TABS
        if name in portal.families
    )
    name = escape(plain("shell.pages"))
    return (
        f'<nav class="q-pages whole" aria-label="{name}">{tabs}'
        f'<a class="q-tab right selected" aria-current="page" href="{escape(root)}/admin/">'
        f"{say('shell.admin')}</a></nav>"
    )


def _footer(root: str) -> str:
    return (
        f'<footer class="q-foot"><a href="{escape(root)}/docs">{say("shell.api")}</a>'
        f'<a href="{escape(root)}/metrics">{say("shell.metrics")}</a>'
        f"<span>Quartet {VERSION}</span></footer>"
    )
