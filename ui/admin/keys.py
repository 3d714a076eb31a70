"""
API keys on Admin: one is made and its secret shown once; one is revoked after a question.

What may be given and taken is decided in `backends.ops.permits`.
"""

from html import escape
from typing import Any

import gradio as gr

from backends.errors import QuartetError
from backends.identity import SCOPES, Key, Principal, Role
from backends.ops.permits import NewKey
from backends.portal import Portal
from ui.admin.confirm import NOT_ASKED, Question, focus, question, shown, told
from ui.admin.pane import Pane, refused
from ui.admin.snapshot import Snapshot, View
from ui.admin.table import SHOWN, button, moment, more, table
from ui.draw import Tone, chip, code_block, empty, heading, html, note
from ui.guard import QUIET, guarded, require
from ui.texts import label, refusal, say

ASK = "keys-ask"
HEADS = ("key", "tenant", "scopes", "made", "expires", "limits", "actions")
DEFAULT_DAYS = "90"
STATES: dict[str, tuple[Tone, str]] = {
    "revoked": ("bad", "admin.revoked"),
    "expired": ("mid", "admin.expired"),
}


def build(portal: Portal, snapshot: Snapshot) -> Pane:
    scopes = [each for each in SCOPES if ":" in each or each in portal.families]
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            form = Form(scopes)
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            html(heading(say("admin.keys"), say("admin.keys_small")))
            message = html(elem_id="keys-message", elem_classes="q-slot")
            asking = question("keys", message)
            lines = html(elem_id="keys-table")
    made = _wire_form(portal, snapshot, form)
    revoked = _wire_table(portal, snapshot, asking)
    return Pane(lines, draw, form.controls(), form.opened, (made, revoked))


