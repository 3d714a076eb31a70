"""
Which waiting items run together: pure arithmetic over their lengths.

Items padded to the longest of their batch waste what lies between; a batch of one wastes the
fixed cost of a call. The window is sorted by length and cut into the contiguous groups that cost
least under `fixed + per_token * padded tokens`. The group that holds the oldest item runs, so
nobody is passed over for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: of a call, and of one padded token. Calibration may measure better ones."""

    fixed: float = 3e-3
    per_token: float = 1e-4


def group_of_oldest(
    lengths: Sequence[int], cost: Cost, max_batch: int, max_tokens: int
) -> list[int]:
    """
    The positions in `lengths` (tokens; the oldest item first) of the items to run now.
    Position 0 is always among them; an item longer than `max_tokens` runs alone.
    """
    order = sorted(range(len(lengths)), key=lambda position: (lengths[position], position))
    starts = _cheapest_cuts([lengths[position] for position in order], cost, max_batch, max_tokens)
    end = len(order)
    while end > 0:
        group = order[starts[end] : end]
        if 0 in group:
            return sorted(group)
        end = starts[end]
    raise AssertionError("every position is in a group")


def _cheapest_cuts(lengths: list[int], cost: Cost, max_batch: int, max_tokens: int) -> list[int]:
    """For each end of a prefix of the sorted lengths, where its last group starts."""
    best = [0.0] * (len(lengths) + 1)  # seconds of the cheapest grouping of the first n
    starts = [0] * (len(lengths) + 1)
    for end in range(1, len(lengths) + 1):
        longest = max(1, lengths[end - 1])
        furthest = max(0, end - max_batch, end - max(1, max_tokens // longest))
        step = cost.per_token * longest
        starts[end] = min(
            range(end - 1, furthest - 1, -1), key=lambda s: best[s] + step * (end - s)
        )
        best[end] = best[starts[end]] + cost.fixed + step * (end - starts[end])
    return starts
