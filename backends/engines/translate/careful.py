"""
One step of a translation, done with care: what must stay is hidden, the answer is checked, and
what came back damaged is tried again in smaller parts.

Four ways, in order, each for the sentences that the one before failed: the whole sentence with
its spans hidden; its numbers hidden too; the words between the spans, each part by itself; the
sentence cut in halves as well. After these the sentence is left as it was, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backends.engines.translate import spans, text
from backends.engines.translate.spans import Span

Kind = str  # "neural" or "rules"

SHORT = 40  # characters: below it, the length of an answer says nothing
SHARE = 0.6  # of its source's length, less of which means that an answer was cut


@dataclass(frozen=True, slots=True)
class Step:
    """
    One translator from one language to another. `run` gives as many sentences as it takes;
    with `marks` it may put * before a word that it does not know. `unread` finds the words and
    signs that it cannot read.
    """

    source: str
    target: str
    kind: Kind
    run: Callable[[Sequence[str], bool], list[str]]
    unread: Callable[[str], list[Span]]


class Fate(StrEnum):
    WHOLE = "whole"
    APART = "apart"  # translated, but in parts that did not know of each other
    KEPT = "kept"  # not translated: the text is the source's


@dataclass(frozen=True, slots=True)
class Done:
    text: str
    fate: Fate


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to translate for one sentence, and how to make the sentence of it, or None."""

    parts: Sequence[str]
    made: Callable[[Sequence[str]], str | None]


def render(step: Step, sentences: Sequence[str], *, marks: bool) -> list[Done]:
    """Every sentence translated, or kept; as many as came, in their order."""
    done: dict[int, Done] = {}
    for plan, fate in _WAYS:
        left = [number for number in range(len(sentences)) if number not in done]
        plans = [plan(step, sentences[number]) for number in left]
        wanted = [part for each in plans for part in each.parts]
        answers = iter(step.run(wanted, marks) if wanted else ())
        for number, each in zip(left, plans, strict=True):
            made = each.made([next(answers) for _ in each.parts])
            if made is not None:
                done[number] = Done(made, fate)
    return [done.get(n, Done(sentence, Fate.KEPT)) for n, sentence in enumerate(sentences)]


def is_sound(source: str, answer: str) -> bool:
    """Whether an answer's length is one that a translation can have."""
    if not answer.strip():
        return False
    return len(source) < SHORT or SHARE * len(source) <= len(answer) <= 3 * len(source)


def _kept(step: Step, sentence: str) -> list[Span]:
    return spans.merge([*spans.find(sentence), *step.unread(sentence)])


def _whole(step: Step, sentence: str) -> _Plan:
    return _hidden(sentence, _kept(step, sentence))


def _numbered(step: Step, sentence: str) -> _Plan:
    found = [Span(*match.span(), noun=True) for match in spans.NUMBERS.finditer(sentence)]
    return _hidden(sentence, spans.merge([*_kept(step, sentence), *found]))


def _hidden(sentence: str, kept: Sequence[Span]) -> _Plan:
    masked = spans.mask(sentence, kept)
    had = spans.numbers(masked.text)

    def made(answers: Sequence[str]) -> str | None:
        has = spans.numbers(answers[0])
        lost = [number for number in had if had.count(number) > has.count(number)]
        if lost or not is_sound(masked.text, answers[0]):
            return None
        return spans.restore(masked, answers[0])

    return _Plan([masked.text], made)


def _parts(step: Step, sentence: str) -> _Plan:
    return _apart(_fragments(step, sentence))


def _halved(step: Step, sentence: str) -> _Plan:
    pieces: list[text.Run] = []
    for half in text.halves(sentence):
        pieces += _fragments(step, half.text) if half.is_said else [half]
    return _apart(pieces)


def _fragments(step: Step, sentence: str) -> list[text.Run]:
    """The sentence as runs: what lies between the spans is said where it has a letter."""
    kept = _kept(step, sentence)
    runs: list[text.Run] = []
    for number, words in enumerate(spans.outside(sentence, kept)):
        is_said = any(map(str.isalpha, words))
        at = next((n for n, c in enumerate(words) if c.isalnum()), 0) if is_said else len(words)
        end = len(words.rstrip())
        runs.append(text.Run(words[:at], is_said=False))
        if is_said:
            runs.append(text.Run(words[at:end], is_said=True))
            runs.append(text.Run(words[end:], is_said=False))
        if number < len(kept):
            span = kept[number]
            runs.append(text.Run(sentence[span.start : span.end], is_said=False))
    return runs


def _apart(runs: Sequence[text.Run]) -> _Plan:
    parts = [run.text for run in runs if run.is_said]

    def made(answers: Sequence[str]) -> str | None:
        if not all(map(is_sound, parts, answers)):
            return None
        translated = iter(answers)
        return "".join(next(translated) if run.is_said else run.text for run in runs)

    return _Plan(parts, made)


_WAYS: tuple[tuple[Callable[[Step, str], _Plan], Fate], ...] = (
    (_whole, Fate.WHOLE),
    (_numbered, Fate.WHOLE),
    (_parts, Fate.APART),
    (_halved, Fate.APART),
)
