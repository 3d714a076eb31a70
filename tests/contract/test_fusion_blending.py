"""One face on another, as pixels: what changes, what must not, and how it follows its controls."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from backends.engines.faces import Face, Floats, Pixels, shared_finder
from backends.engines.fusion.blending import LONGEST, Style, fuse
from backends.engines.fusion.geometry import MESH, OVAL, REACH, facing
from backends.engines.fusion.skin import blurred
from backends.errors import BadInput
from tests.portraits import another_head, face_of, group, photo, turned_head, turned_points

Portrait = tuple[Pixels, Face]


@pytest.fixture(scope="module")
def astronaut() -> Portrait:
    pixels = photo("astronaut.png").array()
    return pixels, face_of(pixels)


@pytest.fixture(scope="module")
def hopper() -> Portrait:
    pixels = photo("hopper.jpg").array()
    return pixels, face_of(pixels)


def fused(source: Portrait, target: Portrait, **style: Any) -> Pixels:
    return fuse(*source, *target, Style(**style), lambda share: None)


def change(before: Pixels, after: Pixels) -> float:
    return float(np.abs(before.astype(int) - after).mean())


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / ((one.astype(float) - other) ** 2).mean()))


def cut(pixels: Pixels, face: Face) -> Pixels:
    x0, y0, x1, y1 = (int(edge) for edge in face.box)
    return pixels[y0:y1, x0:x1]


def away_from(face: Face, pixels: Pixels) -> np.ndarray:
    """True where the outermost ring around the face does not reach."""
    oval = face.landmarks[OVAL, :2]
    centre = oval.mean(0)
    reach = (oval - centre) * REACH + centre
    left, top = np.floor(reach.min(0)).astype(int)
    right, bottom = np.ceil(reach.max(0)).astype(int)
    away = np.ones(pixels.shape[:2], bool)
    away[max(0, top) : bottom, max(0, left) : right] = False
    return away


def shape_of(pixels: Pixels) -> Floats:
    """The mesh without place and size."""
    points = face_of(pixels).landmarks.astype(np.float64)
    points = points - points.mean(0)
    return points / np.linalg.norm(points)


def apart(one: Floats, other: Floats) -> float:
    """How much two shapes differ, whatever their pose."""
    return float(np.sqrt(max(0.0, 2 - 2 * np.linalg.svd(one.T @ other)[1].sum())))


def test_a_blend_of_nothing_is_the_target(astronaut: Portrait, hopper: Portrait) -> None:
    result = fused(astronaut, hopper, blend=0.0)
    assert np.array_equal(result, hopper[0])
    assert result is not hopper[0]


@pytest.mark.parametrize("to_astronaut", [True, False])
def test_nothing_changes_away_from_the_face(
    astronaut: Portrait, hopper: Portrait, to_astronaut: bool
) -> None:
    source, target = (hopper, astronaut) if to_astronaut else (astronaut, hopper)
    result = fused(source, target, blend=1.0, shape=1.0)
    away = away_from(target[1], target[0])
    assert np.array_equal(result[away], target[0][away])
    assert change(cut(target[0], target[1]), cut(result, target[1])) > 5


@pytest.mark.parametrize("to_astronaut", [True, False])
def test_more_blend_changes_more(astronaut: Portrait, hopper: Portrait, to_astronaut: bool) -> None:
    source, target = (hopper, astronaut) if to_astronaut else (astronaut, hopper)
    changes = [
        change(target[0], fused(source, target, blend=blend)) for blend in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert changes == sorted(set(changes))
    assert changes[0] == 0
    assert 0.4 < changes[2] / changes[4] < 0.75


def test_fine_detail_goes_over_sooner_than_colour(astronaut: Portrait, hopper: Portrait) -> None:
    """Else the target's glasses would shine through as a ghost."""
    half, whole = (
        cut(fused(astronaut, hopper, blend=blend, shape=0.0), hopper[1]).astype(np.float32)
        - cut(hopper[0], hopper[1])
        for blend in (0.5, 1.0)
    )
    coarse = [blurred(part, 12) for part in (half, whole)]
    fine = [half - coarse[0], whole - coarse[1]]
    assert np.abs(coarse[0]).mean() / np.abs(coarse[1]).mean() == pytest.approx(0.5, abs=0.06)
    assert np.abs(fine[0]).mean() / np.abs(fine[1]).mean() == pytest.approx(0.72, abs=0.06)


