"""
Whose job is next: tenants take turns, and within a tenant its callers do.

Pure. Among one caller's own jobs the earliest goes first, where a step of priority is worth some
seconds of having come earlier: so priority helps nobody against others, and a job of low
priority is overtaken for a while but not for ever.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")

REMEMBERED = 4096  # callers whose last turn is known; one that was forgotten counts as new


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in the queue. `rank` orders one caller's jobs: seconds, the smallest first."""

    id: str
    tenant: str
    subject: str
    rank: float


_Place = tuple[int, Waiting]  # a job and how many jobs of anybody came before it


def rank(created: float, priority: int, step_seconds: float) -> float:
    return created - priority * step_seconds


class Turns:
    """When each tenant, and each caller, was last served: a count, not a time."""

    def __init__(self) -> None:
        self._count = 0
        self._tenants: OrderedDict[str, int] = OrderedDict()
        self._callers: OrderedDict[tuple[str, str], int] = OrderedDict()

    def take(self, job: Waiting) -> None:
        """This job is served now."""
        self._count += 1
        _note(self._tenants, job.tenant, self._count)
        _note(self._callers, (job.tenant, job.subject), self._count)

    def order(self, jobs: Iterable[Waiting]) -> list[Waiting]:
        """Every waiting job in the order in which it would run if no other came."""
        lanes: dict[str, dict[str, deque[_Place]]] = {}
        for place in enumerate(sorted(jobs, key=lambda job: job.rank)):
            job = place[1]
            lanes.setdefault(job.tenant, {}).setdefault(job.subject, deque()).append(place)
        tenants, callers, count = dict(self._tenants), dict(self._callers), self._count
        ordered: list[Waiting] = []
        while lanes:
            tenant = min(lanes, key=lambda t: (tenants.get(t, 0), _first(lanes[t].values())))
            lane = lanes[tenant]
            caller = min(lane, key=lambda c: (callers.get((tenant, c), 0), _first([lane[c]])))
            count += 1
            tenants[tenant] = callers[tenant, caller] = count
            ordered.append(lane[caller].popleft()[1])
            if not lane[caller]:
                del lane[caller]
            if not lane:
                del lanes[tenant]
        return ordered


def _first(queues: Iterable[deque[_Place]]) -> int:
    """Of those that were served equally long ago, who came first goes first."""
    return min(queue[0][0] for queue in queues)


def _note(turns: OrderedDict[K, int], key: K, count: int) -> None:
    turns[key] = count
    turns.move_to_end(key)
    while len(turns) > REMEMBERED:
        turns.popitem(last=False)
