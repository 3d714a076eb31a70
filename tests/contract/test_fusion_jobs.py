"""Jobs over the real fusion engine: two photos in, a marked picture out, and nothing left."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.engines.fusion import Blend, packing
from backends.engines.fusion.marking import STATEMENT
from backends.families import FAMILIES
from backends.identity import Ask, Principal
from backends.jobs import JobState, Packing
from backends.jobs.embedded import EmbeddedJobs
from backends.serving.local import LocalService
from backends.serving.record import Records
from backends.settings import Settings
from backends.telemetry import Instruments
from tests.portraits import photo

ANNA = Principal("anna", method="account")


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[EmbeddedJobs]:
    """The service is still loading when the first job comes: a job waits for that."""
    settings, instruments = Settings(state_dir=tmp_path), Instruments()
    service = LocalService(FAMILIES["fusion"], settings, instruments, Records(tmp_path / "records"))
    jobs = EmbeddedJobs(
        settings.jobs,
        tmp_path / "jobs",
        service,
        Packing(packing.pack, packing.unpack, packing.finish),
        instruments,
    )
    await service.start()
    await jobs.start()
    yield jobs
    await jobs.close()
    await service.close()


async def test_two_photos_become_a_marked_picture(jobs: EmbeddedJobs, tmp_path: Path) -> None:
    target = photo("hopper.jpg")
    job = await jobs.submit(Blend(photo("astronaut.png"), target), Ask(ANNA))
    seen = [now async for now in jobs.watch(job.id, ANNA)]
    assert seen[-1].state is JobState.DONE, seen[-1].error
    assert {"finding", "fusing"} <= {now.stage for now in seen}
    assert [now.progress for now in seen] == sorted(now.progress for now in seen)
    with Image.open(BytesIO(await jobs.result(job.id, ANNA))) as result:
        assert result.info["Description"] == STATEMENT
        pixels = np.asarray(result.convert("RGB"))
    assert pixels.shape == target.array().shape
    assert np.abs(pixels.astype(int) - target.array()).mean() > 1
    await jobs.delete(job.id, ANNA)
    assert list((tmp_path / "jobs" / "files").iterdir()) == []


async def test_a_photo_without_a_face_fails_with_the_engines_sentence(jobs: EmbeddedJobs) -> None:
    job = await jobs.submit(Blend(photo("coffee.png"), photo("hopper.jpg")), Ask(ANNA))
    last = [now async for now in jobs.watch(job.id, ANNA)][-1]
    assert last.error.startswith("No face was found in the source picture")
    assert (last.error_type, last.can_retry) == ("BadInput", False)


async def test_a_running_fusion_stops_when_it_is_cancelled(jobs: EmbeddedJobs) -> None:
    job = await jobs.submit(Blend(photo("astronaut.png"), photo("hopper.jpg")), Ask(ANNA))
    async for now in jobs.watch(job.id, ANNA):
        if now.stage == "finding":
            await jobs.cancel(job.id, ANNA)
    assert now.state is JobState.CANCELLED
    following = await jobs.submit(Blend(photo("hopper.jpg"), photo("astronaut.png")), Ask(ANNA))
    async with asyncio.timeout(120):
        last = [now async for now in jobs.watch(following.id, ANNA)][-1]
    assert last.state is JobState.DONE
