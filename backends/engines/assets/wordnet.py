"""
WordNet 3.0 nouns, from the data files as Princeton publishes them and Debian's wordnet-base
installs them. Only `build.py` needs it.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_PARTS = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # of speech, in sense keys


class WordNet:
    """
    Synsets by offset: `up` (what each is a kind of), `lemmas`, `gloss`. Words: `senses`
    (offsets, commonest first), `irregular` plurals, and `count`: how often a word is used as
    each part of speech in the texts that WordNet counted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.up: dict[str, list[str]] = {}
        self.lemmas: dict[str, list[str]] = {}
        self.gloss: dict[str, str] = {}
        self.senses: dict[str, list[str]] = {}
        self.count: Counter[tuple[str, str]] = Counter()
        self._read_synsets()
        for line in self._lines("index.noun"):
            fields = line.split()
            self.senses[fields[0]] = fields[-int(fields[2]) :]
        self.irregular = {form: noun for form, noun, *_ in self._fields("noun.exc")}
        for key, _, times in self._fields("cntlist.rev"):
            word, rest = key.split("%")
            self.count[word, _PARTS[rest[0]]] += int(times)
        self.ancestors = cache(self._ancestors)

    def commonest_use(self, word: str) -> str:
        """The part of speech: n, v, a or r; n for a word that was never counted."""
        return max("nvar", key=lambda part: self.count[word, part])

    def _ancestors(self, synset: str) -> frozenset[str]:
        """What the synset is a kind of, itself included."""
        return frozenset({synset}).union(*(self.ancestors(each) for each in self.up[synset]))

    def _read_synsets(self) -> None:
        for line in self._lines("data.noun"):
            head, gloss = line.rstrip("\n").split(" | ", 1)
            offset, _, _, size, *fields = head.split()
            names, (count, *pointers) = fields[: 2 * int(size, 16)], fields[2 * int(size, 16) :]
            self.lemmas[offset] = names[::2]
            self.gloss[offset] = gloss.split('; "')[0].strip()
            kinds = zip(pointers[: 4 * int(count) : 4], pointers[1::4], strict=False)
            self.up[offset] = [target for kind, target in kinds if kind in ("@", "@i")]

    def _fields(self, name: str) -> Iterator[list[str]]:
        return (line.split() for line in self._lines(name))

    def _lines(self, name: str) -> Iterator[str]:
        """Without the licence, which is indented."""
        with (self._folder / name).open(encoding="utf-8", errors="ignore") as file:
            yield from (line for line in file if not line.startswith("  "))
