"""
Passages through a model that is told in words what to do: prompts in, translations out.

What HY-MT here and a server elsewhere share: the languages, which wish is granted, the pieces of a
long text, HTML, the order in which parts are passed on, and what is said of the result. How a
prompt becomes an answer is the voice's own.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from backends.engines import Capabilities, Emit
from backends.engines.translate import (
    AUTO,
    Passage,
    Translation,
    check,
    markup,
    pieces,
    prompts,
    remarks,
    text,
    unused,
)
from backends.engines.translate.detect import SURE, detect
from backends.engines.translate.languages import chinese, name
from backends.engines.translate.prompts import Book
from backends.engines.translate.telling import Telling
from backends.errors import BadInput

UNKNOWN = "und"  # ISO 639: undetermined
SHARE = 4  # a piece takes this part of the longest answer: some languages need several times more
CONTEXT = 1024  # tokens of context that are told: its end
SPARE, TIMES = 64, 8  # an answer's longest length: so many tokens, and so many times its text's


@dataclass(frozen=True, slots=True)
class Prompt:
    """`tokens` is the length of the text in it. The same `seed` draws the same answer."""

    text: str
    tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """`is_cut`: the answer reached its longest length before it ended."""

    text: str
    is_cut: bool = False


def longest(book: Book, asked: Prompt) -> int:
    """How many tokens an answer may have: a model that goes on and on is stopped."""
    return min(book.most, SPARE + TIMES * asked.tokens)


Hear = Callable[[int, str, bool], bool]
"""`hear(number, added, ended)` of a prompt's answer; False: nobody listens to it any more."""


class Voice(Protocol):
    """A model that answers prompts."""

    title: str
    book: Book
    capabilities: Capabilities

    def length(self, text: str) -> int:
        """In tokens, from any thread."""
        ...

    def say(self, asked: Sequence[Prompt], hear: Hear) -> Sequence[Spoken]:
        """
        An answer for each prompt. `hear` is called in one thread at a time, at each token or
        more seldom, and a last time with `ended`; an answer that nobody hears may be unfinished.
        """
        ...


@dataclass(slots=True)
class _Work:
    """One passage on its way. `wish` is the one that its prompts grant."""

    passage: Passage
    confidence: float
    wish: str
    runs: list[text.Run]
    warnings: list[remarks.Said]
    telling: Telling = field(init=False)
    cut: int = 0
    kept: int = 0
    apart: int = 0


@dataclass(slots=True)
class _Piece:
    """A said run of a work: where it stands, and its tags where it is HTML with some."""

    work: _Work
    number: int
    source: str
    tags: markup.Numbered | None
    heard: str = ""

    @property
    def is_html(self) -> bool:
        return self.work.wish == "html"


def tokens(voice: Voice, passage: Passage) -> int:
    """The length of what is told for a passage, but for the words around it."""
    reads = passage.context and voice.capabilities.context
    context = min(CONTEXT, voice.length(passage.context)) if reads else 0
    return max(1, voice.length(passage.text) + context)


def translate(voice: Voice, batch: Sequence[Passage], emit: Emit) -> list[Translation]:
    """Every passage translated; parts go to `emit` as they come, each passage's in order."""
    works = [_prepared(voice, passage) for passage in batch]
    for index, work in enumerate(works):
        work.telling = Telling(work.runs, partial(emit, index))
        work.telling.pass_on()
    damaged = _say(voice, [piece for work in works for piece in _pieces(work)])
    _say_apart(voice, damaged)
    return [_translation(work) for work in works]


def _prepared(voice: Voice, asked: Passage) -> _Work:
    passage = check(asked)
    body = text.clean(passage.text)
    warnings = list(unused(passage, voice.capabilities, voice.title))
    source, confidence, said = _source(voice, passage, body)
    warnings += said
    passage = replace(passage, text=body, source=source)
    if source == passage.target:
        runs = [text.Run(body, is_said=False)]
        return _Work(passage, confidence, prompts.PLAIN, runs, [*warnings, remarks.already(source)])
    wish, left_out = prompts.granted(voice.book, passage)
    if left_out:
        warnings.append(remarks.one_wish(wish, left_out, voice.title))
    if wish == "context":
        passage, said = _with_context(voice, passage)
        warnings += said
    runs = _runs(voice, body, wish, passage.target)
    return _Work(passage, confidence, wish, runs, warnings)


def _runs(voice: Voice, body: str, wish: str, target: str) -> list[text.Run]:
    segments = markup.segments(body) if wish == "html" else [text.Run(body, is_said=True)]
    most = voice.book.most // SHARE
    runs: list[text.Run] = []
    for segment in segments:
        cut = pieces.cut(segment.text, most, voice.length) if segment.is_said else [segment]
        runs += pieces.jointed(cut, target)
    return runs


