"""Faces in free photos: found where they are, at any roll and size, and nowhere else."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.engines.faces import ASSETS, NOSE, Face, FaceFinder, Pixels, shared_finder

PHOTOS = Path(__file__).parent.parent / "photos"
PORTRAITS = ("astronaut.png", "hopper.jpg")
WITHOUT_FACES = (
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "rocket.jpg",
)


def photo(name: str) -> Image.Image:
    return Image.open(PHOTOS / name).convert("RGB")


def scaled(image: Image.Image, by: float) -> Image.Image:
    return image.resize(
        (round(image.width * by), round(image.height * by)), Image.Resampling.LANCZOS
    )


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return shared_finder()


def only(faces: tuple[Face, ...]) -> Face:
    assert len(faces) == 1
    return faces[0]


def test_the_face_of_a_portrait_is_found_where_it_is(finder: FaceFinder) -> None:
    face = only(finder.find(pixels(photo("astronaut.png"))))
    assert np.abs(np.subtract(face.box, (178, 67, 273, 175))).max() < 3
    assert face.size == pytest.approx(93.5, abs=2)
    assert abs(face.yaw) < 5
    assert abs(face.roll) < 5
    assert face.presence > 0.99


def test_the_five_points_are_eyes_nose_and_mouth_in_the_pictures_order(finder: FaceFinder) -> None:
    left, right, nose, mouth_left, mouth_right = only(finder.find(pixels(photo("hopper.jpg")))).five
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < nose[0] < mouth_right[0]


@pytest.mark.parametrize("name", WITHOUT_FACES)
@pytest.mark.parametrize("roll", [0, 105, 270])
def test_no_face_is_seen_where_there_is_none(finder: FaceFinder, name: str, roll: int) -> None:
    assert finder.find(pixels(photo(name).rotate(roll, expand=True))) == ()


@pytest.mark.parametrize("name", PORTRAITS)
@pytest.mark.parametrize("turn", [-150, -90, -45, 30, 60, 120, 180])
def test_a_head_is_found_at_any_roll_with_its_size(
    finder: FaceFinder, name: str, turn: int
) -> None:
    upright = only(finder.find(pixels(photo(name))))
    turned = photo(name).rotate(-turn, Image.Resampling.BICUBIC, expand=True)
    face = only(finder.find(pixels(turned)))
    assert (face.roll - upright.roll - turn + 180) % 360 - 180 == pytest.approx(0, abs=3)
    assert face.size == pytest.approx(upright.size, rel=0.04)


@pytest.mark.parametrize("size", [22, 60, 300, 700])
def test_a_face_is_found_at_any_size(finder: FaceFinder, size: int) -> None:
    face = only(finder.find(pixels(scaled(photo("astronaut.png"), size / 93.5))))
    assert face.size == pytest.approx(size, rel=0.06)


def test_a_small_face_in_a_large_picture_is_found(finder: FaceFinder) -> None:
    canvas = Image.new("RGB", (2400, 1600), (90, 110, 90))
    canvas.paste(scaled(photo("hopper.jpg"), 0.22), (1900, 1200))
    face = only(finder.find(pixels(canvas)))
    assert face.size == pytest.approx(41, abs=4)
    assert np.abs(face.landmarks[NOSE, :2] - (1900 + 0.22 * 252, 1200 + 0.22 * 244)).max() < 10


def test_everyone_in_a_group_is_found_once_the_largest_first(finder: FaceFinder) -> None:
    canvas = Image.new("RGB", (1500, 1000), (70, 80, 95))
    for at, (name, by, roll) in enumerate(
        (name, by, roll)
        for name, sizes in zip(PORTRAITS, ((0.9, 0.7, 0.5), (0.8, 0.6, 0.4)), strict=True)
        for by, roll in zip(sizes, (0, 15, -20), strict=True)
    ):
        copy = scaled(photo(name), by).rotate(roll, Image.Resampling.BICUBIC, fillcolor="#46505f")
        canvas.paste(copy, (at % 3 * 500, at // 3 * 500))
    faces = finder.find(pixels(canvas))
    assert len(faces) == 6
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)


def test_a_profile_says_how_far_and_which_way_it_is_turned(finder: FaceFinder) -> None:
    image = photo("camera.png")
    right = only(finder.find(pixels(image)))
    left = only(finder.find(pixels(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))))
    assert 40 < right.yaw < 60
    assert -60 < left.yaw < -40


def test_the_same_picture_gives_the_same_faces_from_many_threads(finder: FaceFinder) -> None:
    picture = pixels(photo("hopper.jpg"))
    alone = only(finder.find(picture))
    with ThreadPoolExecutor(4) as threads:
        for faces in threads.map(finder.find, [picture] * 8):
            assert np.array_equal(only(faces).landmarks, alone.landmarks)


def test_a_face_cannot_be_changed(finder: FaceFinder) -> None:
    face = only(finder.find(pixels(photo("astronaut.png"))))
    with pytest.raises(FrozenInstanceError):
        face.yaw = 0.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        face.landmarks[0] = 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3), (40, 40)])
def test_a_picture_of_any_shape_is_answered(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.find(np.full((*shape, 3), 128, np.uint8)) == ()


def test_the_networks_are_loaded_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(lambda _: shared_finder(), range(8)))) == 1


def test_onnxruntime_is_imported_only_when_faces_are_looked_for() -> None:
    code = "import sys, backends.engines.faces; print('onnxruntime' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PHOTOS.parent.parent,
    )
    assert done.stdout.strip() == "False"


def test_the_bundled_networks_are_those_that_the_notice_names() -> None:
    notice = (ASSETS / "NOTICE.md").read_text(encoding="utf-8")
    for name in ("blazeface_back_256.onnx", "facemesh_192.onnx", "topo.json"):
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() in notice
