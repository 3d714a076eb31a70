"""
How likely each of a few given answers is: the trie of their tokens.

Where answers part, log-softmax runs over just the tokens that continue one of them; an answer's
score is the sum along its way to the end. So only the forks need the decoder: where every answer
is one token, there is one, right after the question. Nothing is generated, so nothing can run on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Path: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Fork:
    """After `depth` tokens of row `row`: `ways` are the next tokens, each with its answers."""

    row: int
    depth: int
    ways: tuple[tuple[int, tuple[int, ...]], ...]


class AnswerTrie:
    """`rows` are what the decoder must read after the question so that every fork is passed."""

    rows: tuple[Path, ...]

    def __init__(self, answers: Sequence[Sequence[int]], end: int) -> None:
        whole = [(*answer, end) for answer in answers]
        self._count = len(whole)
        starts = sorted({path[:length] for path in whole for length in range(len(path))})
        forks = [start for start in starts if len(_next(whole, start)) > 1]
        self.rows = tuple(one for one in forks if not any(_goes_on(one, other) for other in forks))
        self._forks = tuple(
            _Fork(
                row=next(n for n, row in enumerate(self.rows) if row[: len(fork)] == fork),
                depth=len(fork),
                ways=tuple(sorted(_next(whole, fork).items())),
            )
            for fork in forks
        )

    def log_probabilities(self, hidden: Tensor, last: Tensor, words: Tensor) -> Tensor:
        """
        B × answers, from the decoder's hidden states B·R·n·d of the question and `rows`. `last`
        is where each question ends in its rows.
        """
        items = torch.arange(len(hidden), device=hidden.device)
        shape, kind = (len(hidden), self._count), torch.float32  # torch's own may change meanwhile
        scores = torch.zeros(shape, dtype=kind, device=hidden.device)
        for fork in self._forks:
            states = hidden[items, fork.row, last + fork.depth]
            logits = states @ words[[token for token, _ in fork.ways]].T
            chances = logits.float().log_softmax(-1)
            for way, (_, answers) in enumerate(fork.ways):
                scores[:, list(answers)] += chances[:, way : way + 1]
        return scores


def _next(whole: Sequence[Path], start: Path) -> dict[int, tuple[int, ...]]:
    """The tokens that follow `start`, each with the answers that go on so."""
    ways: dict[int, tuple[int, ...]] = {}
    for number, path in enumerate(whole):
        if len(path) > len(start) and path[: len(start)] == start:
            token = path[len(start)]
            ways[token] = (*ways.get(token, ()), number)
    return ways


def _goes_on(start: Path, other: Path) -> bool:
    return other != start and other[: len(start)] == start
