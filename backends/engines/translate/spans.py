"""
What must come out as it went in: addresses, placeholders, tags, code, emoji, sums of money.

Pure. A span found here is replaced by a word that a translator passes on untouched, and put back
afterwards; a translation that lost, doubled or reordered one is not accepted. `restore` after
`mask` is the identity. Which characters a certain translator cannot read is its own to say.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Span:
    """
    text[start:end] stays. `noun`: it stands for a word, as {name} does; else it is an ornament,
    such as a tag, which may fall off the sentence's ends.
    """

    start: int
    end: int
    noun: bool


# Stands for a span while the sentence is translated. Of 28 forms tried it is one of the four that
# came through every sentence in both directions; to Apertium it is an unknown word.
_MARK = re.compile(r"XQ(\d+)X")

_EMOJI = (
    r"\U0001F000-\U0001FAFF\u2600-\u27BF\u2B00-\u2BFF\uFE0E\uFE0F\u200D\u20E3"
    r"\U000E0020-\U000E007F"
)

# Where a repetition could start anywhere in a long word, a look-behind or a bound keeps the time
# in line with the length: 50,000 hostile characters must not hold the process.
_KEEP = re.compile(
    rf"""
    (?P<ornament>
        </?[A-Za-z][^<>]*>                          # tags
      | \]\([^()\s]*\) | !?\[(?=[^\[\]\n]+\]\()     # the two ends of a Markdown link
      | [{_EMOJI}]+
    )
  | (?P<noun>
        `[^`\n]+`
      | (?<![a-z0-9+.-])[a-z][a-z0-9+.-]{{0,20}}://[^\s<>"]*[^\s<>".,;:!?)\]}}'”’…]
      | www\.[^\s<>"]*[^\s<>".,;:!?)\]}}'”’…]
      | (?<![\w.+-])[\w.+-]{{1,64}}@[\w-]+(?:\.[\w-]+)+
      | \{{\{{[^{{}}\n]+\}}\}} | \$?\{{[^{{}}\n]{{0,60}}\}}
      | (?<![\d%])%(?:\(\w+\)|\d+\$)?[-+0\#]*\d*(?:\.\d+)?[sdifgGeExXcru@](?![A-Za-z])
      | (?<!\w)\w*(?:&(?:[A-Za-z][A-Za-z0-9]+|\#\d+|\#[xX][0-9A-Fa-f]+);\w*)+
      | (?<![\w/.~])(?:~|\.{{1,2}})?/[\w.-]+(?:/[\w.-]*)+ | \b[A-Za-z]:\\\S+
      | (?<!\w)[@\#]\w+
      | [£€¥₹]\s?\d[\d.,]*(?<=\d) | (?<![\d.,])\d[\d.,]*\s?[£€¥₹]
      | XQ\d+X
    )
    """,
    re.VERBOSE,
)

# What ends a sentence wherever it stands, and is never translated.
_BLOCK = re.compile(
    r"```|<!--|<(?P<raw>script|style|pre)\b"
    r"|</?(?:p|br|hr|div|li|ul|ol|h[1-6]|t[drh]|table|tbody|thead|section|article|body|html|head"
    r"|header|footer|nav|blockquote|title|option|select|form|dd|dt|dl)\b[^<>]*>",
    re.IGNORECASE,
)

NUMBERS = re.compile(r"\d+(?:[.,:/-]\d+)*")

# 3 p.m., 15:00, 15h, 15h30, 3 da tarde: the engine rightly writes one as another.
_CLOCK = re.compile(
    r"\b(\d{1,2})(?::(\d\d)(?!\d)|h(\d\d)?\b|(?=\s?[ap]\.?m\b)|(?=\s(?:da|de la|du)\s[mtn]))",
    re.IGNORECASE,
)


def blocks(text: str) -> list[tuple[int, int]]:
    """Fenced code, comments, scripts and block tags, in order. What never closes is no block."""
    lower = text.lower()
    unclosed: set[str] = set()
    found: list[tuple[int, int]] = []
    for match in _BLOCK.finditer(text):
        if found and match.start() < found[-1][1]:
            continue
        end = match.end()
        opener = match[0].lower()
        closer = {"```": "```", "<!--": "-->"}.get(opener, f"</{match['raw'] or ''}>".lower())
        if closer != "</>":
            at = -1 if closer in unclosed else lower.find(closer, end)
            if at < 0:
                unclosed.add(closer)
                continue
            end = at + len(closer)
        found.append((match.start(), end))
    return found


