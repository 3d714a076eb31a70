"""
The ONNX route as an engine, on tiny files of the same inputs and outputs: what it answers and
refuses, the same alone and in company, and through a service, HTTP and a job.
"""

import asyncio
import gc
import io
import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed: run `make models`.")

from backends.engines import fusion, weights
from backends.engines.faces import Face, Pixels
from backends.engines.fusion import MODELS, Blend, Check, Fused, Look, Progress, Seen, onnx_files
from backends.engines.fusion.alignment import ARCFACE_128, fitted
from backends.engines.fusion.onnx_swap import InSwapper, boost
from backends.engines.picture import Picture
from backends.errors import BadInput, ModelLoadError
from backends.families import FAMILIES
from backends.identity import Ask
from backends.serving.local import LocalService
from backends.serving.record import ModelRecord, Records
from backends.settings import Batching, Inswapper, Models, Settings
from backends.telemetry import Instruments
from tests import running
from tests.portraits import face_of, photo, picture_of
from tests.tiny import onnx_faces
from tests.tiny.onnx_faces import Planted

PHOTOS = Path(__file__).parents[1] / "photos"


@dataclass(frozen=True)
class World:
    """The pictures whose faces the tiny detector knows, and folders of tiny models."""

    hopper: Picture
    astronaut: Picture
    pair: Picture
    same: Path  # its swapper gives the target back
    mixes: Path  # its swapper mixes in half of a colour of the identity


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    hopper, astronaut = photo("hopper.jpg"), photo("astronaut.png")
    sample = fusion.sample()[0]
    known = [hopper, astronaut, sample.source, sample.target]
    faces = [planted(each.array()) for each in known]
    both = np.zeros((600, 1024, 3), np.uint8)
    both[:600, :512] = hopper.array()
    both[:512, 512:] = astronaut.array()
    faces += [moved(faces[0], both, 0), moved(faces[1], both, 512)]
    folders = []
    for share in (0.0, 0.5):
        folder = tmp_path_factory.mktemp("models")
        onnx_faces.build(folder / fusion.INSWAPPER, faces, share)
        folders.append(folder)
    return World(hopper, astronaut, picture_of(both), *folders)


def planted(picture: Pixels) -> Planted:
    face: Face = face_of(picture)
    return Planted(picture, face.box, face.five)


def moved(face: Planted, picture: Pixels, right: int) -> Planted:
    x0, y0, x1, y1 = face.box
    return Planted(picture, (x0 + right, y0, x1 + right, y1), face.five + np.float32([right, 0]))


def loaded(folder: Path, device: str = "cpu", **swap: Any) -> InSwapper:
    load = MODELS["inswapper"].load
    assert load is not None
    engine = load(
        Settings(
            models=Models(folder=folder, device=device),
            batching=Batching(engine_threads=1),
            inswapper=Inswapper(**swap),
        )
    )
    assert isinstance(engine, InSwapper)
    return engine


@pytest.fixture(scope="module")
def same(world: World) -> InSwapper:
    return loaded(world.same)


@pytest.fixture(scope="module")
def mixes(world: World) -> InSwapper:
    return loaded(world.mixes)


def go_on(index: int, part: Any) -> bool:
    return True


def run(engine: InSwapper, item: Blend | Look) -> Any:
    (output,) = engine.run([item], go_on)
    return output


def change(made: Fused, target: Picture) -> np.ndarray:
    return np.abs(made.picture.array().astype(int) - target.array()).max(2)


def face_box(engine: InSwapper, picture: Picture, index: int = 0) -> tuple[slice, slice]:
    x, y, width, height = run(engine, Look(picture)).faces[index].box
    return slice(y, y + height), slice(x, x + width)


def around(engine: InSwapper, picture: Picture) -> np.ndarray:
    """Where nothing may change: more than half a face away from the face."""
    rows, columns = face_box(engine, picture)
    high, wide = (rows.stop - rows.start) // 2, (columns.stop - columns.start) // 2
    away = np.ones((picture.height, picture.width), bool)
    away[rows.start - high : rows.stop + high, columns.start - wide : columns.stop + wide] = False
    return away


def test_a_swapper_that_gives_the_target_back_leaves_the_picture_as_it_was(
    world: World, same: InSwapper
) -> None:
    fused = run(same, Blend(world.astronaut, world.hopper, blend=1.0))
    changed = change(fused, world.hopper)
    assert changed[around(same, world.hopper)].max() == 0
    face = changed[face_box(same, world.hopper)]
    assert 0 < face.mean() < 5  # taken out and laid back once: a little softer
    (note,) = fused.notes
    assert "much smaller than the target's" in note.en


