"""
Driving one target with many inputs: the same ones at every run, each counted, each with an end.

A target may answer, or refuse with an error on purpose; anything else that comes out is a bug, and
hypothesis shrinks the input that brought it about.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.errors import QuartetError

PATIENCE = 30  # seconds for one input on a busy machine; a hang ends, with the input that made it


@dataclass(frozen=True)
class Target:
    """
    `call` is tried with `inputs` that many times; `refuses` are the errors on purpose.
    """

    name: str
    tries: int
    inputs: st.SearchStrategy[Any]
    call: Callable[[Any], object]
    refuses: tuple[type[BaseException], ...] = (QuartetError,)


def drive(target: Target, tries: int) -> int:
    """How many inputs were really tried."""
    tried = 0

    @settings(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def one(sent: Any) -> None:
        nonlocal tried
        tried += 1
        with ends(), suppress(*target.refuses):
            target.call(sent)

    one()
    return tried


@contextmanager
def ends() -> Iterator[None]:
    """What takes longer than anybody waits is a hang."""

    def hang(*_: object) -> None:
        raise AssertionError(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def resident_mb(pid: int | str = "self") -> float:
    """What a process holds in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
