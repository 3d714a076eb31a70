"""SCRFD, ArcFace, inswapper and GFPGAN, each alone, on tiny files whose answers are known."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: run `make models`.")

from onnx import TensorProto

from backends.engines.faces import Floats, Pixels
from backends.engines.fusion import alignment, onnx_files, supplied
from backends.engines.fusion.arcface import ArcFace
from backends.engines.fusion.gfpgan import Gfpgan
from backends.engines.fusion.inswapper import Swapper
from backends.engines.fusion.onnx_files import CPU, CUDA, Network
from backends.engines.fusion.scrfd import FivePoints, Scrfd
from backends.engines.fusion.supplied import APACHE, RESEARCH
from backends.errors import ModelLoadError, OutOfMemory, Unavailable
from tests.portraits import face_of, photo, turned_points
from tests.tiny import onnx_faces
from tests.tiny.onnx_faces import Planted


def blocks(width: int, height: int, seed: int) -> Pixels:
    """A picture whose parts all differ."""
    colours = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return np.ascontiguousarray(colours.repeat(8, 0).repeat(8, 1))


def five_in(box: tuple[float, float, float, float]) -> Floats:
    x0, y0, x1, y1 = box
    return (alignment.ARCFACE_112 * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32)


def planted(picture: Pixels, *box: float, score: float = 0.99) -> Planted:
    x0, y0, x1, y1 = box
    return Planted(picture, (x0, y0, x1, y1), five_in((x0, y0, x1, y1)), score)


def network(path: Path) -> Network:
    return Network(path, "cpu", 1)


def detector(folder: Path, *faces: Planted) -> Scrfd:
    onnx_faces.detector(folder / "det_10g.onnx", faces)
    return Scrfd(network(folder / "det_10g.onnx"))


def swapper(folder: Path, **made: Any) -> Swapper:
    onnx_faces.swapper(folder / "inswapper_128.onnx", **made)
    return Swapper(network(folder / "inswapper_128.onnx"))


@pytest.mark.parametrize(("width", "height"), [(640, 640), (320, 200), (200, 1280)])
def test_boxes_and_points_are_exactly_those_that_the_network_tells(
    tmp_path: Path, width: int, height: int
) -> None:
    picture = blocks(width, height, 1)
    large, small = (20.25, 31.5, 130.75, 162.0), (140.5, 60.0, 180.25, 99.5)
    scrfd = detector(tmp_path, planted(picture, *small), planted(picture, *large, score=0.75))
    first, second = scrfd.find(picture)  # the largest first, not the surest
    assert (first.score, second.score) == pytest.approx((0.75, 0.99), abs=1e-3)
    for face, box in ((first, large), (second, small)):
        assert face.box == pytest.approx(box, abs=0.01)
        assert face.five == pytest.approx(five_in(box), abs=0.01)
        assert face.presence == face.score
    assert first.size == pytest.approx(110.5, abs=0.01)
    assert scrfd.find(blocks(width, height, 2)) == ()


def test_cells_of_every_size_tell_faces(tmp_path: Path) -> None:
    picture = blocks(640, 640, 3)
    corners = [(x, y) for y in (60, 300) for x in (40, 250, 470)]
    boxes = [(x, y, x + 90 - n, y + 110 - n) for n, (x, y) in enumerate(corners)]
    scrfd = detector(tmp_path, *(planted(picture, *box) for box in boxes))
    assert [face.box for face in scrfd.find(picture)] == [
        pytest.approx(box, abs=0.01) for box in boxes
    ]


def test_of_boxes_on_one_face_the_surest_stays(tmp_path: Path) -> None:
    picture = blocks(640, 640, 4)
    near = planted(picture, 100, 100, 200, 220, score=0.8)
    sure = planted(picture, 104, 97, 204, 217, score=0.9)
    beside = planted(picture, 170, 100, 270, 220, score=0.7)
    faces = detector(tmp_path, near, sure, beside).find(picture)
    assert [round(face.score, 2) for face in faces] == [0.9, 0.7]


def test_a_score_under_a_half_is_no_face(tmp_path: Path) -> None:
    picture = blocks(640, 640, 5)
    assert detector(tmp_path, planted(picture, 100, 100, 200, 220, score=0.45)).find(picture) == ()


NO_FACES = {
    "one point": np.full((5, 2), 150.0),
    "far away": five_in((1900, 1900, 2000, 2000)),
    "no numbers": np.full((5, 2), np.nan),
}


@pytest.mark.parametrize("which", NO_FACES)
def test_five_points_that_no_face_has_are_no_face(tmp_path: Path, which: str) -> None:
    """A damaged file may tell such, and nothing could be laid on them."""
    picture = blocks(640, 640, 5)
    real = planted(picture, 300, 300, 400, 420)
    odd = Planted(picture, (100, 100, 200, 220), NO_FACES[which].astype("f4"))
    (face,) = detector(tmp_path, odd, real).find(picture)
    assert face.box == pytest.approx(real.box, abs=0.01)


@pytest.mark.parametrize(("right", "faces"), [(40, 1), (46, 2)])
def test_boxes_that_share_two_fifths_of_their_area_are_one_face(
    tmp_path: Path, right: int, faces: int
) -> None:
    picture = blocks(640, 640, 4)
    one = planted(picture, 100, 100, 200, 220, score=0.9)
    other = planted(picture, 100 + right, 100, 200 + right, 220, score=0.8)
    assert len(detector(tmp_path, one, other).find(picture)) == faces


def test_the_detector_sees_the_numbers_that_it_was_trained_with(tmp_path: Path) -> None:
    """(byte - 127.5) / 128: another divisor is a difference that few detectors would show."""
    picture = blocks(640, 640, 5)
    face = planted(picture, 100, 100, 200, 220)
    onnx_faces.detector(tmp_path / "det_10g.onnx", [face], close=1e-6)
    assert len(Scrfd(network(tmp_path / "det_10g.onnx")).find(picture)) == 1


def test_the_places_of_eyes_nose_and_mouth_are_those_that_the_networks_were_trained_with() -> None:
    small = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
                      (41.5493, 92.3655), (70.7299, 92.2041)])  # fmt: skip
    large = np.array([(192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41),
                      (313.09, 371.15)])  # fmt: skip
    for places, wanted in (
        (alignment.ARCFACE_112 * 112, small),
        (alignment.ARCFACE_128 * 128, small + np.array([8, 0])),
        (alignment.FFHQ_512 * 512, large),
    ):
        assert np.abs(places - wanted).max() < 0.006


@pytest.mark.parametrize("degrees", [-35, -20, 0, 20, 35])
@pytest.mark.parametrize("tilt", [0, 30])
@pytest.mark.parametrize("name", ["hopper.jpg", "astronaut.png"])
def test_five_points_tell_about_how_far_a_head_is_turned(
    name: str, tilt: int, degrees: float
) -> None:
    face = face_of(photo(name).array())
    turned = turned_points(face, degrees)
    tilted = cv2.transform(turned[None, :, :2], cv2.getRotationMatrix2D((0, 0), tilt, 1))[0]
    seen = type(face)(face.box, 1, 1, np.c_[tilted, turned[:, 2]].astype("f4"), 0, 0, 1)
    assert FivePoints(face.box, 1, seen.five).yaw == pytest.approx(face.yaw + degrees, abs=9)


def test_a_face_is_laid_on_the_template_however_it_lies_in_the_picture() -> None:
    turn, shift = cv2.getRotationMatrix2D((0, 0), 33, 2.5)[:, :2], np.array([210.0, 77.0])
    five = ((alignment.ARCFACE_112 * 112) @ turn.T + shift).astype(np.float32)
    matrix = alignment.fitted(five, alignment.ARCFACE_112, 112)
    assert five @ matrix[:, :2].T + matrix[:, 2] == pytest.approx(
        alignment.ARCFACE_112 * 112, abs=1e-3
    )
    assert alignment.scale_of(matrix) == pytest.approx(0.4)
    mirrored = alignment.fitted(five * (-1, 1), alignment.ARCFACE_112, 112)
    assert np.linalg.det(mirrored[:, :2]) > 0


def test_a_large_face_is_averaged_not_sampled() -> None:
    checks = np.indices((800, 800)).sum(0) % 2 * 255
    picture = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    matrix = np.array([[0.125, 0, 0], [0, 0.125, 0]])
    square = alignment.cut(picture, matrix, 100)
    assert square[1:-1, 1:-1].mean() == pytest.approx(127.5, abs=1)
    assert np.ptp(square[1:-1, 1:-1]) <= 4


def test_a_shrunk_square_shows_the_same_place() -> None:
    y, x = np.mgrid[:600, :600]
    picture = np.stack([x * 255 / 600, y * 255 / 600, x * 0], -1).astype(np.uint8)
    for scale in (0.9, 0.45, 0.2):
        matrix = np.array([[scale, 0, -10], [0, scale, -20]])
        square = alignment.cut(picture, matrix, 64).astype(float)
        wanted = (np.mgrid[:64, :64][::-1] + np.array([[[10]], [[20]]])) / scale * 255 / 600
        assert np.abs(square[..., :2] - wanted.transpose(1, 2, 0)).max() < 1.5


def test_an_identity_is_what_the_network_says_of_the_aligned_face_at_length_one(
    tmp_path: Path,
) -> None:
    onnx_faces.recogniser(tmp_path / "w600k_r50.onnx")
    arcface = ArcFace(network(tmp_path / "w600k_r50.onnx"))
    square = blocks(112, 112, 6)
    five = (alignment.ARCFACE_112 * 112).astype(np.float32)
    identity = arcface.identity(square, five)
    means = ((square - 127.5) / 127.5).reshape(7, 16, 7, 16, 3).mean((1, 3)).transpose(2, 0, 1)
    weights = np.random.default_rng(1).standard_normal((147, 512)).astype("f4")
    wanted = means.reshape(-1) @ weights + weights[0] * 0.1
    assert identity == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-5)
    assert np.linalg.norm(identity) == pytest.approx(1)
    elsewhere = np.zeros((300, 300, 3), np.uint8)
    elsewhere[50:162, 90:202] = square
    assert arcface.identity(elsewhere, five + np.float32([90, 50])) == pytest.approx(
        identity, abs=1e-5
    )


def test_an_identity_goes_through_the_emap_that_no_node_uses(tmp_path: Path) -> None:
    made = swapper(tmp_path)
    identity = np.random.default_rng(7).standard_normal(512).astype("f4")
    identity /= np.linalg.norm(identity)
    latent = made.latent(identity)
    assert latent == pytest.approx((identity @ onnx_faces.emap())[None], abs=1e-6)
    square = blocks(128, 128, 8)
    wanted = 0.5 * square + 0.5 * 255 * onnx_faces.colours(latent)
    assert made.swap(square, latent, lambda share: None) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_a_square_swapped_in_parts_is_put_together_exactly(tmp_path: Path, times: int) -> None:
    same = swapper(tmp_path, share=0.0)
    square = blocks(128 * times, 128 * times, 9)
    shares: list[float] = []
    made = same.swap(square, same.latent(np.ones(512, "f4")), shares.append)
    assert (np.rint(made) == square).all()
    assert shares == pytest.approx([(n + 1) / times**2 for n in range(times**2)])


@pytest.mark.parametrize("times", [1, 2, 3])
def test_each_part_of_a_square_is_every_so_many_th_pixel_of_it(tmp_path: Path, times: int) -> None:
    """A part shows the whole face, coarsely: the network knows nothing smaller."""
    pattern = np.random.default_rng(10).random((128, 128)).astype("f4") / 2
    marks = swapper(tmp_path, share=0.0, pattern=pattern)
    square = blocks(128 * times, 128 * times, 11) // 2
    made = marks.swap(square, marks.latent(np.ones(512, "f4")), lambda share: None)
    wanted = square + 255 * pattern.repeat(times, 0).repeat(times, 1)[..., None]
    assert made == pytest.approx(wanted, abs=0.02)


def test_a_network_without_memory_is_an_error_that_the_batcher_knows(tmp_path: Path) -> None:
    onnx_faces.greedy(tmp_path / "det_10g.onnx", 2**50)
    greedy = network(tmp_path / "det_10g.onnx")
    with pytest.raises(OutOfMemory, match=r"det_10g\.onnx ran out of memory\. Send a smaller"):
        greedy.run(**{onnx_faces.INPUT: np.ones(1, np.float32)})
    with pytest.raises(Exception, match="Got invalid dimensions") as other:  # a bug stays a bug
        greedy.run(**{onnx_faces.INPUT: np.ones(2, np.float32)})
    assert not isinstance(other.value, OutOfMemory)


def test_colours_that_are_no_numbers_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    broken = swapper(tmp_path, scale=float("nan"))
    with pytest.raises(Unavailable, match="gave no colours for this face; use the float32 file"):
        broken.swap(blocks(128, 128, 1), broken.latent(np.ones(512, "f4")), lambda share: None)


def test_the_restorer_gets_and_gives_colours_in_its_own_range(tmp_path: Path) -> None:
    onnx_faces.restorer(tmp_path / "same.onnx")
    onnx_faces.restorer(tmp_path / "harder.onnx", contrast=2.0)
    square = blocks(512, 512, 10)
    same = Gfpgan(network(tmp_path / "same.onnx")).restored(square)
    assert (np.rint(same) == square).all()
    harder = Gfpgan(network(tmp_path / "harder.onnx")).restored(square)
    assert harder == pytest.approx(np.clip(square * 2.0 - 127.5, 0, 255), abs=0.01)


def test_the_region_of_a_face_is_round_and_ends_before_the_rim() -> None:
    part = alignment.face_region(128)
    assert part[[0, -1]].max() == part[:, [0, -1]].max() == part[:12, :12].max() == 0
    assert part[40:100, 40:88].min() > 0.9
    assert (part == part[:, ::-1]).all()
    mouth, nose, brow = (92, 64), (70, 64), (15, 64)
    without = alignment.face_region(128, mouth="target")
    assert without[mouth] == 0
    assert without[nose] > 0.9
    low = alignment.face_region(128, forehead=0.0)
    assert low[brow] == 0 < part[brow]
    assert low[nose] == part[nose]
    assert (alignment.face_region(128, forehead=1.0) == part).all()


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a network")


WRONG = {
    "no ONNX": ("det_10g.onnx", _garbage, Scrfd, "cannot be opened"),
    "another network": ("det_10g.onnx", onnx_faces.recogniser, Scrfd, "has no input …×3×640×640"),
    "a short identity": (
        "w600k_r50.onnx",
        lambda path: onnx_faces.recogniser(path, numbers=256),
        ArcFace,
        "gives 256 numbers of a face, not 512",
    ),
    "a tidied swapper": (
        "inswapper_128.onnx",
        lambda path: onnx_faces.swapper(path, tidy=True),
        Swapper,
        "has lost its emap",
    ),
    "half precision": (
        "inswapper_128.onnx",
        lambda path: onnx_faces.swapper(path, element=TensorProto.FLOAT16),
        Swapper,
        r"takes tensor\(float16\), not float32",
    ),
    "another size": (
        "inswapper_128.onnx",
        lambda path: onnx_faces.swapper(path, side=256),
        Swapper,
        r"has no input …×3×128×128 of rank 4 \(target \[1, 3, 256, 256\]",
    ),
    "no restorer": ("GFPGANv1.4.onnx", onnx_faces.swapper, Gfpgan, "has no input …×3×512×512"),
    "no detector": (
        "det_10g.onnx",
        lambda path: onnx_faces.anything(path, onnx_faces.SIDE),
        Scrfd,
        r"is no SCRFD with five points \(it has 1 outputs\)",
    ),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_file_is_named_in_one_sentence(tmp_path: Path, which: str) -> None:
    name, make, read, words = WRONG[which]
    make(tmp_path / name)
    with pytest.raises(ModelLoadError, match=words) as refusal:
        read(network(tmp_path / name))
    assert refusal.value.text.startswith(f"{name} in {tmp_path} ")
    assert refusal.value.text.endswith("; put the original file there")
    assert "\n" not in refusal.value.text


def test_a_file_is_told_by_its_hash_and_the_licence_of_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "det_10g.onnx"
    path.write_bytes(b"x" * 1_500_000)
    file = supplied.supplied(path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.said.en == (
        f"det_10g.onnx: 1.5 MB, sha256 {file.sha256}, not the published file. "
        "Licence of the published one: non-commercial research only."
    )
    known = supplied.Supplied(path.name, 5, supplied.PUBLISHED[path.name], RESEARCH)
    assert ", the published file. " in known.said.en
    assert "与公开文件一致" in known.said.zh
    other = tmp_path / "gfpgan_1.4.onnx"
    other.write_bytes(b"")
    assert supplied.supplied(other).licence == APACHE
    assert "no published hash is known" in supplied.supplied(other).said.en


def test_the_gpu_is_asked_for_where_it_is_wanted_and_offered() -> None:
    both = [CUDA, CPU]
    assert onnx_files.providers("cpu", both) == [CPU]
    assert onnx_files.providers("cuda", [CPU]) == [CPU]
    for device, card in (("auto", 0), ("cuda", 0), ("cuda:1", 1)):
        (name, options), last = onnx_files.providers(device, both)
        assert (name, options["device_id"], last) == (CUDA, card, CPU)
        assert options["arena_extend_strategy"] == "kSameAsRequested"  # else it doubles


def test_falling_back_to_the_cpu_is_said_in_a_sentence_with_its_cause() -> None:
    on = {"det_10g.onnx": True, "inswapper_128.onnx": False}
    assert onnx_files.fallen_back("cpu", on, [CPU]) is None
    assert onnx_files.fallen_back("cuda", dict.fromkeys(on, True), [CUDA, CPU]) is None
    none = onnx_files.fallen_back("auto", on, [CPU])
    assert none is not None
    assert "put onnxruntime-gpu in its place" in none.en
    some = onnx_files.fallen_back("cuda:1", on, [CUDA, CPU])
    assert some is not None
    assert "QUARTET_MODELS__DEVICE is cuda:1, and onnxruntime fell back" in some.en
    assert "inswapper_128.onnx" in some.en
    assert "det_10g" not in some.en
