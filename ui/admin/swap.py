"""
Swap a model: choose, review, give a reason, swap, read the receipt, undo.

Nothing is written before the last step, and that step tests again what the review saw. What is
drawn is in `receipts`; what a swap does is in `backends.ops.swap`.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backends.errors import NotFound, QuartetError
from backends.identity import Role
from backends.ops.cluster import Workload
from backends.ops.swap import Plan, Receipt, review, with_files
from backends.portal import Portal
from ui import shell
from ui.admin import receipts
from ui.admin.snapshot import Snapshot
from ui.draw import heading, html
from ui.guard import QUIET, guarded, principal, require
from ui.shell import Page
from ui.texts import TEXTS, label, plain, say

LONGEST_REASON = 200  # the audit cuts there


@dataclass(frozen=True, slots=True)
class Card:
    """The components. `plan` and `seen` are what this page's person last saw."""

    service: gr.Radio
    model: gr.Radio
    about: gr.HTML
    lack: gr.HTML
    review: gr.Button
    message: gr.HTML
    panel: gr.Column
    change: gr.HTML
    agreed: gr.Checkbox
    reason: gr.Textbox
    cancel: gr.Button
    apply: gr.Button
    last: gr.HTML
    undo: gr.Button
    plan: gr.State
    seen: gr.State

    def looked_at(self) -> list[Any]:
        """What `look` fills, in its order."""
        return [self.model, self.about, self.lack, self.review, self.last, self.undo, self.seen]

    def under_review(self) -> list[Any]:
        """
        Not the reason: the message on a field that is any event's output is wiped by the next
        event, so the page script empties it.
        """
        return [self.panel, self.change, self.agreed, self.plan]


IN_TURN: dict[str, Any] = {**QUIET, "concurrency_limit": 1, "concurrency_id": "swap-card"}
"""One after the other: a choice that is answered late must not close the review that followed."""

NOTHING_UNDER_REVIEW = (gr.update(visible=False), "", gr.update(visible=False, value=False), None)


def build(portal: Portal, snapshot: Snapshot, page: Page) -> tuple[Card, list[Any]]:
    """The card, wired, and the events that end a write. The caller runs `look` at the opening."""
    card = _components(portal)
    _wire_review(portal, snapshot, card)
    return card, _wire_writes(portal, snapshot, page, card)


def _components(portal: Portal) -> Card:
    names = list(portal.services)
    html(heading(say("admin.swap"), say("admin.swap_small")))
    service = gr.Radio(
        names, value=names[0], label=label("admin.service"), visible=len(names) > 1,
        elem_id="swap-service",
    )  # fmt: skip
    model = gr.Radio(_choices(portal, names[0]), label=label("admin.model"), elem_id="swap-model")
    about = html(elem_id="swap-about")
    lack = html(elem_id="swap-lack", elem_classes="q-slot")
    look = gr.Button(label("admin.review"), elem_id="swap-review")
    message = html(elem_id="swap-message", elem_classes="q-slot")
    with gr.Column(visible=False, elem_id="swap-panel") as panel:
        change = html()
        agreed = gr.Checkbox(label=label("admin.agreed"), visible=False, elem_id="swap-agreed")
        reason = gr.Textbox(
            label=label("admin.reason"), max_length=LONGEST_REASON, elem_id="swap-reason"
        )
        html(f'<p class="q-sub">{say("admin.goes_on")}</p>')
        with gr.Row():
            cancel = gr.Button(label("admin.cancel"), min_width=80, elem_id="swap-cancel")
            apply = gr.Button(
                label("admin.apply"), variant="stop", min_width=160, scale=2,
                elem_id="swap-apply", elem_classes="q-write",
            )  # fmt: skip
    last = html(elem_id="swap-last")
    undo = gr.Button(
        label("admin.undo"), visible=False, elem_id="swap-undo", elem_classes="q-write"
    )
    return Card(
        service, model, about, lack, look, message, panel, change, agreed, reason, cancel, apply,
        last, undo, plan=gr.State(None), seen=gr.State(0),
    )  # fmt: skip


def _choices(portal: Portal, service: str) -> list[tuple[str, str]]:
    models = portal.families[service].models.values()
    return [(model.title, model.name) for model in models if model.load is not None]


async def look(
    portal: Portal, snapshot: Snapshot, service: str, request: gr.Request
) -> tuple[Any, ...]:
    """The card as it is for this caller: what runs, what there is, what they may."""
    workload = await _workload(snapshot, service)
    record = workload.record
    may = principal(portal, request).may(Role.SWAPPER)
    choices = _choices(portal, service)
    chosen = record.model if record.model in (name for _, name in choices) else None
    return (
        gr.update(choices=choices, value=chosen),
        receipts.about(portal.families[service], chosen, workload, portal.settings.models),
        "" if may else receipts.lacks(Role.SWAPPER),
        gr.update(interactive=may),
        receipts.last(workload, portal.families[service]),
        gr.update(visible=bool(record.previous), interactive=may),
        record.revision,
    )


