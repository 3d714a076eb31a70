"""The Entail tab without a browser: what is wrong with its inputs, and how verdicts are drawn."""

import re
from pathlib import Path

import pytest

from backends.engines.entailment import Claim, Evidence, Verdict
from backends.engines.picture import Picture
from backends.serving import Answer
from backends.serving.wire.entailment import LONGEST
from backends.settings import Limits
from ui.tabs.entailment import read_statements, wrong
from ui.tabs.samples import entailment_samples
from ui.tabs.verdicts import draw_verdicts

STYLE = (Path(__file__).parents[2] / "ui" / "style.css").read_text(encoding="utf-8")
CLAIM = Claim(Picture(1, 1, b"\0\0\0"), "A cat <sleeps>.")


def drawn(*verdicts: Verdict) -> str:
    answer = Answer(verdicts, model="m", revision=1, tokens=1, queued=0.0, ran=0.0)
    return draw_verdicts([CLAIM] * len(verdicts), answer, ("OFA-large", "OFA-large"), 0.25, [])


def test_probabilities_of_this_picture_are_a_bar_of_three_beside_the_models_name() -> None:
    page = drawn(Verdict("maybe", (0.25, 0.6, 0.15)))
    assert re.findall(r'<i class="(\w+)" style="width:(\d+)%">', page) == [
        ("ok", "25"),
        ("mid", "60"),
        ("bad", "15"),
    ]
    assert "Yes 25%, Maybe 60%, No 15%" in page
    assert "OFA-large" in page
    assert "A cat &lt;sleeps&gt;." in page
    assert "Measured before" not in page
    assert "<dl" not in page  # nothing to list is no list


def test_probabilities_that_are_not_this_pictures_get_no_bar() -> None:
    page = drawn(Verdict("yes", (0.9, 0.05, 0.05), (Evidence("found", "a cat", "猫"),), True))
    assert 'class="tri"' not in page
    assert "Measured before" in page
    assert "<dl" in page


def test_what_was_not_checked_is_said_once() -> None:
    left = Evidence("unchecked", "not checked: for, its", "未检查：for, its", "for, its")
    page = drawn(Verdict("maybe", (0.2, 0.6, 0.2), (left,), True))
    assert "Not checked" in page
    assert "<span>for, its</span>" in page
    assert "not checked" not in page


def test_every_colour_that_the_style_uses_is_defined() -> None:
    used = set(re.findall(r"var\((--q-[\w-]+)", STYLE))
    assert len(used) > 10
    assert not used - set(re.findall(r"(--q-[\w-]+):", STYLE))


@pytest.mark.parametrize(
    ("image", "statements", "premise", "field"),
    [
        (None, "A cat.", "", "image"),
        ("p.png", "\n \0\n", "", "statements"),
        ("p.png", "A cat.\n" * 21, "", "statements"),
        ("p.png", "x" * (LONGEST + 1), "", "statements"),
        ("p.png", "A cat.", "x" * (LONGEST + 1), "premise"),
    ],
)
def test_each_fault_names_its_field(
    image: str | None, statements: str, premise: str, field: str
) -> None:
    (fault,) = wrong(image, statements, premise, Limits())
    assert fault.field == field
    assert fault.zh


def test_inputs_at_their_limits_are_fine() -> None:
    assert not list(wrong("p.png", "x" * LONGEST, "y" * LONGEST, Limits()))
    assert read_statements("a\n\n \0b\ud800 ") == ["a", "b"]


def test_the_code_sample_sends_the_premise_too() -> None:
    made = entailment_samples("http://here", ["It's a cat."], "There's a sofa.")
    assert """--form-string 'premise=There'"'"'s a sofa.'""" in made.curl
    assert '"premise": "There\'s a sofa."' in made.python
    assert "premise" not in entailment_samples("http://here", ["A cat."]).curl
