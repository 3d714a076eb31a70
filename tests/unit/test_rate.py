"""How fast an engine is held to be, when it remembers: admission stands on it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.engines import Emit
from backends.serving.queueing import Slot
from tests import stubs
from tests.unit.test_local_service import serving


def slot(rate: float) -> Slot:
    return Slot(stubs.Recorder(), stubs.model(stubs.Recorder()), revision=1, rate=rate)


def test_batches_that_took_no_time_say_nothing_of_the_rate() -> None:
    engine = slot(rate=1000.0)
    for _ in range(100):
        engine.learn(tokens=8, seconds=0.0001)
    assert engine.rate < 1500


def test_the_rate_follows_what_took_time() -> None:
    engine = slot(rate=100_000.0)
    for _ in range(30):
        engine.learn(tokens=500, seconds=0.5)
    assert engine.rate == pytest.approx(1000, rel=0.1)


class Remembers(stubs.Recorder):
    """Takes its time over what it has not seen."""

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        if not set(batch) <= set(self.seen):
            time.sleep(0.05)
        return super().run(batch, emit)


async def test_a_sample_that_an_engine_remembers_does_not_make_it_look_fast(
    tmp_path: Path,
) -> None:
    engine = Remembers(length=lambda item: 10)
    async with serving(stubs.model(engine), state=tmp_path) as service:
        assert service._slot is not None
        assert service._slot.rate <= 10 / 0.05
