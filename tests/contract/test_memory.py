"""torch's own "out of memory" becomes ours, and the batcher halves the batch."""

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from app import build_service  # first: how many threads torch may use is settled there
from backends.engines import Emit
from backends.errors import OutOfMemory
from backends.identity import Ask
from backends.serving.batcher import Batcher
from backends.serving.grouping import Cost
from backends.serving.queueing import Slot
from backends.settings import Batching
from backends.telemetry import Instruments
from tests import stubs

torch = pytest.importorskip("torch", reason="torch is missing: make models")

from backends.engines.memory import enough_memory, give_back  # noqa: E402

assert build_service


class OneAtATime(stubs.Recorder):
    """A GPU with room for one item, as torch says it."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[weakref.ref[Any]] = []

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        assert not any(tensor() is not None for tensor in self.tensors), "memory is still held"
        outputs = super().run(batch, emit)
        with enough_memory():
            tensor = torch.zeros(len(batch))
            self.tensors.append(weakref.ref(tensor))
            if len(batch) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return outputs


@pytest.mark.parametrize(("items", "sizes"), [(2, [2, 1, 1]), (4, [4, 2, 2])])
async def test_a_gpu_without_room_is_tried_in_halves_once(items: int, sizes: list[int]) -> None:
    engine = OneAtATime()
    batcher = Batcher("stub", Batching(), Instruments(), 1, Cost())
    batcher.start()
    batcher.exchange(Slot(engine, stubs.model(engine), revision=1))
    asked = batcher.submit(list(range(items)), [1] * items, Ask())
    (answer,) = await asyncio.gather(asked, return_exceptions=True)
    assert [len(batch) for batch in engine.batches] == sizes
    if sizes[-1] == 1:
        assert list(answer) == [("stub", n) for n in range(items)]
    else:
        assert isinstance(answer, OutOfMemory)
        assert answer.status == 503
        assert "ran out of memory" in answer.text
        assert isinstance(answer.__cause__, torch.OutOfMemoryError)
    await batcher.close()


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a shape"), enough_memory():
        raise RuntimeError("a shape")


def test_memory_is_given_back_on_a_machine_without_a_gpu_too() -> None:
    give_back()
    assert not torch.cuda.is_initialized()
