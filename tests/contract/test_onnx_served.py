"""
The ONNX route through a service, HTTP and a job, on tiny files; and the files that it wants: told,
never fetched.
"""

import asyncio
import gc
import io
import json
import logging
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed: run `make models`.")

from backends.engines import fusion, weights
from backends.engines.download import hub_of
from backends.engines.fusion import MODELS, Blend, Progress, onnx_files, supplied
from backends.engines.fusion.onnx_swap import InSwapper
from backends.engines.hub import TITLES
from backends.errors import ModelLoadError
from backends.families import FAMILIES
from backends.identity import Ask
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Batching, Models, Settings
from backends.telemetry import Instruments
from tests import running
from tests.hub import hub
from tests.tiny import onnx_faces, onnx_world
from tests.tiny.onnx_world import World, change, loaded

PHOTOS = Path(__file__).parents[1] / "photos"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return onnx_world.build(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def same(world: World) -> InSwapper:
    return loaded(world.same)


def test_missing_files_are_named_with_the_folder_that_wants_them(tmp_path: Path) -> None:
    (tmp_path / fusion.INSWAPPER).mkdir(parents=True)
    (tmp_path / fusion.INSWAPPER / "w600k_r50.onnx").touch()
    with pytest.raises(ModelLoadError) as refusal:
        loaded(tmp_path)
    assert "put det_10g.onnx, inswapper_128.onnx of" in refusal.value.text
    assert str(tmp_path / fusion.INSWAPPER) in refusal.value.text


def test_files_that_do_not_fit_into_memory_are_refused_before_they_are_read(world: World) -> None:
    folder = world.same / fusion.INSWAPPER
    size = sum((folder / name).stat().st_size for name in fusion.INSWAPPER_FILES)
    group = Models(folder=world.same, device="cpu")
    weights.check_memory(MODELS["inswapper"], group, {"host": size})
    with pytest.raises(ModelLoadError, match="its weights alone need"):
        weights.check_memory(MODELS["inswapper"], group, {"host": size - 1})


def test_files_are_told_with_hash_and_licence_and_a_lost_gpu_first(
    world: World, same: InSwapper, caplog: pytest.LogCaptureFixture
) -> None:
    assert [remark.en.partition(":")[0] for remark in same.remarks] == list(fusion.INSWAPPER_FILES)
    assert all("sha256" in r.en and "non-commercial" in r.en for r in same.remarks)
    if onnx_files.CUDA in onnx_files.onnxruntime.get_available_providers():
        pytest.skip("This onnxruntime has CUDA: what is tried is one without.")
    with caplog.at_level(logging.INFO, "backends.engines.fusion"):
        asked = loaded(world.same, device="cuda")
    assert [log.levelname for log in caplog.records] == ["WARNING", "INFO", "INFO", "INFO"]
    assert [getattr(log, "detail", "") for log in caplog.records] == [r.en for r in asked.remarks]
    assert (asked.device, same.device) == ("CPU", "CPU")
    assert asked.remarks[0].en.startswith("It runs on the CPU, slowly: QUARTET_MODELS__DEVICE is c")
    assert asked.remarks[1:] == same.remarks


def service(tmp_path: Path, models: Models) -> LocalService:
    settings = Settings(
        state_dir=tmp_path,
        models=models,
        batching=Batching(engine_threads=2),
    )
    return LocalService(FAMILIES["fusion"], settings, Instruments(), Records(tmp_path / "records"))


async def ready(local: LocalService) -> None:
    while not (await local.status()).is_ready:
        await asyncio.sleep(0.05)


def opened(folder: Path) -> list[Any]:
    """Weak references to what onnxruntime holds of the files below this folder."""
    session = onnx_files.onnxruntime.InferenceSession
    # by its type: isinstance asks the object too, and others' dead proxies raise
    here = [each for each in gc.get_objects() if issubclass(type(each), session)]
    return [weakref.ref(each) for each in here if str(folder) in each._model_path]


async def test_a_service_swaps_to_it_and_back_and_gives_its_memory_back(
    world: World, tmp_path: Path
) -> None:
    own = tmp_path / "models"
    shutil.copytree(world.mixes, own)
    local = service(tmp_path, Models(folder=own))
    await local.start()
    async with asyncio.timeout(120):
        await ready(local)
        await local.swap(ModelRecord(1, "inswapper"))
        now = await local.status()
        assert (now.model, now.device) == ("inswapper", "CPU")
        assert any("det_10g.onnx" in remark.en for remark in now.remarks)
        item = Blend(world.astronaut, world.hopper)
        *parts, answer = [part async for part in local.stream(item, Ask())]
        assert all(isinstance(part, Progress) for part in parts)
        assert len(parts) > 5
        assert (change(answer[0], world.hopper) > 10).mean() > 0.05
        sessions = opened(own)
        assert len(sessions) == 3
        await local.swap(ModelRecord(2, "mesh-blend"))
        while any(session() is not None for session in sessions):  # no collector is needed
            await asyncio.sleep(0.05)
        assert (await local.status()).remarks == ()
    await local.close()


@pytest.mark.parametrize("name", ["modelscope", "huggingface"])
async def test_a_swap_without_the_files_changes_nothing_and_asks_no_hub(
    tmp_path: Path, name: str
) -> None:
    """Though a hub is set, and has them: their licence forbids it."""
    here = dict.fromkeys(fusion.INSWAPPER_FILES, b"x")
    with hub(insightface__inswapper_128=here) as served:
        models = Models(folder=tmp_path / "empty", hub=name, endpoint=served.url)
        local = service(tmp_path, models)
        await local.start()
        async with asyncio.timeout(120):
            await ready(local)
            with pytest.raises(ModelLoadError, match=r"put det_10g\.onnx.*mesh-blend still serves"):
                await local.swap(ModelRecord(1, "inswapper"))
            assert (await local.status()).model == "mesh-blend"
        await local.close()
        assert served.asked == []
    assert not (tmp_path / "empty").exists()


def test_no_row_of_fusion_is_fetched_from_any_hub() -> None:
    groups = [Models(hub=name) for name in TITLES]
    assert {hub_of(row, group) for row in MODELS.values() for group in groups} == {""}


@pytest.mark.parametrize("name", supplied.RESTORERS)
async def test_a_damaged_restorer_is_named_and_the_old_model_keeps_serving(
    world: World, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "models" / fusion.INSWAPPER
    shutil.copytree(world.same / fusion.INSWAPPER, folder)
    local = service(tmp_path, Models(folder=tmp_path / "models"))
    await local.start()
    async with asyncio.timeout(120):
        await ready(local)
        onnx_faces.restorer(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:1000])  # a copy that was cut
        with pytest.raises(ModelLoadError, match=f"{name} in {folder} cannot be opened"):
            await local.swap(ModelRecord(1, "inswapper"))
        assert (await local.status()).model == "mesh-blend"
        (folder / name).unlink()
        await local.swap(ModelRecord(1, "inswapper"))
        assert (await local.status()).model == "inswapper"
    await local.close()


@pytest.fixture(scope="module")
def client(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    environment = {
        "QUARTET_MODELS__FOLDER": str(world.mixes),
        "QUARTET_FUSION__MODEL": "inswapper",
        "QUARTET_BATCHING__ENGINE_THREADS": "2",
    }
    state = tmp_path_factory.mktemp("state")
    with (
        running.Process("--port", "0", state_dir=state, env=environment) as portal,
        httpx.Client(base_url=portal.ready().address, timeout=120) as client,
    ):
        yield client


def form(**options: Any) -> dict[str, Any]:
    pictures = ((PHOTOS / name).read_bytes() for name in ("astronaut.png", "hopper.jpg"))
    files = {side: (side, data) for side, data in zip(("source", "target"), pictures, strict=True)}
    return {"files": files, "data": {"options": json.dumps({"consent": True, **options})}}


def test_the_routes_answer_with_it_as_with_any_model(world: World, client: httpx.Client) -> None:
    faces = client.post("/v1/fusion/faces", files={"image": ("x", form()["files"]["target"][1])})
    (face,) = faces.json()["faces"]
    assert face["box"][2] > 150
    made = client.post("/v1/fusion", **form(blend=1.0))
    assert (made.status_code, made.headers["x-model"]) == (200, "inswapper"), made.text
    with Image.open(io.BytesIO(made.content)) as picture:
        assert "AI-edited" in picture.info["Description"]
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    x, y, width, height = face["box"]
    assert np.abs(pixels - world.hopper.array())[y : y + height, x : x + width].mean() > 10
    refused = client.post("/v1/fusion", **form(target_face=1))
    assert refused.status_code == 422
    assert "has no face 1" in refused.text
    told = client.get("/readyz").json()["services"]["fusion"]
    assert told["device"] == "CPU"
    assert any("inswapper_128.onnx" in remark["en"] for remark in told["remarks"])
    if onnx_files.CUDA not in onnx_files.onnxruntime.get_available_providers():
        assert "QUARTET_MODELS__DEVICE is auto, and this" in told["remarks"][0]["en"]


def test_a_job_runs_to_the_same_picture(client: httpx.Client) -> None:
    job = client.post("/v1/fusion/jobs", **form(blend=1.0)).json()
    bearer = {"authorization": f"Bearer {job['token']}"}
    address = f"/v1/fusion/jobs/{job['id']}"
    running.wait_until(
        lambda: client.get(address, headers=bearer).json()["state"] in ("done", "failed"),
        "the job never ended",
    )
    result = client.get(f"{address}/result", headers=bearer)
    assert result.content == client.post("/v1/fusion", **form(blend=1.0)).content