async def _workload(snapshot: Snapshot, service: str) -> Workload:
    view = await snapshot.view()
    found = next((w for w in view.workloads.value if w.ref.name == service), None)
    if found is None:
        english, chinese = TEXTS["admin.no_service"]
        raise NotFound(english.format(name=service), zh=chinese.format(name=service))
    return found


def _wire_review(portal: Portal, snapshot: Snapshot, card: Card) -> None:
    @guarded(portal)
    async def other_service(service: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.VIEWER)
        return *await look(portal, snapshot, service, request), *NOTHING_UNDER_REVIEW, ""

    @guarded(portal)
    async def other_model(service: str, model: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.VIEWER)
        workload = await _workload(snapshot, service)
        about = receipts.about(portal.families[service], model, workload, portal.settings.models)
        return about, *NOTHING_UNDER_REVIEW, ""

    @guarded(portal)
    async def review_change(service: str, model: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.SWAPPER)
        snapshot.forget()  # a plan is made from what is there now
        try:
            workload = await _workload(snapshot, service)
            plan = review(workload, model or "", portal.families)
            group = portal.settings.models
            plan = await asyncio.to_thread(with_files, plan, workload, portal.families, group)
        except QuartetError as error:  # stays beside the button; a toast would leave
            return *NOTHING_UNDER_REVIEW, receipts.refused(error)
        terms = gr.update(visible=plan.terms, value=False)
        return gr.update(visible=True), receipts.change(plan), terms, plan, ""

    @guarded(portal)
    async def cancel(request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.SWAPPER)
        return *NOTHING_UNDER_REVIEW, ""

    chosen, closed = [card.service, card.model], [*card.under_review(), card.message]
    card.service.input(other_service, card.service, [*card.looked_at(), *closed], **IN_TURN)
    card.model.input(other_model, chosen, [card.about, *closed], **IN_TURN)
    opened = card.review.click(review_change, chosen, closed, **IN_TURN)
    opened.then(None, js=_start_over("#swap-panel .q-change, #swap-message .q-note"))
    left = card.cancel.click(cancel, None, closed, **IN_TURN)
    left.then(None, js=_start_over("#swap-review"))


def _wire_writes(portal: Portal, snapshot: Snapshot, page: Page, card: Card) -> list[Any]:
    """Swap and undo. The swap itself goes on when its page leaves: see `Swaps.apply`."""

    def check(reason: str, *others: Any) -> list[Any]:
        fine = [gr.validate(True, "")] * len(others)
        return [gr.validate(_is_given(reason), plain("admin.reason_needed")), *fine]

    @guarded(portal)
    async def swap(
        reason: str, agreed: bool, service: str, plan: Plan | None, request: gr.Request
    ) -> tuple[Any, ...]:
        who = require(portal, request, Role.SWAPPER)
        if plan is None:
            return await shown(service, receipts.nothing_reviewed(), request)
        if plan.terms and not agreed:  # the review stays open: the box is in it
            return *[gr.skip()] * (len(everything) - 2), receipts.not_agreed(), gr.skip()
        asked = portal.swaps.apply(plan, reason=reason or "", who=who, agreed=bool(agreed))
        return await shown(service, await _ended(asked), request)

    @guarded(portal)
    async def undo(service: str, seen: int, request: gr.Request) -> tuple[Any, ...]:
        who = require(portal, request, Role.SWAPPER)
        workload = await _workload(snapshot, service)
        asked = portal.swaps.undo(workload.ref, seen=seen, who=who)
        return await shown(service, await _ended(asked), request)

    async def shown(service: str, message: str, request: gr.Request) -> tuple[Any, ...]:
        snapshot.forget()
        card_now = await look(portal, snapshot, service, request)
        return *card_now, *NOTHING_UNDER_REVIEW, message, await shell.readiness(portal)

    everything = [*card.looked_at(), *card.under_review(), card.message, page.pill]
    loud: dict[str, Any] = {**QUIET, "show_progress": "minimal"}
    written = [
        card.apply.click(
            swap,
            [card.reason, card.agreed, card.service, card.plan],
            everything,
            validator=check,
            **loud,
        ),
        card.undo.click(undo, [card.service, card.seen], everything, **loud),
    ]
    for event in written:
        event.then(None, js=_focus("#swap-message .q-note"))
    return written


async def _ended(asked: Coroutine[Any, Any, Receipt]) -> str:
    try:
        return receipts.receipt(await asked)
    except QuartetError as error:  # told beside the button, where it stays
        return receipts.refused(error)


def _is_given(reason: str | None) -> bool:
    return bool((reason or "").strip())


def _focus(selector: str) -> str:
    """Page script: the first of these that is there gets the focus."""
    return f"() => {{ setTimeout(() => document.querySelector('{selector}')?.focus(), 60); }}"


def _start_over(selector: str) -> str:
    """Page script: empty the reason of an earlier review, then the focus."""
    return (
        "() => { const reason = document.querySelector('#swap-reason textarea');"
        " if (reason) { reason.value = ''; reason.dispatchEvent(new Event('input')); }"
        f" ({_focus(selector)})(); }}"
    )
