"""What is mended in a JSON body, and that telling of it costs little however much there is."""

import json
import tracemalloc

from backends.serving.wire.text import read_object


def test_what_is_not_text_is_removed_from_names_as_from_values() -> None:
    sent = read_object(json.dumps({"a\ud800": 1, "b": {"c\0": ["\udfff!"]}}).encode())
    assert sent.value == {"a": 1, "b": {"c": ["!"]}}
    assert sent.warnings() == ["Characters that are not text were removed from a, b.c, b.c[0]."]


def test_of_very_many_places_the_first_are_named_and_the_rest_counted() -> None:
    sent = read_object(json.dumps({"documents": ["\0"] * 5000}).encode())
    (warning,) = sent.warnings()
    assert warning.startswith("Characters that are not text were removed from documents[0], ")
    assert warning.endswith(" and 4997 more.")


def test_naming_the_places_takes_no_memory_of_their_own() -> None:
    inner = b"[" + b",".join([b'"\\u0000"'] * 20_000) + b"]"
    name = b"n" * 20_000  # the path of each is as long as this
    body = b'{"' + name + b'":' + inner + b"}"
    tracemalloc.start()
    try:
        read_object(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * len(body)
