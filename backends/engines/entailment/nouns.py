"""
The nouns of an English sentence, by a table: no tagger, no grammar.

50,127 nouns of WordNet with what can be checked about each: the classes that lie under it, that
it names a person, or that it is visible and no class is. Longest match first; plurals are folded.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from backends.engines.fitted import ASSETS

_LONGEST = 3  # words of a noun
_PLURALS = (
    ("ies", "y"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ves", "f"),
    ("ses", "s"),
    ("s", ""),
)


class Kind(Enum):
    THING = auto()  # visible; classes may lie under it
    PERSON = auto()
    UNSEEN = auto()  # names nothing visible


_KINDS = {-1: Kind.UNSEEN, -2: Kind.THING, -3: Kind.PERSON}


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun in a sentence: words `start` to `end`, and the classes under it."""

    name: str
    kind: Kind
    classes: tuple[int, ...]
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.name.replace("_", " ")


class NounTable:
    def __init__(self) -> None:
        with gzip.open(ASSETS / "nouns.json.gz") as file:
            table: dict[str, Any] = json.load(file)
        self._codes: dict[str, int] = table["nouns"]
        self._classes = [tuple(each) for each in table["sets"]]
        self._irregular: dict[str, str] = table["irregular"]

    def find(self, words: Sequence[str]) -> list[Noun]:
        """The nouns among the words, in their order; none overlaps another."""
        found: list[Noun] = []
        start = 0
        while start < len(words):
            noun = self._at(words, start)
            if noun:
                found.append(noun)
            start = noun.end if noun else start + 1
        return found

    def _at(self, words: Sequence[str], start: int) -> Noun | None:
        for end in range(min(start + _LONGEST, len(words)), start, -1):
            name = self._singular("_".join(words[start:end]))
            if name:
                code = self._codes[name]
                classes = self._classes[code] if code >= 0 else ()
                return Noun(name, _KINDS.get(code, Kind.THING), classes, start, end)
        return None

    def _singular(self, word: str) -> str | None:
        """The entry that the word belongs to."""
        if word in self._codes:
            return word
        if word in self._irregular:
            return self._irregular[word]
        folded = (word[: -len(many)] + one for many, one in _PLURALS if word.endswith(many))
        return next((each for each in folded if each in self._codes), None)