def _wire_table(portal: Portal, snapshot: Snapshot, asking: Question) -> Any:
    @guarded(portal)
    async def ask_key(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        key = next((each for each in portal.permits.all_keys() if each.id == chosen), None)
        values = {"id": chosen or "", "name": key.name if key else "–"}
        return *shown(
            say("admin.revoke_title", **values), say("admin.revoke_sure"), chosen or ""
        ), ""

    @guarded(portal)
    async def keep_key(request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        return *NOT_ASKED, ""

    @guarded(portal)
    async def revoke_key(asked: str | None, request: gr.Request) -> tuple[Any, ...]:
        who = require(portal, request, Role.OPERATOR)
        if asked is None:
            return *NOT_ASKED, ""
        try:
            key = await portal.permits.revoke_key(asked, who)
        except QuartetError as error:
            return *NOT_ASKED, refused(error)
        snapshot.forget()
        return *NOT_ASKED, told("ok", say("admin.was_revoked", name=key.name))

    return asking.wire(ask_key, keep_key, revoke_key)


class Form:
    """The fields, in the order in which they stand."""

    def __init__(self, scopes: list[str]) -> None:
        self._scopes = scopes
        html(heading(say("admin.make_key")))
        self.lack = html(elem_id="keys-lack", elem_classes="q-slot")
        with gr.Row():
            self.name = gr.Textbox(
                label=label("admin.key_name"), max_length=64, min_width=140, elem_id="keys-name"
            )
            self.tenant = gr.Textbox(
                "default", label=label("admin.tenant"), max_length=64, min_width=140,
                elem_id="keys-tenant",
            )  # fmt: skip
        self.scopes = gr.CheckboxGroup(
            scopes, label=label("admin.scopes"), info=label("admin.scopes_info"),
            elem_id="keys-scopes",
        )  # fmt: skip
        with gr.Row():
            self.days = _number("admin.days", "keys-days", DEFAULT_DAYS)
            self.per_minute = _number("admin.per_minute", "keys-minute")
            self.per_day = _number("admin.per_day", "keys-day")
        html(f'<p class="q-sub">{say("admin.empty_is_none")}</p>')
        self.make = gr.Button(label("admin.make_key"), elem_id="keys-make", elem_classes="q-write")
        self.told = html(elem_id="keys-made", elem_classes="q-slot")

    def filled(self) -> list[Any]:
        return [self.name, self.tenant, self.scopes, self.days, self.per_minute, self.per_day]

    def controls(self) -> tuple[Any, ...]:
        """What `opened` fills, in its order."""
        return (self.lack, *self.filled(), self.make)

    def opened(self, who: Principal) -> tuple[Any, ...]:
        """The form as this person may use it: with the scopes that they hold."""
        may = who.may(Role.OPERATOR)
        mine = [each for each in self._scopes if ":" not in each]
        mine += [f"admin:{role.value}" for role in Role if who.may(role)]
        lack = "" if may else note("info", say("admin.lacks_to", role=Role.OPERATOR.value))
        usable = [gr.update(interactive=may) for _ in self.controls()[1:]]
        usable[2] = gr.update(interactive=may, choices=mine)
        return (lack, *usable)


def _number(key: str, name: str, value: str = "") -> gr.Textbox:
    """A number that may be left out, which Gradio's own field shows as 0."""
    attributes = gr.InputHTMLAttributes(autocomplete="off")
    return gr.Textbox(
        value, label=label(key), max_length=9, min_width=90, elem_id=name,
        html_attributes=attributes,
    )  # fmt: skip


def _wire_form(portal: Portal, snapshot: Snapshot, form: Form) -> Any:
    @guarded(portal)
    async def make_key(
        name: str,
        tenant: str,
        scopes: list[str],
        days: str,
        per_minute: str,
        per_day: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        who = require(portal, request, Role.OPERATOR)
        try:
            asked = NewKey(
                name or "", tenant or "", tuple(scopes or ()),
                *(_whole(given) for given in (days, per_minute, per_day)),
            )  # fmt: skip
            key, secret = await portal.permits.make_key(asked, who)
        except QuartetError as error:  # what was typed stays, to be mended
            return refused(error), gr.skip(), gr.skip()
        snapshot.forget()
        return _secret(key, secret), "", []

    outputs = [form.told, form.name, form.scopes]
    made = form.make.click(make_key, form.filled(), outputs, **QUIET)
    made.then(None, js=focus("#keys-made .q-note"))
    return made


def _whole(given: str | None) -> int | None:
    """What stands in a field of numbers; None where nothing does."""
    text = (given or "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise refusal("admin.no_number", "limits", given=text)
    return int(text)


def _secret(key: Key, secret: str) -> str:
    """The one time that it is shown."""
    told_once = told("ok", say("admin.key_made", name=key.name))
    return (
        f'<div class="q-secret">{told_once}{code_block("key", say("admin.secret"), secret)}</div>'
    )


def draw(view: View, who: Principal) -> str:
    """Every key, those that still open something first, as HTML."""
    if not view.keys:
        return empty(say("admin.no_keys"), say("admin.no_keys_hint"))
    rows = sorted(view.keys, key=lambda key: key.state(view.at) != "active")
    heads = [f"admin.{head}" for head in HEADS]
    return table("admin.keys", heads, (_row(key, view.at, who) for key in rows[:SHOWN])) + more(
        len(rows)
    )


def _row(key: Key, now: float, who: Principal) -> tuple[str, ...]:
    scopes = " ".join(chip("info", escape(each)) for each in sorted(key.scopes))
    return (
        f'<b>{escape(key.name)}</b><br><span class="mono">{escape(key.id)}</span>',
        escape(key.tenant),
        f'<div class="q-scopes">{scopes}</div>',
        moment(key.created),
        say("admin.never") if key.expires is None else moment(key.expires),
        _limits(key),
        _end(key, now, who),
    )


def _limits(key: Key) -> str:
    told = [
        say(f"admin.a_{per}", count=limit)
        for per, limit in (("minute", key.per_minute), ("day", key.per_day))
        if limit is not None
    ]
    return "<br>".join(told) or "–"


def _end(key: Key, now: float, who: Principal) -> str:
    state = key.state(now)
    if state in STATES:
        tone, text = STATES[state]
        return chip(tone, say(text))
    return f'<div class="q-acts">{button(who, Role.OPERATOR, "admin.revoke", ASK, key.id)}</div>'
