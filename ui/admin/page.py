"""
The Admin page: what runs here, a swap, the audit, jobs, keys, accounts, behind sign-in and roles.

Everything it shows comes from one shared snapshot; every handler asks for its role first.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from backends.identity import Principal, Role
from backends.portal import Portal
from ui import shell
from ui.admin import accounts, fleet, history, jobs, keys, swap
from ui.admin.pane import Pane
from ui.admin.snapshot import Snapshot, View
from ui.draw import heading, html
from ui.guard import QUIET, guarded, require
from ui.texts import label, say


@dataclass(frozen=True, slots=True)
class Screen:
    """The components that handlers of this module read or fill."""

    who: gr.HTML
    every: gr.Radio
    tick: gr.Timer
    shown: list[Any]
    stop: gr.Button
    card: swap.Card
    panes: list[Pane]
    written: list[Any]


def build(portal: Portal) -> gr.Blocks:
    snapshot = Snapshot(portal)
    with shell.page(portal, "admin") as page:
        _wire(portal, snapshot, page, _layout(portal, snapshot, page))
    return page.blocks


def _layout(portal: Portal, snapshot: Snapshot, page: shell.Page) -> Screen:
    with gr.Row(elem_classes="q-bar"):
        stamp = html(elem_id="q-stamp")
        who = html(elem_id="q-who")
        every = gr.Radio(
            [(label(f"admin.every_{seconds}"), seconds) for seconds in fleet.EVERY],
            value=fleet.DEFAULT_EVERY,
            label=label("admin.every"),
            elem_classes="q-seg",
            elem_id="q-every",
        )
    overview = html(elem_id="q-overview")
    stop = gr.Button(label("admin.stop"), visible=False, elem_id="q-stop", elem_classes="q-write")
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            card, written = swap.build(portal, snapshot, page)
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            html(heading(say("admin.history"), history.download(portal.settings.server.root_path)))
            chain = html(elem_id="q-chain")
            lines = html(elem_id="q-history")
    panes = [jobs.build(portal, portal.oversight, snapshot)] if portal.oversight else []
    panes += [keys.build(portal, snapshot), accounts.build(portal, snapshot)]
    shown = [stamp, overview, stop, chain, lines, *(pane.table for pane in panes)]
    written += [event for pane in panes for event in pane.written]
    return Screen(who, every, gr.Timer(fleet.DEFAULT_EVERY), shown, stop, card, panes, written)


def _wire(portal: Portal, snapshot: Snapshot, page: shell.Page, screen: Screen) -> None:
    panes = screen.panes

    @guarded(portal)
    async def opened(service: str, seconds: int, request: gr.Request) -> tuple[Any, ...]:
        caller = require(portal, request, Role.VIEWER)
        looked = await swap.look(portal, snapshot, service, request)
        usable = [update for pane in panes for update in pane.opened(caller)]
        return signed_in(portal, caller), *looked, *usable, *await drawn(caller, seconds)

    @guarded(portal)
    async def refresh(seconds: int, request: gr.Request) -> tuple[Any, ...]:
        caller = require(portal, request, Role.VIEWER)
        return await drawn(caller, seconds)

    @guarded(portal)
    async def pace(seconds: int, request: gr.Request) -> tuple[Any, ...]:
        caller = require(portal, request, Role.VIEWER)
        timer = gr.Timer(max(1, seconds), active=seconds > 0)
        return timer, *await drawn(caller, seconds)

    @guarded(portal)
    async def rest(request: gr.Request) -> Any:
        require(portal, request, Role.VIEWER)
        return gr.Timer(active=False)

    async def drawn(who: Principal, seconds: int) -> tuple[Any, ...]:
        view = await snapshot.view()
        return *draw(view, seconds, who), *(pane.draw(view, who) for pane in panes)

    every, tick, shown, card = screen.every, screen.tick, screen.shown, screen.card
    usable = [control for pane in panes for control in pane.controls]
    first = [screen.who, *card.looked_at(), *usable, *shown]
    page.blocks.load(opened, [card.service, every], first, **QUIET)
    tick.tick(refresh, every, shown, **QUIET)
    for event in screen.written:
        event.then(refresh, every, shown, **QUIET)
    every.input(pace, every, [tick, *shown], **QUIET)
    _wire_stop(portal, snapshot, screen, drawn)
    # page.js presses these when the page is hidden and when it comes back
    away = gr.Button(label("admin.every"), visible="hidden", elem_id="q-away")
    back = gr.Button(label("admin.every"), visible="hidden", elem_id="q-back")
    away.click(rest, None, tick, **QUIET)
    back.click(pace, every, [tick, *shown], **QUIET)


def _wire_stop(
    portal: Portal,
    snapshot: Snapshot,
    screen: Screen,
    drawn: Callable[[Principal, int], Awaitable[tuple[Any, ...]]],
) -> None:
    @guarded(portal)
    async def stop(seconds: int, request: gr.Request) -> tuple[Any, ...]:
        caller = require(portal, request, Role.SWAPPER)
        for workload in (await snapshot.view()).workloads.value:
            if workload.loading:
                await portal.swaps.stop(workload.ref, who=caller)
        snapshot.forget()
        return await drawn(caller, seconds)

    screen.stop.click(stop, screen.every, screen.shown, **QUIET)


def draw(view: View, every: int, who: Principal) -> tuple[Any, ...]:
    fetching = any(w.progress.stage == "downloading" for w in view.workloads.value)
    return (
        fleet.stamp(view, every),
        fleet.overview(view),
        gr.update(visible=fetching and who.may(Role.SWAPPER)),
        history.state(view.chain),
        history.table(view.lines),
    )


def signed_in(portal: Portal, who: Principal) -> str:
    """Who is signed in, with which roles, and the way out: a plain form, no handler."""
    root = escape(portal.settings.server.root_path.rstrip("/"))
    roles = ", ".join(sorted(who.roles))
    return (
        f'<form class="q-who" method="post" action="{root}/admin/sign-out">'
        f"<span>{say('admin.signed_in', name=who.subject, roles=roles)}</span>"
        f'<button type="submit" class="q-btn">{say("admin.sign_out")}</button></form>'
    )
