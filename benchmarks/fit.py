"""
Finds the fitted numbers again that `presence` and `picture_relevance` in
`backends/engines/assets/fitted.json` hold:

    python -m benchmarks.fit STAMPS

STAMPS is the folder of stamps of Debian's tuxpaint-stamps-default (GPL-2: measured on, never
shipped), 294 cut-outs with captions by others. Needs scikit-learn; a minute. Twelve stamps that
the entailment set uses are left out.
"""

import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backends.engines.e5 import E5
from backends.engines.entailment.nouns import Kind, Noun, NounTable
from backends.engines.fitted import fitted
from backends.engines.objects import Objects, bridge
from backends.engines.pictures import read_picture

GROUPS = ("animals", "food", "household", "vehicles", "clothes", "plants", "sports")
HELD = {
    *("spade", "gnu-stand", "ruins", "apple_sierra_beauty", "camel", "redlettuce"),
    *("xing_school", "rabbit-2", "double_decker_bus", "hippopotamus", "swisshome"),
    "pink_tricycle",
}
OTHERS = 4  # nouns of other pictures that each picture is asked for
PICTURES = 7  # of others that each caption is held against
FOLDS = 5


@dataclass(frozen=True)
class Cutout:
    group: str
    caption: str
    noun: Noun
    seen: Any


class Fit:
    def __init__(self) -> None:
        self._objects, self._e5, self._table = Objects(), E5(), NounTable()
        self._meant: dict[str, Any] = {}

    def read(self, stamps: Path) -> list[Cutout]:
        cutouts = []
        for group in GROUPS:
            for path in sorted((stamps / group).glob("**/*.png")):
                noun, caption = self._noun_of(path)
                if noun is not None:
                    seen = self._objects.see(read_picture(path.read_bytes()))
                    cutouts.append(Cutout(group, caption, noun, seen))
        return cutouts

    def score(self, cutout: Cutout, text: str) -> float:
        if text not in self._meant:
            self._meant[text] = self._objects.meaning(self._e5.query(text))
        return bridge(cutout.seen, self._meant[text])

    def features(self, cutout: Cutout, noun: Noun) -> list[float]:
        has_classes = float(bool(noun.classes))
        mass = float(cutout.seen[list(noun.classes)].sum()) if noun.classes else 0.0
        log_mass = has_classes * float(np.log(mass + 0.001))
        return [self.score(cutout, noun.text), has_classes, log_mass, float(cutout.seen.max())]

    def _noun_of(self, path: Path) -> tuple[Noun | None, str]:
        """What the caption's head names, if it can be seen and is nobody."""
        words_file = path.with_suffix(".txt")
        is_twin = "_mirror" in str(path) or "_flip" in str(path)
        if is_twin or path.stem in HELD or not words_file.exists():
            return None, ""
        lines = words_file.read_text(encoding="utf-8", errors="ignore").splitlines()
        caption = re.sub(r"\(.*?\)", "", lines[0]).lower().rstrip(". \n").strip()
        head = re.split(r"\b(?:of|with|for|in|on|from|and)\b|,", caption)[0]
        words = re.findall("[a-z]+", head)
        for size in (2, 1):
            found = self._table.find(words[-size:]) if len(words) >= size else []
            if found and (found[0].start, found[0].end) == (0, size):
                return (found[0] if found[0].kind is Kind.THING else None), caption
        return None, caption


def presence(fit: Fit, cutouts: list[Cutout], chance: random.Random) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    rows, there, owners = [], [], []
    for n, cutout in enumerate(cutouts):
        nouns = [cutout.noun]
        for same_group in (False, True) * (OTHERS // 2):
            nouns.append(_other(chance, cutouts, cutout, same_group))
        rows += [fit.features(cutout, noun) for noun in nouns]
        there += [1] + [0] * OTHERS
        owners += [n] * len(nouns)
    x, y = np.array(rows), np.array(there)
    weights = np.where(y == 1, 2.0, 0.5)
    held = np.zeros(len(y))
    for train, test in GroupKFold(FOLDS).split(x, y, owners):
        model = LogisticRegression(C=10)
        model.fit(x[train], y[train], sample_weight=weights[train])
        held[test] = model.predict_proba(x[test])[:, 1]
    model = LogisticRegression(C=10).fit(x, y, sample_weight=weights)
    print("presence", model.coef_[0].round(4), model.intercept_.round(4), fitted().presence)
    print(f"held-back folds: AUC {roc_auc_score(y, held):.3f}")
    for low, high in ((0, 0.1), (0.1, 0.2), (0.2, 0.5), (0.5, 0.85), (0.85, 1.01)):
        said = (held >= low) & (held < high)
        rate = (weights * y)[said].sum() / weights[said].sum()
        print(f"   said {low:.2f} to {high:.2f}: n {said.sum()}, there {rate:.2f}")


def _other(chance: random.Random, cutouts: list[Cutout], mine: Cutout, same_group: bool) -> Noun:
    """Another's noun, of the same group or not, that shares no class with this one."""
    for _ in range(20):
        other = chance.choice(cutouts)
        shares = set(other.noun.classes) & set(mine.noun.classes)
        fits = (other.group == mine.group) == same_group
        if fits and other.noun.name != mine.noun.name and not shares:
            break
    return other.noun


def relevance(fit: Fit, cutouts: list[Cutout], chance: random.Random) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, right = [], []
    for n, cutout in enumerate(cutouts):
        others = [j for j in range(len(cutouts)) if j != n]
        for j in [n, *chance.sample(others, PICTURES)]:
            rows.append([fit.score(cutouts[j], cutout.caption)])
            right.append(j == n)
    model = LogisticRegression(C=1e4).fit(np.array(rows), right)
    print("picture relevance", model.coef_[0].round(2), model.intercept_.round(2))
    print(fitted().picture_relevance)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    fit, chance = Fit(), random.Random(3)
    cutouts = fit.read(Path(sys.argv[1]))
    print(len(cutouts), "captioned pictures")
    presence(fit, cutouts, chance)
    relevance(fit, cutouts, chance)
