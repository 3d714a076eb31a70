"""
The few numbers that were fitted on measurements, read from `assets/fitted.json`.

What they were fitted on stands beside them there. They turn cosines and class probabilities into
numbers that a person may read as "how likely".
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True, slots=True)
class Logistic:
    """A weighted sum and a bias, put on a scale of 0 to 1."""

    weights: tuple[float, ...]
    bias: float

    def __call__(self, *values: float) -> float:
        total = self.bias + sum(w * v for w, v in zip(self.weights, values, strict=True))
        return 1 / (1 + math.exp(-total)) if total > -700 else 0.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """
    `text_relevance` of a cosine; `picture_relevance` of a bridge score; `presence` of a noun's
    bridge score, whether classes lie under it, their weighted log mass, and the greatest class.
    `said` counts, for each answer of the entailment rules, how often yes, maybe, no was right.
    """

    text_relevance: Logistic
    picture_relevance: Logistic
    presence: Logistic
    said: dict[str, tuple[int, int, int]]


@cache
def fitted() -> Fitted:
    numbers: dict[str, Any] = json.loads((ASSETS / "fitted.json").read_text(encoding="utf-8"))

    def logistic(name: str) -> Logistic:
        return Logistic(tuple(numbers[name]["weights"]), numbers[name]["bias"])

    return Fitted(
        text_relevance=logistic("text_relevance"),
        picture_relevance=logistic("picture_relevance"),
        presence=logistic("presence"),
        said={answer: tuple(counts) for answer, counts in numbers["said"].items()},
    )
