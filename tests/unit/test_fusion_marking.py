"""A result says that AI edited it: to the eye, and in its file."""

from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from backends.engines.fusion.marking import LABEL, STATEMENT, as_jpeg, as_png, marked
from backends.engines.picture import Picture

SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def plain(width: int, height: int) -> Picture:
    grey = np.full((height, width, 3), 120, np.uint8)
    return Picture(width, height, grey.tobytes())


def source_type(packet: bytes) -> str:
    start = packet.index(b"<x:xmpmeta")
    end = packet.index(b"</x:xmpmeta>") + len(b"</x:xmpmeta>")
    root = ElementTree.fromstring(packet[start:end])
    return next(e.attrib[SOURCE_TYPE] for e in root.iter() if SOURCE_TYPE in e.attrib)


@pytest.mark.parametrize("size", [(640, 480), (3000, 2000), (90, 120)])
def test_the_mark_lies_in_the_lower_right_and_nowhere_else(size: tuple[int, int]) -> None:
    before = plain(*size)
    after = marked(before)
    changed = (before.array() != after.array()).any(2)
    ys, xs = np.nonzero(changed)
    assert (xs > size[0] * 0.2).all()
    assert (ys > size[1] * 0.7).all()
    assert np.ptp(xs) * np.ptp(ys) > 0.004 * size[0] * size[1]
    assert after.array()[changed].max() > 220
    assert after.array()[changed].min() < 80


@pytest.mark.parametrize("size", [(1, 1), (8, 400), (400, 8)])
def test_a_picture_too_small_for_the_mark_is_not_a_failure(size: tuple[int, int]) -> None:
    assert (marked(plain(*size)).width, marked(plain(*size)).height) == size


def test_the_mark_is_the_same_every_time() -> None:
    assert marked(plain(300, 200)).digest == marked(plain(300, 200)).digest


def test_another_label_is_another_mark() -> None:
    assert marked(plain(300, 200), "Edited").digest != marked(plain(300, 200), LABEL).digest


def test_a_png_keeps_every_pixel_and_says_what_it_is() -> None:
    picture = marked(plain(320, 240))
    with Image.open(BytesIO(as_png(picture))) as read:
        read.load()
        assert read.convert("RGB").tobytes() == picture.rgb
        assert read.info["Description"] == STATEMENT
        assert source_type(read.info["XML:com.adobe.xmp"].encode()).endswith(
            "/compositeWithTrainedAlgorithmicMedia"
        )
        assert not read.getexif()


def test_a_jpeg_says_what_it_is_too() -> None:
    picture = marked(plain(320, 240))
    with Image.open(BytesIO(as_jpeg(picture))) as read:
        assert read.info["comment"] == STATEMENT.encode()
        assert source_type(read.info["xmp"]).endswith("/compositeWithTrainedAlgorithmicMedia")
        assert not read.getexif()
        apart = np.abs(np.asarray(read.convert("RGB")).astype(int) - picture.array())
        assert apart.mean() < 1
