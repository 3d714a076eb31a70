"""
The ONNX route as an engine, on tiny files of the same inputs and outputs: what it answers and
refuses, the same alone and in company.
"""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: run `make models`.")

from backends.engines import fusion
from backends.engines.fusion import Blend, Check, Look, Progress, Seen
from backends.engines.fusion.alignment import ARCFACE_112, ARCFACE_128, fitted
from backends.engines.fusion.arcface import ArcFace
from backends.engines.fusion.gfpgan import Gfpgan
from backends.engines.fusion.inswapper import Swapper
from backends.engines.fusion.onnx_files import Network
from backends.engines.fusion.onnx_swap import InSwapper, Painter, boost
from backends.engines.fusion.scrfd import FivePoints
from backends.engines.picture import Picture
from backends.errors import BadInput
from backends.settings import Inswapper
from tests.portraits import face_of, photo
from tests.tiny import onnx_faces, onnx_world
from tests.tiny.onnx_world import World, change, go_on, loaded, run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return onnx_world.build(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def same(world: World) -> InSwapper:
    return loaded(world.same)


@pytest.fixture(scope="module")
def mixes(world: World) -> InSwapper:
    return loaded(world.mixes)


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


def test_the_restorer_sees_the_face_where_it_was_trained_to_and_only_the_face_is_taken_back(
    world: World, tmp_path: Path
) -> None:
    """Its answer is a map of its own square: a pixel's colour tells where it came from."""
    folder = tmp_path / fusion.INSWAPPER
    shutil.copytree(world.same / fusion.INSWAPPER, folder)
    x, y = np.meshgrid(np.arange(512), np.arange(512))
    places = np.stack([x, y, x * 0], -1) * 255 / 511
    onnx_faces.restorer(folder / "gfpgan_1.4.onnx", contrast=0.0, picture=places.astype("f4"))
    item = Blend(world.astronaut, world.hopper, blend=1.0)
    made = run(loaded(tmp_path, restore=1.0), item)
    five = face_of(world.hopper.array()).five
    ffhq = np.array([(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41),
                     (313.09, 371.15)])  # fmt: skip
    turn = turn_onto(five, ffhq)
    wanted = five @ turn[:2] + turn[2]
    for (column, row), place in zip(np.rint(five).astype(int), wanted, strict=True):
        told = made.picture.array()[row, column, :2].astype(float) * 511 / 255
        assert told == pytest.approx(place, abs=6)  # of 512: rounding, and the region's fading
    back = cv2.invertAffineTransform(fitted(five, ARCFACE_128, 1))
    for rim in ((0.03, 0.05), (0.97, 0.05), (0.03, 0.95), (0.97, 0.95)):
        column, row = np.rint(back[:, :2] @ rim + back[:, 2]).astype(int)
        assert change(made, world.hopper)[row, column] == 0


def turn_onto(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The similarity of least squares, 3 × 2, by solving for its four numbers."""
    (x, y), none, one = points.T.astype(float), np.zeros(5), np.ones(5)
    rows = np.concatenate([np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)])
    a, b, right, down = np.linalg.lstsq(rows, wanted.T.reshape(-1), rcond=None)[0]
    return np.array([(a, b), (-b, a), (right, down)])


@pytest.mark.filterwarnings("error")
def test_a_face_anywhere_even_half_outside_is_painted_and_nothing_else(
    world: World, tmp_path: Path
) -> None:
    folder = world.mixes / fusion.INSWAPPER
    recogniser, swapper = (
        Network(folder / name, "cpu", 1) for name in ("w600k_r50.onnx", "inswapper_128.onnx")
    )
    onnx_faces.restorer(tmp_path / "gfpgan_1.4.onnx", contrast=1.5)
    painter = Painter(
        ArcFace(recogniser),
        Swapper(swapper),
        Gfpgan(Network(tmp_path / "gfpgan_1.4.onnx", "cpu", 1)),
        Inswapper(),
    )
    source = FivePoints((0, 0, 1, 1), 1.0, face_of(world.astronaut.array()).five)
    random = np.random.default_rng(12)
    item, size = Blend(world.astronaut, world.hopper), (world.hopper.width, world.hopper.height)
    for _ in range(12):
        turn, wide = random.uniform(-np.pi, np.pi), random.uniform(20, 700)
        shape = (ARCFACE_112 - 0.5) * wide + random.normal(0, wide / 20, (5, 2))
        turned = shape @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]
        middle = random.uniform(0, 1, 2) * size
        target = FivePoints((0, 0, 1, 1), 1.0, (turned + middle).astype("f4"))
        pixels, _ = painter.paint(item, source, target, lambda share: None)
        y, x = np.nonzero((pixels != world.hopper.array()).any(2))
        assert np.hypot(x - middle[0], y - middle[1]).max(initial=0) < wide


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
