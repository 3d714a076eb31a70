"""Pictures from strangers: what is read, what is refused, and that nothing else can happen."""

import io
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Transpose

from backends.engines.picture import Picture, PictureLimits
from backends.engines.picture_files import inspect
from backends.engines.pictures import (
    ANIMATED,
    TRANSPARENT,
    UNDERSTANDING_SIDE,
    decode_base64,
    read_picture,
    times_smaller,
)
from backends.errors import BadInput

PHOTOS = Path(__file__).parent.parent / "photos"
CAT = Image.open(PHOTOS / "chelsea.png").convert("RGB")
ORIENTATION = 0x0112


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colours: int, rows: bytes) -> bytes:
    """A PNG by hand: Pillow cannot write 16-bit colours, nor a header that lies."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def differ(one: Picture, image: Image.Image) -> float:
    """Mean difference in grey levels."""
    pixels = np.asarray(image.convert("RGB"), float)
    return float(abs(one.array().astype(float) - pixels).mean())


def refusal(data: bytes, **options: PictureLimits) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read_picture(data, **options, field="documents[2]")
    assert caught.value.field == "documents[2]"
    assert caught.value.zh
    return caught.value


# What is read


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (saved(CAT, "PNG"), 0),
        (saved(CAT, "BMP"), 0),
        (saved(CAT, "WEBP", lossless=True), 0),
        (saved(CAT, "JPEG", quality=95), 2),
        (saved(CAT, "JPEG", quality=95, progressive=True), 2),
        (saved(CAT, "GIF"), 12),
        (saved(CAT.quantize(64), "PNG"), 8),
        (saved(CAT.convert("CMYK"), "JPEG", quality=95), 2),
        (saved(CAT.convert("YCbCr"), "JPEG", quality=95), 2),
    ],
    ids=["png", "bmp", "webp", "jpeg", "progressive", "gif", "palette", "cmyk", "ycbcr"],
)
def test_every_kind_of_file_gives_the_same_picture(data: bytes, most: float) -> None:
    picture = read_picture(data)
    assert (picture.width, picture.height, picture.notes) == (*CAT.size, ())
    assert differ(picture, CAT) <= most


def test_grey_and_black_and_white_pictures_become_rgb() -> None:
    assert differ(read_picture(saved(CAT.convert("L"), "PNG")), CAT.convert("L")) == 0
    assert differ(read_picture(saved(CAT.convert("1"), "PNG")), CAT.convert("1")) == 0


def test_sixteen_bits_keep_their_upper_eight() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    picture = read_picture(saved(Image.fromarray(levels), "PNG"))
    assert (picture.array()[:, :, 0] == levels >> 8).all()
    colours = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0x0100, 0x8000, 0xFFFF))
    assert read_picture(colours).array().tolist() == [[[1, 128, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("number", "lying"),
    [
        (1, None),
        (2, Transpose.FLIP_LEFT_RIGHT),
        (3, Transpose.ROTATE_180),
        (4, Transpose.FLIP_TOP_BOTTOM),
        (5, Transpose.TRANSPOSE),
        (6, Transpose.ROTATE_90),
        (7, Transpose.TRANSVERSE),
        (8, Transpose.ROTATE_270),
    ],
)
def test_a_rotated_picture_is_read_upright(kind: str, number: int, lying: Transpose | None) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = number
    stored = CAT if lying is None else CAT.transpose(lying)
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read_picture(saved(stored, kind, exif=exif, **options))
    assert (picture.width, picture.height) == CAT.size
    assert differ(picture, CAT) <= (4 if kind == "JPEG" else 0)


def test_orientation_is_found_behind_the_pixels_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    body = saved(CAT.rotate(180), "PNG")
    end = body.index(b"IEND") - 4
    late = body[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + body[end:]
    assert differ(read_picture(late), CAT) == 0


@pytest.mark.parametrize(
    "exif",
    [b"", b"MM", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"XX*\0\x08\0\0\0\x01\0"],
)
def test_broken_exif_is_ignored(exif: bytes) -> None:
    body = saved(CAT, "PNG")
    end = body.index(b"IDAT") - 4
    assert differ(read_picture(body[:end] + chunk(b"eXIf", exif) + body[end:]), CAT) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read_and_the_note_says_so(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    picture = read_picture(data)
    assert picture.notes == (ANIMATED,)
    assert picture.array()[5, 5].tolist() == [255, 0, 0]


def test_transparent_parts_become_white_and_the_note_says_so() -> None:
    half = Image.new("RGBA", (4, 1), (255, 0, 0, 128))
    half.putpixel((0, 0), (0, 0, 255, 0))
    for kind in ("PNG", "WEBP"):
        picture = read_picture(saved(half, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert picture.array()[0, :2].tolist() == [[255, 255, 255], [255, 127, 127]]
        assert picture.notes == (TRANSPARENT,)


@pytest.mark.parametrize("mode", ["P", "RGB", "L", "LA", "1"])
def test_every_kind_of_transparency_becomes_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255)).convert(mode)
    if mode == "LA":
        image.putpixel((1, 0), (0, 0))
        data = saved(image, "PNG")
    else:
        image.putpixel((1, 0), {"RGB": (255, 0, 0)}.get(mode, 1))
        data = saved(image, "PNG", transparency={"RGB": (255, 0, 0)}.get(mode, 1))
    picture = read_picture(data)
    assert picture.array()[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert picture.notes == (TRANSPARENT,)


def test_an_alpha_channel_that_hides_nothing_is_no_news() -> None:
    assert read_picture(saved(CAT.convert("RGBA"), "PNG")).notes == ()


def test_one_pixel_is_a_picture() -> None:
    picture = read_picture(saved(Image.new("RGB", (1, 1), "red"), "PNG"), side=224)
    assert picture == Picture(1, 1, b"\xff\0\0")


def test_nothing_but_pixels_comes_through() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    data = saved(CAT, "JPEG", exif=exif, comment=b"a secret comment")
    picture = read_picture(data)
    assert b"secret" in data
    assert b"secret" not in picture.rgb
    assert "rgb" not in repr(picture)


def telling(kind: str, turn: int, size: tuple[int, int]) -> bytes:
    """A file that tells wherever its kind can: the camera's notes, a comment, a colour profile."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E] = turn, "a secret place"
    secrets: dict[str, object] = {"exif": exif, "icc_profile": b"a secret profile"}
    if kind == "JPEG":
        secrets |= {"comment": b"a secret comment", "xmp": b"a secret life"}
    data = saved(CAT.resize(size), kind, **secrets)
    if kind == "JPEG":
        thumbnail = b"JFXX\0\x10secret thumbnail..."
        data = data[:2] + b"\xff\xe0\0\x1a" + thumbnail[:24] + data[2:] + b"a secret film"
    return data


