"""
The embedded entailment engine: objects, faces and colours, and rules over them.

No vision-language model: it looks for what a statement names, and says what it could not check.
One look serves every statement about a picture. The three probabilities are measured rates of
the three answers, the same for every picture. English only; a premise is not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backends.engines import Emit
from backends.engines.e5 import E5
from backends.engines.entailment import LABELS, PREMISE_UNUSED, Claim, Label, Verdict
from backends.engines.entailment.colours import Colours, colours_of
from backends.engines.entailment.nouns import Noun, NounTable
from backends.engines.entailment.rules import Look, judge
from backends.engines.entailment.sentence import read_sentence
from backends.engines.faces import Face, shared_finder
from backends.engines.fitted import fitted
from backends.engines.lite0 import Floats
from backends.engines.objects import Objects, bridge
from backends.engines.picture import Picture
from backends.engines.recent import Recent
from backends.errors import BadInput

LOOK_TOKENS = 48  # a statement's share of the look: most pictures come with several statements
_TOKENS_PER_WORD = 6
_MOST_WORDS = 100
_PICTURES = 64  # looks remembered, 4 kB each
_NOUNS = 1024  # nouns remembered, 4 kB each
_FACE = 0.004  # least share of the picture that a face has, to count


class Finder(Protocol):
    def find(self, picture: NDArray[np.uint8]) -> Sequence[Face]: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that is kept of a picture."""

    classes: Floats
    faces: int
    colours: Colours


class ObjectsAndFaces:
    """Everything loaded. Any number of threads may ask."""

    model = "objects-and-faces"

    def __init__(self, faces: Finder | None = None) -> None:
        self._e5: E5 | None = E5()
        self._objects = Objects()
        self._faces = faces or shared_finder()
        self._table = NounTable()
        self._rates = {label: _rates(label) for label in LABELS}
        self._pictures: Recent[bytes, _Seen] = Recent(_PICTURES)
        self._nouns: Recent[str, Floats] = Recent(_NOUNS)

    def tokens(self, item: Claim) -> int:
        """The words, and the look where it is still to be taken."""
        words = _checked(item.hypothesis)
        look = 0 if item.picture.digest in self._pictures else LOOK_TOKENS
        return look + _TOKENS_PER_WORD * words

    def run(self, batch: Sequence[Claim], emit: Emit) -> Sequence[Verdict]:
        for claim in batch:
            _checked(claim.hypothesis)
        seen = {claim.picture.digest: self._see(claim.picture) for claim in batch}
        return [self._answer(claim, seen[claim.picture.digest]) for claim in batch]

    def close(self) -> None:
        self._e5 = None
        self._pictures.clear()
        self._nouns.clear()

    def _answer(self, claim: Claim, seen: _Seen) -> Verdict:
        look = Look(
            presence=partial(self._presence, seen.classes),
            greatest=float(seen.classes.max()),
            faces=seen.faces,
            colours=seen.colours,
        )
        label, evidence = judge(read_sentence(claim.hypothesis, self._table), look)
        if claim.premise.strip():
            evidence += (PREMISE_UNUSED,)
        return Verdict(label, self._rates[label], evidence, measured=True)

    def _see(self, picture: Picture) -> _Seen:
        seen = self._pictures.get(picture.digest)
        if seen is None:
            faces = self._faces.find(picture.array())
            large = [f for f in faces if f.area > _FACE * picture.width * picture.height]
            seen = _Seen(self._objects.see(picture), len(large), colours_of(picture))
            self._pictures.put(picture.digest, seen)
        return seen

    def _presence(self, classes: Floats, noun: Noun) -> tuple[float, float]:
        """How likely the noun is in the picture, and the probability of the classes under it."""
        mass = float(classes[list(noun.classes)].sum()) if noun.classes else 0.0
        score = bridge(classes, self._meaning(noun))
        has_classes = float(bool(noun.classes))
        evidence = has_classes * float(np.log(mass + 0.001))
        return fitted().presence(score, has_classes, evidence, float(classes.max())), mass

    def _meaning(self, noun: Noun) -> Floats:
        meaning = self._nouns.get(noun.name)
        if meaning is None:
            assert self._e5 is not None, "run after close"
            meaning = self._objects.meaning(self._e5.query(noun.text))
            self._nouns.put(noun.name, meaning)
        return meaning


def _rates(said: Label) -> tuple[float, float, float]:
    """How often yes, maybe and no were right when this was said, with one more of each."""
    counts = [count + 1 for count in fitted().said[said]]
    yes, maybe, no = (count / sum(counts) for count in counts)
    return yes, maybe, no


def _checked(hypothesis: str) -> int:
    """The number of words. Raises BadInput for none, and for more than a statement has."""
    words = len(hypothesis.split())
    if not words:
        raise BadInput(
            "A statement is empty; write what the picture may show.",
            zh="有一条语句为空；请写下图片可能显示的内容。",
            field="statements",
        )
    if words > _MOST_WORDS:
        raise BadInput(
            f"A statement has {words} words; at most {_MOST_WORDS} are read. Split it.",
            zh=f"有一条语句包含 {words} 个词，最多读取 {_MOST_WORDS} 个。请拆分。",
            field="statements",
        )
    return words