def test_only_the_face_is_laid_back_of_the_square_that_was_painted(
    world: World, mixes: InSwapper
) -> None:
    matrix = fitted(face_of(world.hopper.array()).five, ARCFACE_128, 1)
    back = cv2.invertAffineTransform(matrix)
    changed = change(run(mixes, Blend(world.astronaut, world.hopper)), world.hopper)

    def at(*place: float) -> int:
        x, y = np.rint(back[:, :2] @ place + back[:, 2]).astype(int)
        return int(changed[y, x])

    assert at(0.5, 0.5) > 10
    assert [at(x, y) for x in (0.04, 0.96) for y in (0.05, 0.5, 0.95)] == [0] * 6


def test_a_large_face_painted_in_parts_is_sharper(world: World, same: InSwapper) -> None:
    once = loaded(world.same, boost=1)
    where = face_box(same, world.hopper)
    item = Blend(world.astronaut, world.hopper, blend=1.0)
    soft, sharp = (change(run(e, item), world.hopper)[where].mean() for e in (once, same))
    assert sharp < 0.6 * soft


def test_a_face_is_painted_in_as_many_parts_as_it_has_pixels_for(world: World) -> None:
    five = face_of(world.astronaut.array()).five  # about 110 pixels
    assert [boost(five * scale, 4) for scale in (0.3, 1, 1.6, 2.4, 3, 9)] == [1, 1, 2, 3, 4, 4]
    assert [boost(five * 9, most) for most in (1, 2, 3)] == [1, 2, 3]


def test_the_face_takes_the_colour_of_the_sources_identity(world: World, mixes: InSwapper) -> None:
    fused = run(mixes, Blend(world.astronaut, world.hopper, blend=1.0))
    assert change(fused, world.hopper)[face_box(mixes, world.hopper)].mean() > 20
    assert change(fused, world.hopper)[around(mixes, world.hopper)].max() == 0
    other = run(mixes, Blend(world.pair, world.hopper, source_face=0, blend=1.0))
    assert other.picture.digest != fused.picture.digest
    alike = run(mixes, Blend(world.pair, world.hopper, source_face=1, blend=1.0))
    difference = alike.picture.array().astype(int) - fused.picture.array()
    assert np.abs(difference).mean() < 0.5  # the same person, out of another picture


def test_the_result_moves_evenly_from_the_target_to_the_swap(
    world: World, mixes: InSwapper
) -> None:
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    pictures = [
        run(mixes, Blend(world.astronaut, world.hopper, blend=share)).picture.array().astype(int)
        for share in shares
    ]
    assert (pictures[0] == world.hopper.array()).all()
    whole = pictures[-1] - pictures[0]
    for share, picture in zip(shares, pictures, strict=True):
        assert np.abs(picture - pictures[0] - share * whole).max() <= 1


def test_mouth_and_forehead_can_stay_the_targets(world: World, mixes: InSwapper) -> None:
    eyes, mouth = (face_of(world.hopper.array()).five[part].mean(0) for part in (slice(2), [3, 4]))
    brow = eyes - 0.75 * (mouth - eyes)

    def at(place: Any, **chosen: Any) -> int:
        fused = run(mixes, Blend(world.astronaut, world.hopper, blend=1.0, **chosen))
        x, y = np.rint(place).astype(int)
        return int(change(fused, world.hopper)[y, x])

    assert at(mouth, mouth="target") == 0 < at(mouth)
    assert at(brow, forehead=0.0) == 0 < at(brow)
    assert at(eyes, forehead=0.0, mouth="target") == at(eyes) > 0


