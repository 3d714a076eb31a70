"""
HTML for a model that knows only `<s1>…</s1>`: tags become numbers, and come back as they were.

Pure. A tag and its end share a number; a tag without an end is an empty pair. What comes back
must hold every pair once, and well nested: else it is not accepted.
"""

import html
import re
from dataclasses import dataclass
from itertools import pairwise

from backends.engines.translate.spans import blocks
from backends.engines.translate.text import Run

_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z][\w:-]*)[^<>]*>")
_NUMBERED = re.compile(r"<(/?)s(\d+)>")
_ANSWER = re.compile(r"<target>(.*?)(?:</target>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Numbered:
    """`tags` are (start, end) by number, from 1; an end of "" is that of a tag without one."""

    text: str
    tags: tuple[tuple[str, str], ...]


def segments(text: str) -> list[Run]:
    """What lies between block tags, comments and scripts is said, tags within a line included."""
    edges = [0, *(edge for block in blocks(text) for edge in block), len(text)]
    runs = [Run(text[a:b], is_said=n % 2 == 0) for n, (a, b) in enumerate(pairwise(edges))]
    return [run for run in runs if run.text]


def numbered(text: str) -> Numbered:
    """The text with numbered tags and without entities."""
    found = list(_TAG.finditer(text))
    ends = _ends(found)
    numbers = {at: n for n, at in enumerate([at for at in range(len(found)) if at not in ends], 1)}
    made, last = [], 0
    for at, tag in enumerate(found):
        made.append(html.unescape(text[last : tag.start()]))
        start = ends.get(at)
        is_pair = at in ends.values()
        if start is not None:
            made.append(f"</s{numbers[start]}>")
        else:
            made.append(f"<s{numbers[at]}>" + ("" if is_pair else f"</s{numbers[at]}>"))
        last = tag.end()
    made.append(html.unescape(text[last:]))
    closing = {start: found[end][0] for end, start in ends.items()}
    tags = tuple((found[at][0], closing.get(at, "")) for at in numbers)
    return Numbered("".join(made), tags)


def restored(given: Numbered, answer: str) -> str | None:
    """The answer as HTML with its own tags; None when a tag was lost, doubled or crossed."""
    open_tags: list[int] = []
    seen: list[int] = []
    made, last = [], 0
    for tag in _NUMBERED.finditer(answer):
        number = int(tag[2])
        if not 1 <= number <= len(given.tags):
            return None
        if tag[1]:
            if not open_tags or open_tags.pop() != number:
                return None
        else:
            open_tags.append(number)
            seen.append(number)
        start, end = given.tags[number - 1]
        made += [escaped(answer[last : tag.start()]), end if tag[1] else start]
        last = tag.end()
    if open_tags or sorted(seen) != list(range(1, len(given.tags) + 1)):
        return None
    return "".join([*made, escaped(answer[last:])])


def answer_in(said: str) -> str:
    """What stands inside <target>; all of it where the model left that out."""
    found = _ANSWER.search(said)
    return (found[1] if found else said).strip()


def between(text: str) -> list[Run]:
    """The words between the tags as runs to be said, for when the numbers did not come back."""
    runs, last = [], 0
    for tag in _TAG.finditer(text):
        runs += [*_words(text[last : tag.start()]), Run(tag[0], is_said=False)]
        last = tag.end()
    return [run for run in [*runs, *_words(text[last:])] if run.text]


def escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _words(text: str) -> list[Run]:
    inner = text.strip()
    if not any(map(str.isalpha, inner)):
        return [Run(text, is_said=False)]
    start = text.index(inner)
    ends = (Run(text[:start], False), Run(inner, True), Run(text[start + len(inner) :], False))
    return list(ends)


def _ends(found: list[re.Match[str]]) -> dict[int, int]:
    """For each tag that ends another, which one it ends; only what is well nested."""
    ends: dict[int, int] = {}
    waiting: list[int] = []
    for at, tag in enumerate(found):
        if not tag["end"]:
            waiting.append(at)
            continue
        opener = next((n for n in reversed(waiting) if found[n]["name"] == tag["name"]), None)
        if opener is not None:
            del waiting[waiting.index(opener) :]
            ends[at] = opener
    return ends
