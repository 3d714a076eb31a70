"""What failures are called, and what events are made of: the pure parts of a service elsewhere."""

from collections.abc import AsyncIterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.serving.remote.events import Event, TooLarge, read_events
from backends.serving.remote.pod import broken
from backends.serving.remote.told import _FAULTS, all_gone, fault, refused
from backends.settings import Remote


def kinds(kind: type[httpx.RequestError]) -> list[type[httpx.RequestError]]:
    """Of httpx itself: other libraries add some of their own to a process that imports them."""
    children = [each for each in kind.__subclasses__() if each.__module__.split(".")[0] == "httpx"]
    return [kind, *(each for child in children for each in kinds(child))]


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds(httpx.RequestError) if len(kinds(kind)) == 1]
)
def test_every_error_of_the_library_below_has_a_sentence(kind: type[httpx.RequestError]) -> None:
    assert broken(kind("oh")) in _FAULTS


@pytest.mark.parametrize("name", _FAULTS)
def test_every_fault_is_a_sentence_in_both_languages(name: str) -> None:
    told = fault(name, "rerank")
    assert told.text.endswith(".")
    assert told.zh.endswith("。")
    assert "{" not in told.text + told.zh
    assert told.retry_after == 1


def test_what_is_gone_says_why_and_when_it_is_tried_again() -> None:
    told = all_gone("rerank", "The rerank service cannot be reached.", 1.2)
    assert told.text == "The rerank service cannot be reached. It is tried again in 2 s."
    assert told.retry_after == 2
    assert all_gone("rerank", "", 0).text.startswith("The rerank service cannot be reached. ")


@pytest.mark.parametrize("header", ["", "soon", "-1", "1e9", "1.5", "9" * 30])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(header: str) -> None:
    told = refused("rerank", 429, b"", {"retry-after": header})
    assert told.retry_after == 1


@pytest.mark.parametrize(
    "body",
    [b'{"error_type": ["BadInput"], "error": "x"}', b'{"error_type": "BadInput", "error": 7}'],
)
def test_a_body_that_is_not_our_error_is_not_believed(body: bytes) -> None:
    assert refused("rerank", 500, body, {}).text == fault("failed", "rerank").text


async def in_pieces(data: bytes, ends: list[int]) -> AsyncIterator[bytes]:
    bounds = sorted({0, len(data), *(end for end in ends if end <= len(data))})
    for start, end in pairwise(bounds):
        yield data[start:end]


@given(st.lists(st.integers(0, 90), max_size=9))
async def test_events_are_the_same_however_the_bytes_arrive(ends: list[int]) -> None:
    data = b"data: one\n\n: a comment\n\nevent: error\ndata:two\ndata: three\n\ndata: cut"
    heard = [event async for event in read_events(in_pieces(data, ends), 100)]
    assert heard == [Event("", b"one"), Event("error", b"two\nthree")]


async def test_an_event_has_an_end() -> None:
    data = b"data: " + b"x" * 200
    with pytest.raises(TooLarge):
        [event async for event in read_events(in_pieces(data, [50, 150]), 100)]


def test_an_address_counts_once_and_without_its_slash() -> None:
    remote = Remote(rerank=("http://a:1/", "http://a:1", " https://b/path/ "))
    assert remote.addresses("rerank") == ("http://a:1", "https://b/path")
    assert remote.addresses("translate") == ()
    assert remote.addresses("another") == ()


@pytest.mark.parametrize(
    "address",
    ["a:1", "ftp://a", "http://", "http://a?b", "http://u:p@a", "http://a:99999", "http://["],
)
def test_an_address_that_is_none_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ValueError, match="rerank"):
        Remote(rerank=(address,))
