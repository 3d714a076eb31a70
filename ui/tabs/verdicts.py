"""
How verdicts are drawn. Pure.

A model whose probabilities are this picture's own gets a bar of three parts; one that only knows
how often it was right before gets one line in words, because a bar would claim more.
"""

from collections.abc import Iterable, Sequence
from html import escape

from backends.engines.entailment import LABELS, Claim, Evidence, Verdict
from backends.serving import Answer
from ui.draw import note, user_text
from ui.texts import TEXTS, both, say

TONES = {"yes": "ok", "maybe": "mid", "no": "bad"}
GROUPS = ("found", "checked", "unchecked", "note")


def draw_verdicts(
    claims: Sequence[Claim],
    answer: Answer,
    by: tuple[str, str],
    seconds: float,
    notes: Sequence[str],
) -> str:
    """`by` is who answered, in English and Chinese; `notes` are HTML: how the picture was read."""
    rows = "".join(_row(claim, verdict) for claim, verdict in zip(claims, answer, strict=True))
    count = say("entailment.count", count=len(claims))
    told = "".join(note("info", each) for each in notes)
    return (
        f'<div class="q-sum"><span>{count} <i>·</i> {both(*by)} <i>·</i> '
        f'<span class="mono">{seconds * 1e3:.0f} ms</span></span></div>{told}'
        f'<ul class="q-verdicts">{rows}</ul>{_measured(answer)}'
    )


def _row(claim: Claim, verdict: Verdict) -> str:
    chip = f'<span class="chip {TONES[verdict.label]}">{say(f"entailment.{verdict.label}")}</span>'
    return (
        f'<li class="vd" data-label="{verdict.label}"><div class="vd-top">{chip}'
        f"<strong>{user_text(claim.hypothesis)}</strong></div>"
        f"{_evidence(verdict.evidence)}{_own(verdict)}</li>"
    )


def _evidence(evidence: Sequence[Evidence]) -> str:
    """Large, in groups: what was found, what was checked, what nothing could check."""
    lines = []
    for group in GROUPS:
        said = [each for each in evidence if each.group == group]
        if said:
            texts = "".join(f"<span>{_said(each)}</span>" for each in said)
            lines.append(f'<dt>{say(f"entailment.{group}")}</dt><dd class="{group}">{texts}</dd>')
    return f'<dl class="vd-why">{"".join(lines)}</dl>' if lines else ""


def _said(evidence: Evidence) -> str:
    """The words alone of what was not checked: the group's name says the rest."""
    if evidence.group == "unchecked" and evidence.subject:
        return escape(evidence.subject)
    return both(evidence.en, evidence.zh)


def _own(verdict: Verdict) -> str:
    """This picture's own probabilities, if the model gives them."""
    if verdict.measured:
        return ""
    shares = _percent(verdict)
    parts = "".join(
        f'<i class="{tone}" style="width:{share}%"></i>'
        for tone, share in zip(("ok", "mid", "bad"), shares, strict=True)
    )
    words = say("entailment.own", yes=shares[0], maybe=shares[1], no=shares[2])
    return f'<div class="tri" aria-hidden="true">{parts}</div><p class="vd-rates">{words}</p>'


def _measured(verdicts: Iterable[Verdict]) -> str:
    """How often each answer that was given was right before, once each, under them all."""
    given = {verdict.label: _percent(verdict) for verdict in verdicts if verdict.measured}
    lines = [
        say(
            "entailment.measured",
            label=TEXTS[f"entailment.{label}"],
            yes=given[label][0],
            maybe=given[label][1],
            no=given[label][2],
        )
        for label in LABELS
        if label in given
    ]
    head = say("entailment.measured_before")
    return f'<p class="vd-rates">{head} {" ".join(lines)}</p>' if lines else ""


def _percent(verdict: Verdict) -> list[int]:
    return [round(100 * share) for share in verdict.probabilities]