def _source(voice: Voice, passage: Passage, body: str) -> tuple[str, float, list[remarks.Said]]:
    """The source's code, its confidence, and what to say of it. The model needs none of it."""
    for code in (passage.source, passage.target):
        if code not in (*voice.capabilities.languages, AUTO):
            raise _unserved(code, voice, "target" if code == passage.target else "source")
    guess = detect(body, likely=voice.capabilities.languages)
    if passage.source != AUTO:
        other = guess and guess.code != passage.source and guess.confidence >= 0.9
        said = [remarks.looks_like(guess.code, passage.source)] if guess and other else []
        return passage.source, 1.0, said
    if guess is None:
        return UNKNOWN, 0.0, []
    if guess.confidence >= SURE and guess.code in voice.capabilities.languages:
        return guess.code, guess.confidence, []
    if guess.code == passage.target:  # unsure: what is in it already comes out as it was
        return UNKNOWN, 0.0, []
    return guess.code, guess.confidence, [remarks.guessed(guess.code, guess.confidence)]


def _with_context(voice: Voice, passage: Passage) -> tuple[Passage, list[remarks.Said]]:
    context = text.clean(passage.context)
    kept = context
    while (long := voice.length(kept)) > CONTEXT:
        kept = kept[-max(1, len(kept) * CONTEXT // (long + 1)) :]
    said = [remarks.context_cut(len(kept))] if kept != context else []
    return replace(passage, context=kept), said


def _pieces(work: _Work) -> list[_Piece]:
    found = []
    for number, run in enumerate(work.runs):
        if run.is_said:
            tagged = markup.numbered(run.text) if work.wish == "html" else None
            found.append(_Piece(work, number, run.text, tagged if tagged and tagged.tags else None))
    return found


def _prompt(voice: Voice, piece: _Piece) -> Prompt:
    passage, wish = piece.work.passage, piece.work.wish
    source = piece.source
    if piece.is_html:
        source = piece.tags.text if piece.tags else markup.numbered(source).text
        wish = wish if piece.tags else prompts.PLAIN
    told = prompts.render(voice.book, wish, passage, source)
    return Prompt(told, voice.length(source), zlib.crc32(told.encode()))


def _say(voice: Voice, asked: Sequence[_Piece]) -> list[_Piece]:
    """Say the pieces and pass them on; those whose tags did not come back are returned."""
    damaged: list[_Piece] = []

    def hear(number: int, added: str, ended: bool) -> bool:
        piece = asked[number]
        if piece.is_html:
            piece.heard += added
            if ended and not _end_html(piece):
                damaged.append(piece)
        else:
            piece.work.telling.add(piece.number, added)
            if ended:
                _end_plain(piece)
        return piece.work.telling.pass_on()

    spoken = voice.say([_prompt(voice, piece) for piece in asked], hear) if asked else ()
    for piece, answer in zip(asked, spoken, strict=True):
        piece.work.cut += answer.is_cut
    return damaged


def _end_plain(piece: _Piece) -> None:
    """After an answer without a word the text stays as it was."""
    telling = piece.work.telling
    telling.end(piece.number)
    if not telling.has_said(piece.number):
        piece.work.kept += 1
        telling.replace(piece.number, piece.source)


def _end_html(piece: _Piece) -> bool:
    """HTML is told when its tags are known to be whole; False: they are not."""
    made = _as_html(piece, piece.heard)
    if made is not None:
        piece.work.telling.replace(piece.number, made)
    return made is not None


def _as_html(piece: _Piece, said: str) -> str | None:
    if piece.tags is None:
        return markup.escaped(said.strip()) if said.strip() else piece.source
    return markup.restored(piece.tags, markup.answer_in(said))


def _say_apart(voice: Voice, damaged: Sequence[_Piece]) -> None:
    """The words between the tags, each by themselves: no tag is lost, and the words know less."""
    for piece in damaged:
        if piece.work.telling.left:
            continue
        piece.work.apart += 1
        runs = markup.between(piece.source)
        parts = [_Piece(piece.work, n, run.text, None) for n, run in enumerate(runs) if run.is_said]
        spoken = voice.say([_prompt(voice, p) for p in parts], partial(_only_asked, piece.work))
        made = [run.text for run in runs]
        for part, answer in zip(parts, spoken, strict=True):
            made[part.number] = _as_html(part, answer.text) or part.source
            piece.work.cut += answer.is_cut
        piece.work.telling.replace(piece.number, "".join(made))
        piece.work.telling.pass_on()


def _only_asked(work: _Work, _number: int, _added: str, _ended: bool) -> bool:
    return work.telling.pass_on()


def _translation(work: _Work) -> Translation:
    warnings = list(work.warnings)
    if work.apart:
        warnings.append(remarks.apart(work.apart))
    if work.kept:
        warnings.append(remarks.kept(work.kept))
    if work.cut:
        warnings.append(remarks.too_long(work.cut))
    spoke = any(run.is_said for run in work.runs)
    return Translation(
        text=work.telling.told,
        source=work.passage.source,
        target=work.passage.target,
        path=("neural",) if spoke else (),
        confidence=work.confidence,
        warnings=tuple(warnings),
    )


def _unserved(code: str, voice: Voice, field: str) -> BadInput:
    known = ", ".join(voice.capabilities.languages)
    return BadInput(
        f"{voice.title} does not know {name(code)}; it knows {known}.",
        zh=f"{voice.title} 不支持{chinese(code)}。",
        field=field,
    )