def test_more_shape_comes_closer_to_the_source_and_leaves_the_target(astronaut: Portrait) -> None:
    pixels = another_head(astronaut[0])
    target = pixels, face_of(pixels)
    source_shape, target_shape = shape_of(astronaut[0]), shape_of(pixels)
    results = [
        shape_of(fused(astronaut, target, blend=1.0, shape=shape)) for shape in (0, 0.35, 0.7, 1)
    ]
    to_source = [apart(result, source_shape) for result in results]
    to_target = [apart(result, target_shape) for result in results]
    assert to_source == sorted(to_source, reverse=True)
    assert to_target == sorted(to_target)
    assert to_source[-1] < to_target[-1] / 2


@pytest.mark.parametrize("name", ["astronaut.png", "hopper.jpg"])
def test_a_face_on_itself_stays_what_it_was(name: str) -> None:
    pixels = photo(name).array()
    face = face_of(pixels)
    result = fused((pixels, face), (pixels, face), blend=1.0)
    assert psnr(cut(result, face), cut(pixels, face)) > 43


def test_the_same_input_gives_the_same_bytes_on_every_thread(
    astronaut: Portrait, hopper: Portrait
) -> None:
    first = fused(astronaut, hopper)
    with ThreadPoolExecutor(2) as threads:
        again = threads.map(lambda _: fused(astronaut, hopper), range(3))
        assert all(np.array_equal(first, result) for result in again)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_target_gives_the_turned_result(
    astronaut: Portrait, hopper: Portrait, quarters: int
) -> None:
    upright = fused(astronaut, hopper)
    pixels = np.ascontiguousarray(np.rot90(hopper[0], quarters))
    turned = fused(astronaut, (pixels, face_of(pixels)))
    back = np.rot90(turned, -quarters)
    assert psnr(cut(back, hopper[1]), cut(upright, hopper[1])) > 30


def test_a_turned_source_gives_the_same_result(astronaut: Portrait, hopper: Portrait) -> None:
    pixels = np.ascontiguousarray(np.rot90(astronaut[0]))
    turned = fused((pixels, face_of(pixels)), hopper)
    assert psnr(cut(turned, hopper[1]), cut(fused(astronaut, hopper), hopper[1])) > 38


def test_one_of_a_group_changes_and_the_others_do_not(astronaut: Portrait) -> None:
    pixels = group()
    faces = shared_finder().find(pixels)
    assert len(faces) == 6
    for face in faces[::2]:
        result = fused(astronaut, (pixels, face))
        assert change(cut(pixels, face), cut(result, face)) > 1
        for other in faces:
            if other is not face:
                assert np.array_equal(cut(result, other), cut(pixels, other))


def test_a_grey_picture_stays_grey(hopper: Portrait, astronaut: Portrait) -> None:
    grey = np.asarray(Image.fromarray(astronaut[0]).convert("L").convert("RGB"))
    result = fused(hopper, (grey, face_of(grey)))
    assert np.ptp(result.astype(int), axis=2).max() <= 2


def test_no_colour_is_stronger_than_in_the_faces(astronaut: Portrait, hopper: Portrait) -> None:
    """A red wrinkle on even skin would be: the target's variety of colour is the limit."""
    result = cut(fused(hopper, astronaut, blend=1.0), astronaut[1]).astype(int)
    before = cut(astronaut[0], astronaut[1]).astype(int)
    redness = [np.percentile(part[..., 0] - part[..., 2], 99) for part in (before, result)]
    assert redness[1] < redness[0] + 12


def test_a_hidden_cheek_is_filled_from_the_other_one(astronaut: Portrait, hopper: Portrait) -> None:
    pixels = turned_head(astronaut[0], 40).copy()
    points = turned_points(astronaut[1], 40)
    hidden = MESH[facing(points)[MESH].max(1) < 0.1]
    for triangle in hidden:  # what lies there is not skin: paint it green
        cv2.fillConvexPoly(pixels, points[triangle, :2].astype(np.int32), (0, 255, 0))
    result = fused((pixels, replace(astronaut[1], landmarks=points, yaw=40)), hopper)
    red, green, blue = cut(result, hopper[1]).astype(int).transpose(2, 0, 1)
    assert (green > np.maximum(red, blue) + 15).mean() < 0.02


