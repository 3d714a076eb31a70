import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.serving.grouping import Cost, group_of_oldest


def seconds(groups: list[list[int]], cost: Cost) -> float:
    return sum(cost.fixed + cost.per_token * max(group) * len(group) for group in groups)


def all_partitions(lengths: list[int]) -> list[list[list[int]]]:
    """Every way to cut the sorted lengths into contiguous groups."""
    ordered = sorted(lengths)
    ways = []
    for cuts in itertools.product([False, True], repeat=len(ordered) - 1):
        groups = [[ordered[0]]]
        for cut, length in zip(cuts, ordered[1:], strict=True):
            if cut:
                groups.append([])
            groups[-1].append(length)
        ways.append(groups)
    return ways


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_the_group_holds_the_oldest_and_keeps_the_budgets(lengths: list[int]) -> None:
    group = group_of_oldest(lengths, Cost(), max_batch=8, max_tokens=512)
    assert 0 in group
    assert len(group) <= 8
    assert len(group) == 1 or max(lengths[p] for p in group) * len(group) <= 512
    assert group == sorted(set(group))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_the_cut_is_the_cheapest_of_all(lengths: list[int]) -> None:
    cost = Cost(fixed=2e-3, per_token=1e-4)
    left, groups = list(range(len(lengths))), []
    while left:  # run the queue down as the batcher does
        chosen = group_of_oldest([lengths[p] for p in left], cost, max_batch=99, max_tokens=10**9)
        groups.append([lengths[left[p]] for p in chosen])
        left = [p for n, p in enumerate(left) if n not in chosen]
    best = min(seconds(way, cost) for way in all_partitions(lengths))
    assert seconds(groups, cost) == pytest.approx(best)


def test_an_item_beyond_the_token_budget_runs_alone() -> None:
    assert group_of_oldest([9999, 3, 3], Cost(), max_batch=8, max_tokens=100) == [0]


def test_short_and_long_items_are_not_padded_together() -> None:
    lengths = [10, 400, 12, 390, 11]
    assert group_of_oldest(lengths, Cost(), max_batch=32, max_tokens=4096) == [0, 2, 4]
