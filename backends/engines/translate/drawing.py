"""
The next token drawn as the model's authors recommend, the same for the same item.

torch draws for a batch from one generator of the process, so an answer would depend on who else
was in the batch. Here each row has a generator of its own, seeded by its prompt: an item alone is
the same item among many, and the same question gets the same answer.
"""

import random
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

TOP_K, TOP_P, TEMPERATURE, PENALTY = 20, 0.6, 0.7, 1.05


def shares(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Of scores (rows, vocabulary), the tokens that may be drawn and their probabilities (rows, 20),
    the likeliest first: of the TOP_K at this temperature the fewest that reach TOP_P together.
    """
    values, tokens = scores.topk(min(TOP_K, scores.shape[-1]), dim=-1)
    chances = torch.softmax(values.double() / TEMPERATURE, dim=-1)
    before = chances.cumsum(-1) - chances
    chances = chances.masked_fill(before >= TOP_P, 0.0)
    return tokens, chances / chances.sum(-1, keepdim=True)


class Draw(LogitsProcessor):  # type: ignore[misc]  # the library's own is untyped here
    """Leaves one token of each row; `generate` then takes the likeliest, which is that one."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._rows = [random.Random(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        tokens, chances = shares(scores)
        points = torch.tensor([[row.random()] for row in self._rows], dtype=torch.float64)
        reached = chances.cumsum(-1) > points.to(chances.device)
        chosen = tokens.gather(-1, reached.int().argmax(-1, keepdim=True))
        return torch.full_like(scores, float("-inf")).scatter(-1, chosen, 0.0)