def test_a_filled_cheek_has_the_light_of_the_other_one(
    astronaut: Portrait, hopper: Portrait
) -> None:
    pixels = turned_head(astronaut[0], 30)
    face = face_of(pixels)
    assert face.yaw > 15
    results = [cut(fused(source, hopper), hopper[1]) for source in (astronaut, (pixels, face))]
    change = np.abs(results[1].astype(np.float32) - results[0]).max(2)
    height, width = change.shape
    cheeks = blurred(change, 12)[height // 3 : -height // 5, width // 6 : -width // 6]
    assert cheeks.max() < 38


def test_a_face_larger_than_the_working_size_keeps_its_own_detail(
    astronaut: Portrait, hopper: Portrait
) -> None:
    large = Image.fromarray(hopper[0]).resize((2048, 2400), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(1).integers(-12, 13, (2400, 2048, 1))
    pixels = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
    face = face_of(pixels)
    assert face.size * 1.6 > LONGEST
    result = fused(astronaut, (pixels, face), shape=0.0)
    away = away_from(face, pixels)
    assert np.array_equal(result[away], pixels[away])
    grain = [
        np.abs(np.diff(cut(part, face).astype(int), axis=1)).mean() for part in (pixels, result)
    ]
    assert grain[1] > 0.9 * grain[0]


def test_a_mouth_may_be_the_targets(astronaut: Portrait, hopper: Portrait) -> None:
    def lips(pixels: Pixels) -> Pixels:
        points = astronaut[1].landmarks[[61, 291, 0, 17], :2]
        x0, y0 = points.min(0).astype(int)
        x1, y1 = points.max(0).astype(int)
        return pixels[y0:y1, x0:x1]

    taken, kept, auto = (
        change(lips(astronaut[0]), lips(fused(hopper, astronaut, blend=1.0, mouth=mouth)))
        for mouth in ("source", "target", "auto")
    )
    assert kept < taken / 2
    assert auto == kept  # one smiles with teeth, the other's mouth is closed


def test_the_forehead_is_painted_as_high_as_asked(astronaut: Portrait, hopper: Portrait) -> None:
    def brow_to_top(pixels: Pixels) -> Pixels:
        x0, y0, x1, _ = (int(edge) for edge in astronaut[1].box)
        return pixels[y0 : y0 + 16, x0 + 20 : x1 - 20]

    low, high = (
        change(brow_to_top(astronaut[0]), brow_to_top(fused(hopper, astronaut, forehead=part)))
        for part in (0.0, 1.0)
    )
    assert low < high / 2


def test_progress_is_told_in_growing_steps_and_may_stop_the_work(
    astronaut: Portrait, hopper: Portrait
) -> None:
    told: list[float] = []
    fuse(*astronaut, *hopper, Style(), told.append)
    assert told == sorted(set(told))
    assert told[0] > 0
    assert told[-1] < 1

    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        if share >= told[2]:
            raise Enough

    with pytest.raises(Enough):
        fuse(*astronaut, *hopper, Style(), stop)


def test_a_face_without_visible_skin_is_refused(astronaut: Portrait, hopper: Portrait) -> None:
    tiny = Image.fromarray(astronaut[0]).resize((20, 20))
    pixels = np.asarray(tiny)
    face = astronaut[1]
    scale = 20 / 512
    small = replace(face, landmarks=face.landmarks * np.float32(scale), size=face.size * scale)
    with pytest.raises(BadInput, match="Too little skin"):
        fused(hopper, (pixels, small))


def test_any_crop_scale_and_roll_is_answered(astronaut: Portrait, hopper: Portrait) -> None:
    chance = np.random.default_rng(5)
    for _ in range(24):
        source, target = (astronaut, hopper) if chance.random() < 0.5 else (hopper, astronaut)
        image = Image.fromarray(target[0]).rotate(
            float(chance.uniform(-180, 180)), Image.Resampling.BICUBIC, expand=True
        )
        scale = float(chance.uniform(0.3, 0.9))
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        faces = shared_finder().find(np.asarray(image))
        x0, y0, x1, y1 = faces[0].box
        low = chance.uniform(0, 1, 2) * (x0, y0)  # close to the face, and now and then into it
        high = (x1, y1) + chance.uniform(-0.05, 1, 2) * (image.width - x1, image.height - y1)
        pixels = np.asarray(image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
        for face in shared_finder().find(pixels):
            result = fused(
                source,
                (pixels, face),
                blend=float(chance.uniform(0.1, 1)),
                shape=float(chance.uniform(0, 1)),
                light=float(chance.uniform(0, 1)),
            )
            assert result.shape == pixels.shape