def find(text: str) -> list[Span]:
    """The spans that every translator must leave alone, in order, none touching another."""
    return merge(
        Span(*match.span(), noun=match["noun"] is not None) for match in _KEEP.finditer(text)
    )


def merge(spans: Iterable[Span]) -> list[Span]:
    """In order; those that touch or overlap become one, a noun if either was."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if merged and span.start <= merged[-1].end:
            last = merged.pop()
            span = Span(last.start, max(last.end, span.end), last.noun or span.noun)
        merged.append(span)
    return merged


def outside(text: str, spans: Sequence[Span]) -> list[str]:
    """The text between the spans, one part more than there are spans."""
    ends = [0, *(span.end for span in spans)]
    starts = [*(span.start for span in spans), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


@dataclass(frozen=True, slots=True)
class Masked:
    """
    `text` with a word in place of each of `kept`. `glued` says for each whether a space was put
    before and after it, because it touched a word there.
    """

    text: str
    kept: tuple[str, ...]
    glued: tuple[tuple[bool, bool], ...]
    nouns: tuple[bool, ...]


def mask(text: str, spans: Sequence[Span]) -> Masked:
    made: list[str] = []
    glued: list[tuple[bool, bool]] = []
    end = 0
    for number, span in enumerate(spans):
        before, after = text[: span.start][-1:], text[span.end :][:1]
        touches = (_is_word(before), _is_word(after))
        made += [text[end : span.start], " " * touches[0], f"XQ{number}X", " " * touches[1]]
        glued.append(touches)
        end = span.end
    return Masked(
        "".join([*made, text[end:]]),
        tuple(text[span.start : span.end] for span in spans),
        tuple(glued),
        tuple(span.noun for span in spans),
    )


def restore(masked: Masked, translated: str) -> str | None:
    """The translation with everything kept in its place; None when something was damaged."""
    found = list(_MARK.finditer(translated))
    order = [int(match[1]) for match in found]
    if sorted(order) != list(range(len(masked.kept))):
        return None
    ornaments = [number for number in order if not masked.nouns[number]]
    if ornaments != sorted(ornaments) or _bared(masked, translated):
        return None
    made, end, is_glued = "", 0, False
    for match, number in zip(found, order, strict=True):
        between = translated[end : match.start()]
        if between.endswith("*") and f"*{match[0]}" not in masked.text:
            between = between[:-1]  # Apertium's sign for a word that it does not know
        between = between.lstrip(" ") if is_glued else between
        made += between.rstrip(" ") if masked.glued[number][0] else between
        made += masked.kept[number]
        end, is_glued = match.end(), masked.glued[number][1]
    tail = translated[end:]
    return made + (tail.lstrip(" ") if is_glued else tail)


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


def _bared(masked: Masked, translated: str) -> bool:
    """Whether two ornaments that had words between them stand side by side: <b></b> word."""
    before = _between(masked, masked.text)
    return any(
        not words and before.get(pair) for pair, words in _between(masked, translated).items()
    )


def _between(masked: Masked, text: str) -> dict[tuple[int, int], bool]:
    """For each two neighbouring ornaments, whether there are words between them."""
    found = [match for match in _MARK.finditer(text) if not masked.nouns[int(match[1])]]
    return {
        (int(left[1]), int(right[1])): any(map(str.isalnum, text[left.end() : right.start()]))
        for left, right in pairwise(found)
    }


def numbers(text: str) -> list[str]:
    """The numbers in a masked text, without what languages write differently: signs, clocks."""
    bare = _CLOCK.sub(_hour, _MARK.sub(" ", text))
    return sorted(re.sub(r"\D", "", match) for match in NUMBERS.findall(bare))


def _hour(clock: re.Match[str]) -> str:
    return f"{int(clock[1]) % 12}{clock[2] or clock[3] or '00'}"