@pytest.mark.parametrize("side", [None, UNDERSTANDING_SIDE])
@pytest.mark.parametrize("size", [(300, 200), (2900, 1000), (3841, 1925), (4000, 90)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", [1, 6])
def test_what_draws_a_picture_gives_its_pixels_again_and_tells_nothing(
    kind: str, turn: int, size: tuple[int, int], side: int | None
) -> None:
    data = telling(kind, turn, size)
    picture = read_picture(data, side=side)
    assert b"secret" in data
    assert b"secret" not in picture.as_file()
    assert len(picture.file) < len(data)
    again = read_picture(picture.as_file(), side=side)
    assert again == picture
    assert again.as_file() == picture.as_file()


def test_what_draws_a_jpeg_keeps_its_colours() -> None:
    data = saved(CAT, "JPEG", keep_rgb=True)
    for said, unsaid in (
        (b"R\x11\0G\x11\0B\x11", b"\1\x11\0\2\x11\0\3\x11"),
        (b"R\0G\0B", b"\1\0\2\0\3"),
    ):
        assert said in data
        data = data.replace(said, unsaid, 1)  # now nothing but Adobe's segment says that it is RGB
    picture = read_picture(data)
    assert differ(picture, CAT) < 4
    assert read_picture(picture.file) == picture


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(30, 500))
@example(1283, 101, 30)  # its half just fits, but half of 101 is 51
def test_what_was_made_smaller_is_not_made_smaller_again(
    width: int, height: int, side: int
) -> None:
    once = shrunk_to(width, height, side)
    assert shrunk_to(*once, side) == once


def shrunk_to(width: int, height: int, side: int) -> tuple[int, int]:
    """The size alone: no pixel is needed to know it."""
    times = times_smaller(width, height, side)
    return -(-width // times), -(-height // times)


def test_the_same_pixels_have_the_same_digest() -> None:
    one, other = read_picture(saved(CAT, "PNG")), read_picture(saved(CAT, "BMP"))
    assert one.digest == other.digest
    turned = read_picture(saved(CAT.rotate(180), "PNG"))
    wide, tall = Picture(2, 1, b"\1" * 6), Picture(1, 2, b"\1" * 6)
    assert len({one.digest, turned.digest, wide.digest, tall.digest}) == 4


# Smaller on request


def test_a_large_photo_is_decoded_no_larger_than_the_model_needs() -> None:
    large = CAT.resize((2000, 1500), Image.Resampling.BICUBIC)
    for kind in ("JPEG", "PNG"):
        data = saved(large, kind)
        picture = read_picture(data, side=224)
        assert 448 <= min(picture.width, picture.height) < 896
        assert (read_picture(data).width, read_picture(data).height) == (2000, 1500)
        small = large.resize((224, 224), Image.Resampling.BICUBIC)
        seen = picture.image().resize((224, 224), Image.Resampling.BICUBIC)
        assert abs(np.asarray(small, float) - np.asarray(seen)).mean() < 1


def test_a_small_photo_is_left_as_it_is() -> None:
    assert differ(read_picture(saved(CAT, "PNG"), side=UNDERSTANDING_SIDE), CAT) == 0


@pytest.mark.parametrize("mode", ["P", "RGBA", "1", "I;16", "CMYK"])
def test_every_mode_can_be_made_smaller(mode: str) -> None:
    large = Image.new("RGB", (900, 600), "white")
    if mode == "I;16":
        data = saved(Image.fromarray(np.full((600, 900), 65535, np.uint16)), "PNG")
    else:
        data = saved(large.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    picture = read_picture(data, side=100)
    assert (picture.width, picture.height) == ((450, 300) if mode == "CMYK" else (300, 200))
    assert picture.array().min() == 255


def test_a_long_strip_stays_small_in_memory() -> None:
    strip = saved(Image.new("L", (30_000, 1000)), "PNG")
    picture = read_picture(strip, side=480)
    assert len(picture.rgb) <= 3 * (6 * 480) ** 2


# What is refused


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no bytes"),
        (b"a note, named photo.png", "not a picture that can be read, whatever its name"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not read here"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg width="1">', "SVG is not read here"),
        (b"\xef\xbb\xbf <!-- a --><svg>", "SVG is not read here"),
        (saved(CAT, "TIFF"), "TIFF is not read here. Save the picture as"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF is not read here"),
        (b"%PDF-1.7\n", "PDF is not read here"),
        (saved(CAT, "ICO"), "not a picture that can be read"),
        (saved(CAT, "JPEG")[:-2000], "damaged or cut short"),
        (saved(CAT, "PNG")[:-2000], "damaged or cut short"),
        (saved(CAT, "WEBP")[:-2000], "damaged or cut short"),
        (saved(CAT, "BMP")[:-2000], "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (saved(CAT, "PNG") + b"\0" * 20_000_001, "larger than 20 MB"),
        (saved(Image.new("L", (51, 1)), "PNG"), "too narrow: 51 × 1 pixels"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(data: bytes, says: str) -> None:
    assert says in refusal(data).text


@pytest.mark.parametrize(
    "data",
    [
        png(8500, 6000, 8, 2, b""),  # 51 megapixels
        png(60_000, 60_000, 1, 0, b""),  # a bomb: more than Pillow would open
        png(12_000, 12_000, 8, 2, b""),  # more than Pillow would open without a warning
        b"GIF89a" + struct.pack("<HHBBB", 8500, 6000, 0, 0, 0) + b";",
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0" + b"VP8 \0\0\0\0",
    ],
)
def test_a_large_picture_is_refused_by_its_header(data: bytes) -> None:
    said = refusal(data).text
    assert "megapixels" in said or "damaged" in said  # never decoded: there are no pixels to decode


def test_fifty_one_megapixels_of_real_pixels_are_refused_and_fifty_are_read() -> None:
    assert "50 megapixels" in refusal(saved(Image.new("L", (8500, 6000)), "PNG")).text
    assert "5000 万像素" in refusal(saved(Image.new("L", (8500, 6000)), "PNG")).zh
    assert read_picture(saved(Image.new("L", (8000, 6250)), "PNG"), side=224).width >= 448


def test_a_gif_frame_that_is_larger_than_its_screen_is_refused() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + b"\0" * 6
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;"
    assert "megapixels" in refusal(screen + frame).text


def test_a_jpeg_that_asks_for_a_thousand_passes_is_refused() -> None:
    data = saved(CAT, "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    third = data.index(b"\xff\xda", second + 2)
    hostile = data[:second] + data[second:third] * 1000 + data[third:]
    assert "more parts than any photo" in refusal(hostile).text


def test_passes_of_a_thumbnail_or_of_an_appended_film_do_not_count() -> None:
    exif = b"Exif\0\0" + b"\xff\xda" * 500
    data = saved(CAT, "JPEG", exif=exif) + b"\xff\xda\0\2" * 5000
    assert differ(read_picture(data), CAT) < 4


def with_jpeg_comments(count: int) -> bytes:
    data = saved(CAT, "JPEG")
    return data[:2] + b"\xff\xfe\0\4hi" * count + data[2:]


def with_png_texts(count: int) -> bytes:
    data = saved(CAT, "PNG")
    return data[:33] + chunk(b"tEXt", b"a\0b") * count + data[33:]


def with_gif_comments(count: int) -> bytes:
    data = saved(Image.new("P", (1, 1)), "GIF")
    return data[:-1] + b"!\xfe\2hi\0" * count + b";"


@pytest.mark.parametrize("write", [with_jpeg_comments, with_png_texts, with_gif_comments])
def test_no_reader_sees_comments_and_no_file_may_be_made_of_them(
    write: Callable[[int], bytes],
) -> None:
    few, none = write(2), write(0)
    assert read_picture(few) == read_picture(none)
    assert inspect(few).data == inspect(none).data
    assert "more parts than any photo" in refusal(write(120_000)).text


def test_a_warning_about_a_part_that_is_not_needed_refuses_nothing() -> None:
    bad_exif = saved(CAT, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\1\x0f\0\2\0\0\xff\xff")
    assert differ(read_picture(bad_exif), CAT) < 4
    data = saved(CAT, "PNG")
    assert differ(read_picture(data[:33] + chunk(b"acTL", b"\0" * 8) + data[33:]), CAT) == 0


def test_limits_are_arguments() -> None:
    data = saved(CAT, "PNG")
    assert "1 MB" in refusal(saved(CAT, "BMP") * 3, limits=PictureLimits(bytes=1_000_000)).text
    assert "0.1 megapixels" in refusal(data, limits=PictureLimits(pixels=100_000)).text
    assert "too narrow" in refusal(data, limits=PictureLimits(aspect=1)).text


def test_a_picture_counts_its_bytes() -> None:
    with pytest.raises(ValueError, match="three bytes a pixel"):
        Picture(2, 2, b"\0")


# Base64


@pytest.mark.parametrize(
    "head",
    ["", "data:image/png;base64,", "data:;base64,", "DATA:text/plain;charset=utf-8;base64,"],
)
def test_base64_and_data_uris_are_decoded(head: str) -> None:
    data = saved(CAT, "PNG")
    assert decode_base64(head + b64encode(data).decode()) == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://example.org/cat.png", "Addresses are not fetched"),
        ("file:///etc/passwd", "Addresses are not fetched"),
        ("data:image/png,raw", "Addresses are not fetched"),
        ("not base64", "not valid base64"),
        ("AAA", "not valid base64"),
        ("AA\nA=", "not valid base64"),
        ("é" * 8, "not valid base64"),
        ("_-_-", "not valid base64"),
        ("A" * 26_666_680, "larger than 20 MB"),
    ],
)
def test_other_text_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        decode_base64(text, field="image")
    assert (caught.value.field, bool(caught.value.zh)) == ("image", True)


def test_the_largest_picture_fits_through_base64() -> None:
    data = b"\0" * 20_000_000
    assert decode_base64(b64encode(data).decode()) == data
    with pytest.raises(BadInput, match="larger"):
        decode_base64(b64encode(data + b"\0\0\0").decode())


# Anything at all

SMALL = CAT.resize((48, 32))
ICON = SMALL.convert("RGBA")
FILES = [
    saved(SMALL, "PNG"),
    saved(ICON, "PNG"),
    saved(SMALL.quantize(16), "PNG", transparency=3),
    saved(SMALL, "JPEG"),
    saved(SMALL, "JPEG", progressive=True, exif=Image.Exif()),
    saved(SMALL.convert("CMYK"), "JPEG"),
    saved(SMALL, "WEBP"),
    saved(ICON, "WEBP", lossless=True, save_all=True, append_images=[ICON.rotate(90)]),
    saved(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(90)]),
    saved(SMALL, "BMP"),
    saved(SMALL.quantize(16), "BMP"),
    saved(SMALL, "PNG", save_all=True, append_images=[SMALL.rotate(90)]),
]
HEADS = [file[:size] for file in FILES for size in (3, 12, 40)]


def read_or_refuse(data: bytes, side: int | None = None) -> None:
    limits = PictureLimits(bytes=1_000_000, pixels=1_000_000)
    try:
        picture = read_picture(data, side=side, limits=limits)
    except BadInput:
        return
    assert len(picture.rgb) == picture.width * picture.height * 3 <= 3_000_000


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.just(b""), st.sampled_from(HEADS)), st.binary(max_size=400))
def test_random_bytes_are_refused_or_read(head: bytes, rest: bytes) -> None:
    read_or_refuse(head + rest)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.floats(0, 1), st.sampled_from([None, 8]))
def test_files_cut_short_are_refused_or_read(file: bytes, part: float, side: int | None) -> None:
    read_or_refuse(file[: int(part * len(file))], side)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_files_with_changed_bytes_are_refused_or_read(
    file: bytes, changes: list[tuple[float, int]]
) -> None:
    changed = bytearray(file)
    for where, value in changes:
        changed[int(where**3 * len(file))] = value  # most of them in the header
    read_or_refuse(bytes(changed))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_bytes_or_refused(text: str) -> None:
    for each in (text, "data:image/png;base64," + text):
        try:
            assert isinstance(decode_base64(each), bytes)
        except BadInput:
            continue


def test_threads_read_side_by_side() -> None:
    files = FILES * 8
    alone = [read_picture(file).digest for file in files]
    with ThreadPoolExecutor(8) as pool:
        digest: Callable[[bytes], bytes] = lambda file: read_picture(file).digest  # noqa: E731
        assert list(pool.map(digest, files)) == alone
