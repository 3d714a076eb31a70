"""
Accounts on Admin: who may sign in; one is added, one is removed after a question.

What may be given and taken is decided in `backends.ops.permits`.
"""

from html import escape
from typing import Any

import gradio as gr

from backends.errors import QuartetError
from backends.identity import Account, Principal, Role
from backends.portal import Portal
from ui.admin.confirm import NOT_ASKED, Question, focus, question, shown, told
from ui.admin.pane import Pane, refused
from ui.admin.snapshot import Snapshot, View
from ui.admin.table import button, table
from ui.draw import chip, empty, heading, html, note
from ui.guard import QUIET, guarded, require
from ui.texts import label, say

ASK = "accounts-ask"
HEADS = ("admin.account", "admin.roles", "admin.actions")
ENDED = "() => { if (document.querySelector('#accounts-made .q-ended')) location.reload(); }"


def build(portal: Portal, snapshot: Snapshot) -> Pane:
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="q-panel"):
            form = Form()
        with gr.Column(scale=7, min_width=320, elem_classes="q-panel"):
            html(heading(say("admin.accounts"), say("admin.accounts_small")))
            message = html(elem_id="accounts-message", elem_classes="q-slot")
            asking = question("accounts", message)
            lines = html(elem_id="accounts-table")
    added = _wire_form(portal, snapshot, form)
    removed = _wire_table(portal, snapshot, asking)
    return Pane(lines, draw, form.controls(), opened, (added, removed))


def _wire_table(portal: Portal, snapshot: Snapshot, asking: Question) -> Any:
    @guarded(portal)
    async def ask_account(chosen: str, request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        values = {"name": chosen or ""}
        return *shown(
            say("admin.remove_title", **values), say("admin.remove_sure", **values), chosen or ""
        ), ""

    @guarded(portal)
    async def keep_account(request: gr.Request) -> tuple[Any, ...]:
        require(portal, request, Role.OPERATOR)
        return *NOT_ASKED, ""

    @guarded(portal)
    async def remove_account(asked: str | None, request: gr.Request) -> tuple[Any, ...]:
        who = require(portal, request, Role.OPERATOR)
        if asked is None:
            return *NOT_ASKED, ""
        try:
            await portal.permits.remove_account(asked, who)
        except QuartetError as error:
            return *NOT_ASKED, refused(error)
        snapshot.forget()
        return *NOT_ASKED, told("ok", say("admin.was_removed", name=asked))

    return asking.wire(ask_account, keep_account, remove_account)


class Form:
    """The fields, in the order in which they stand."""

    def __init__(self) -> None:
        html(heading(say("admin.add_account")))
        self.lack = html(elem_id="accounts-lack", elem_classes="q-slot")
        self.name = gr.Textbox(
            label=label("admin.name"), max_length=64, elem_id="accounts-name",
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
        )  # fmt: skip
        self.password = gr.Textbox(
            label=label("admin.password"), type="password", elem_id="accounts-password",
            html_attributes=gr.InputHTMLAttributes(autocomplete="new-password"),
        )  # fmt: skip
        self.roles = gr.CheckboxGroup(
            [role.value for role in Role], value=[Role.VIEWER.value], label=label("admin.roles"),
            info=label("admin.roles_info"), elem_id="accounts-roles",
        )  # fmt: skip
        self.add = gr.Button(
            label("admin.add_account"), elem_id="accounts-add", elem_classes="q-write"
        )
        self.told = html(elem_id="accounts-made", elem_classes="q-slot")

    def filled(self) -> list[Any]:
        return [self.name, self.password, self.roles]

    def controls(self) -> tuple[Any, ...]:
        """What `opened` fills, in its order."""
        return (self.lack, *self.filled(), self.add)


def opened(who: Principal) -> tuple[Any, ...]:
    """The form as this person may use it: with the roles that they hold."""
    may = who.may(Role.OPERATOR)
    mine = [role.value for role in Role if who.may(role)]
    by_token = who.method == "token"
    if not may:
        notice = note("info", say("admin.lacks_to", role=Role.OPERATOR.value))
    else:
        notice = note("mid", say("admin.token_ends")) if by_token else ""
    chosen = mine if by_token else [Role.VIEWER.value]
    return (
        notice,
        gr.update(interactive=may),
        gr.update(interactive=may),
        gr.update(interactive=may, choices=mine, value=chosen),
        gr.update(interactive=may),
    )


def _wire_form(portal: Portal, snapshot: Snapshot, form: Form) -> Any:
    @guarded(portal)
    async def add_account(
        name: str, password: str, roles: list[str], request: gr.Request
    ) -> tuple[Any, ...]:
        who = require(portal, request, Role.OPERATOR)
        try:
            made = await portal.permits.add_account(name or "", password or "", roles or (), who)
        except QuartetError as error:  # what was typed stays, to be mended
            return refused(error), gr.skip(), gr.skip(), gr.skip()
        snapshot.forget()
        done = told("ok", say("admin.was_added", name=made.name))
        if who.method == "token":  # it has just ended: page script goes to the sign-in
            done += '<span class="q-ended"></span>'
        return done, "", "", [Role.VIEWER.value]

    added = form.add.click(add_account, form.filled(), [form.told, *form.filled()], **QUIET)
    added.then(None, js=ENDED)
    added.then(None, js=focus("#accounts-made .q-note"))
    return added


def draw(view: View, who: Principal) -> str:
    """Every account, as HTML."""
    if not view.accounts:
        return empty(say("admin.no_accounts"), say("admin.no_accounts_hint"))
    return table("admin.accounts", HEADS, (_row(account, who) for account in view.accounts))


def _row(account: Account, who: Principal) -> tuple[str, ...]:
    you = f" {chip('info', say('admin.you'))}" if _is(account, who) else ""
    roles = " ".join(chip("info", escape(role)) for role in sorted(account.roles))
    remove = button(who, Role.OPERATOR, "admin.remove", ASK, account.name)
    return (
        f"<b>{escape(account.name)}</b>{you}",
        roles,
        "" if _is(account, who) else f'<div class="q-acts">{remove}</div>',
    )


def _is(account: Account, who: Principal) -> bool:
    return who.method == "account" and who.subject == account.name
