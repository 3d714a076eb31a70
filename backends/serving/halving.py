"""
A batch that fails is run again in halves, so that what is wrong with one entry is its own fault.

Until the bad entry is alone, if the engine choked on it: ten more runs find one among 32. Once,
if the memory was full: it is nobody's fault, and every try keeps a full GPU from others. Not at
all, if a server behind the engine does not answer.
"""

import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from backends.errors import OutOfMemory, Overloaded, Unavailable
from backends.serving.queueing import Entry

Run: TypeAlias = Callable[[list[Entry]], Sequence[Any]]


def run_apart(run: Run, batch: list[Entry], room: bool = True) -> list[Any]:
    """
    An output or an exception for each entry. One that already passed on parts is not run twice,
    nor one whose caller left. Without `room` a full memory fails the batch at once.
    """
    try:
        return list(run(batch))
    except Exception as error:
        is_full = isinstance(error, OutOfMemory)
        if is_full:
            _let_go(error)
        is_elsewhere = isinstance(error, Unavailable | Overloaded) and not is_full
        if len(batch) == 1 or is_elsewhere or (is_full and not room):
            return [error] * len(batch)
        half, room = len(batch) // 2, room and not is_full
        return [
            outcome
            for part in (batch[:half], batch[half:])
            for outcome in _again(run, part, error, room)
        ]


def _again(run: Run, part: list[Entry], error: Exception, room: bool) -> list[Any]:
    live = [entry for entry in part if not (entry.request.left or entry.emitted)]
    outcomes = iter(run_apart(run, live, room) if live else [])
    fit = set(map(id, live))
    return [next(outcomes) if id(entry) in fit else error for entry in part]


def _let_go(error: BaseException | None) -> None:
    """A traceback keeps what the failed run held, and that is the memory the halves need."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
