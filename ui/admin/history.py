"""The audit on Admin: newest first, and whether its chain of hashes is intact. Pure."""

from collections.abc import Sequence
from html import escape

from backends.ops.audit import INTENT, RECOVERED, Chain, Line
from ui.draw import Tone, chip, empty, user_text
from ui.texts import plain, say

# how an outcome begins: tone and word
OUTCOMES: dict[str, tuple[Tone, str]] = {
    "done": ("ok", "admin.done"),
    "undone": ("mid", "admin.undone"),
    "refused": ("mid", "admin.refused"),
    "failed": ("bad", "admin.failed_change"),
    "interrupted": ("mid", "admin.interrupted"),
}


def state(chain: Chain) -> str:
    """Intact or where it breaks, as HTML."""
    if chain.is_intact:
        return chip("ok", say("admin.chain_intact", count=chain.lines))
    return chip("bad", say("admin.chain_broken", line=chain.broken, why=chain.why))


def download(root: str) -> str:
    """The link to the whole file, as HTML: a plain route, which asks for the role itself."""
    address = escape(f"{root.rstrip('/')}/v1/admin/audit.jsonl")
    return f'<a href="{address}" download>{say("admin.download")}</a>'


def table(lines: Sequence[Line]) -> str:
    """One row a change; `lines` are newest first."""
    answered = {line.change for line in lines if line.event != INTENT}
    rows = [_row(line) for line in lines if line.event != INTENT or line.change not in answered]
    if not rows:
        return empty(say("admin.no_history"), say("admin.no_history_hint"))
    heads = "".join(
        f'<th scope="col">{say(f"admin.{key}")}</th>'
        for key in ("time", "outcome", "object", "change")
    )
    name = plain("admin.history")
    return (
        f'<div class="q-tablewrap" tabindex="0" role="region" aria-label="{name}">'
        f'<table class="q-ev"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(line: Line) -> str:
    word, _, why = line.outcome.partition(": ")
    tone, key = OUTCOMES.get(word, ("info", "admin.under_way"))
    if line.event == RECOVERED:
        tone, key = "mid", "admin.recovered"
    date, _, clock = line.time.partition("T")
    return (
        f'<tr><td class="mono"><time datetime="{escape(line.time)}" title="{escape(date)}">'
        f"{escape(date[5:])} {escape(clock[:8])}</time></td><td>{chip(tone, say(key))}</td>"
        f'<td class="mono">{escape(line.object)}</td><td>{_story(line)}{_because(why)}</td></tr>'
    )


def _story(line: Line) -> str:
    """From what to what, by whom, and the reason that they gave."""
    if line.event == RECOVERED:
        return escape(line.reason)
    who = say("admin.by", user=line.user, role=line.role)
    why = f"<br>{user_text(line.reason)}" if line.reason else ""
    return f"<b>{escape(line.before)} → {escape(line.after)}</b> {who}{why}"


def _because(why: str) -> str:
    return f"<br><em>{escape(why)}</em>" if why else ""
