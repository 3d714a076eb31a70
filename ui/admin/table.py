"""What the panes of Admin draw: a table, a row's button, a time, a span of time. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from backends.identity import Principal, Role
from ui.texts import plain, say

SHOWN = 50  # rows of a pane; the rest is at /v1/admin


def table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """
    `heads` are keys of texts, one a column; cells are HTML. On a phone a row is a card, where
    each cell says its column itself.
    """
    top = "".join(f'<th scope="col">{say(head)}</th>' for head in heads)
    body = "".join(f"<tr>{_cells(heads, row)}</tr>" for row in rows)
    return (
        f'<div class="q-tablewrap" tabindex="0" role="region" aria-label="{plain(name)}">'
        f'<table class="q-ev q-cards"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(heads: Sequence[str], row: Sequence[str]) -> str:
    return "".join(
        f'<td{_idle(cell)}><span class="q-col" aria-hidden="true">{say(head)}</span>'
        f"<div>{cell}</div></td>"
        for head, cell in zip(heads, row, strict=True)
    )


def _idle(cell: str) -> str:
    """A card leaves out what is not so."""
    return ' class="none"' if cell in ("", "–") else ""


def button(who: Principal, role: Role, key: str, ask: str, value: str) -> str:
    """
    A row's button: page.js presses the hidden button `ask` with this value. Off, and saying
    why, for who lacks the role.
    """
    if who.may(role):
        off = ""
    else:
        off = f' disabled title="{escape(plain("admin.needs", role=role.value))}"'
    return (
        f'<button type="button" class="q-btn q-row q-write" data-ask="{escape(ask)}" '
        f'data-value="{escape(value)}"{off}>{say(key)}</button>'
    )


def moment(seconds: float | None) -> str:
    """A date; its time of day beside the pointer."""
    if seconds is None:
        return "–"
    when = datetime.fromtimestamp(seconds, UTC)
    full = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f'<time class="mono" datetime="{when:%Y-%m-%dT%H:%M:%SZ}" title="{full}">'
        f"{when:%Y-%m-%d}</time>"
    )


def span(seconds: float) -> str:
    """ "850 ms", "12 s", "3 min", "2 h": as much as one wants to know of it."""
    if seconds < 1:
        return f"{max(0.0, 1000 * seconds):.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def more(found: int) -> str:
    """That there are more than are shown."""
    if found <= SHOWN:
        return ""
    return f'<p class="q-sub">{say("admin.more", shown=SHOWN, found=found)}</p>'