def test_the_restorer_is_used_as_far_as_it_is_asked_for_and_within_the_face(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / fusion.INSWAPPER
    shutil.copytree(world.same / fusion.INSWAPPER, folder)
    onnx_faces.restorer(folder / "GFPGANv1.4.onnx", contrast=1.5)
    item = Blend(world.astronaut, world.hopper, blend=1.0)
    grown = []
    for share in (0.0, 0.4, 0.8):
        engine = loaded(tmp_path, restore=share)
        changed = change(run(engine, item), world.hopper)
        assert changed[around(engine, world.hopper)].max() == 0
        grown.append(changed[face_box(engine, world.hopper)].mean())
    assert grown[0] < 5 < grown[1] < grown[2]
    assert "GFPGANv1.4.onnx" in engine.remarks[-1].en
    assert "Apache-2.0" in engine.remarks[-1].en


def test_a_control_that_does_nothing_here_says_so_once_it_is_moved(
    world: World, same: InSwapper
) -> None:
    (note,) = run(same, Blend(world.hopper, world.astronaut, shape=0.9)).notes
    assert (note.en, note.zh[-1]) == ("inswapper does not use shape.", "。")


def test_looking_shows_each_face_the_largest_first(world: World, same: InSwapper) -> None:
    first, second = run(same, Look(world.pair)).faces
    assert (first.index, second.index) == (0, 1)
    assert first.box[0] < 512 < second.box[0]
    assert max(second.thumbnail.width, second.thumbnail.height) <= 112
    assert first.why_not is None


def test_the_chosen_face_of_two_is_the_one_that_changes(world: World, mixes: InSwapper) -> None:
    fused = run(mixes, Blend(world.astronaut, world.pair, target_face=1))
    changed = change(fused, world.pair)
    assert changed[:, :512].max() == 0 < changed[:, 512:].max()
    assert run(mixes, Blend(world.pair, world.pair, 0, 1)).picture.width == 1024


REFUSALS: dict[str, tuple[Callable[[World], Blend], str, str]] = {
    "no face in the source": (
        lambda w: Blend(photo("coffee.png"), w.hopper),
        "No face was found in the source picture",
        "source",
    ),
    "two faces, none chosen": (
        lambda w: Blend(w.hopper, w.pair),
        "shows 2 faces; choose one of them with target_face, 0 (the largest) to 1",
        "target_face",
    ),
    "a face that is not there": (
        lambda w: Blend(w.hopper, w.pair, target_face=2),
        "has no face 2; it shows 2",
        "target_face",
    ),
    "the same picture twice": (
        lambda w: Blend(w.hopper, w.hopper),
        "Source and target are the same picture",
        "target",
    ),
}


@pytest.mark.parametrize("which", REFUSALS)
def test_what_cannot_come_out_well_is_refused_in_the_words_of_the_other_engine(
    world: World, same: InSwapper, which: str
) -> None:
    make, words, field = REFUSALS[which]
    for item in (make(world), Check(make(world))):
        with pytest.raises(BadInput) as refusal:
            same.run([item], go_on)
        assert words in refusal.value.text
        assert refusal.value.field == field


def test_a_check_of_what_can_be_made_draws_nothing(world: World, same: InSwapper) -> None:
    told: list[Any] = []
    assert same.run([Check(Blend(world.astronaut, world.hopper))], told.append) == [Seen()]
    assert told == []


def test_a_caller_who_left_stops_the_work_at_the_next_step(world: World, same: InSwapper) -> None:
    item = Blend(world.astronaut, world.hopper)
    told: list[Progress] = []
    same.run([item], lambda index, part: told.append(part) or True)
    shares = [part.share for part in told]
    assert shares == sorted(set(shares))
    assert list(dict.fromkeys(part.stage for part in told)) == ["checking", "finding", "fusing"]
    assert len([p for p in told if p.stage == "fusing"]) == 5  # whose face it is, four parts
    for leave_at in range(1, len(told) + 1):
        steps: list[Progress] = []

        def leave(index: int, part: Progress, at: int = leave_at, to: Any = steps) -> bool:
            to.append(part)
            return len(to) < at

        assert list(same.run([item], leave)) == [None]
        assert len(steps) == leave_at


def test_an_item_is_the_same_alone_again_and_among_many(world: World, mixes: InSwapper) -> None:
    items = [
        Blend(world.astronaut, world.hopper),
        Look(world.pair),
        Blend(world.hopper, world.pair, target_face=1, blend=0.6),
        Blend(world.hopper, world.astronaut, mouth="target"),
    ]
    alone = [run(mixes, item) for item in items]
    told: list[Any] = []
    assert mixes.run(items, lambda index, part: told.append(part) or False) == alone
    assert told == []
    assert list(reversed(mixes.run(items[::-1], go_on))) == alone


def test_four_threads_at_once_get_what_one_gets(world: World, mixes: InSwapper) -> None:
    items: list[Blend | Look] = [
        Blend(world.astronaut, world.hopper),
        Blend(world.hopper, world.astronaut),
        Look(world.pair),
        Blend(world.hopper, world.pair, target_face=1),
    ]
    alone = [run(mixes, item) for item in items]
    with ThreadPoolExecutor(4) as threads:
        for n, made in enumerate(threads.map(lambda n: run(mixes, items[n % 4]), range(24))):
            assert made == alone[n % 4]


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
    world: World, same: InSwapper
) -> None:
    assert [remark.en.partition(":")[0] for remark in same.remarks] == list(fusion.INSWAPPER_FILES)
    assert all("sha256" in r.en and "non-commercial" in r.en for r in same.remarks)
    if onnx_files.CUDA in onnx_files.onnxruntime.get_available_providers():
        pytest.skip("This onnxruntime has CUDA: what is tried is one without.")
    asked = loaded(world.same, device="cuda")
    assert (asked.device, same.device) == ("CPU", "CPU")
    assert asked.remarks[0].en.startswith("It runs on the CPU, slowly: QUARTET_MODELS__DEVICE is c")
    assert asked.remarks[1:] == same.remarks


def service(tmp_path: Path, folder: Path) -> LocalService:
    settings = Settings(
        state_dir=tmp_path,
        models=Models(folder=folder),
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
    local = service(tmp_path, own)
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


async def test_a_swap_without_the_files_changes_nothing(world: World, tmp_path: Path) -> None:
    local = service(tmp_path, tmp_path / "empty")
    await local.start()
    async with asyncio.timeout(120):
        await ready(local)
        with pytest.raises(ModelLoadError, match=r"put det_10g\.onnx.*mesh-blend still serves\."):
            await local.swap(ModelRecord(1, "inswapper"))
        assert (await local.status()).model == "mesh-blend"
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
