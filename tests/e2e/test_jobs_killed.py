"""A process that is killed at any moment loses no job, runs none twice, and shows none around."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent.parent
KILLS = 10


def driver(folder: Path, what: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.jobs_driver", str(folder), what],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(lines: IO[str]) -> dict[str, Any]:
    line = lines.readline()
    assert line, "the driver ended before it was killed"
    facts: dict[str, Any] = json.loads(line)
    return facts


def run_and_kill(folder: Path, moments: random.Random) -> list[dict[str, Any]]:
    """What one driver accepted and told us of before a random moment."""
    process = driver(folder, "load")
    assert process.stdout is not None
    assert "ready" in told(process.stdout)
    accepted = [told(process.stdout) for _ in range(moments.randint(1, 25))]
    try:  # a moment between two lines, not only right after one
        process.wait(moments.uniform(0, 0.08))
    except subprocess.TimeoutExpired:
        process.kill()
    rest, _ = process.communicate(timeout=60)
    whole = rest[: rest.rfind("\n") + 1]  # a line cut short was not an answer
    return accepted + [json.loads(line) for line in whole.splitlines()]


def settled(folder: Path, accepted: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Start again, and ask what has become of each."""
    process = driver(folder, "settle")
    out, _ = process.communicate("".join(json.dumps(one) + "\n" for one in accepted), timeout=300)
    assert process.returncode == 0
    _, *lines = (json.loads(line) for line in out.splitlines())
    return {line["id"]: line for line in lines}


def test_every_accepted_job_ends_once_and_is_seen_by_its_owner_alone(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    moments = random.Random(seed)
    accepted: list[dict[str, Any]] = []
    ends: dict[str, dict[str, Any]] = {}
    for _ in range(KILLS):
        accepted += run_and_kill(tmp_path, moments)
        after = settled(tmp_path, accepted)
        assert set(after) == {one["accepted"] for one in accepted}
        for job, end in after.items():
            assert end["state"] in ("done", "failed", "cancelled")
            assert bool(end["error"]) == (end["state"] == "failed")
            assert end["seen_by"] == []
            assert ends.get(job, end) == end  # what has ended stays as it ended
        ends = after
    ran = Counter((tmp_path / "ran").read_text().splitlines())
    assert max(ran.values()) == 1
    for one in accepted:
        end = ends[one["accepted"]]
        if end["state"] == "done":
            assert end["result"] == one["item"]
            assert ran[f"ended {one['item']}"] == 1
    states = Counter(end["state"] for end in ends.values())
    interrupted = sum("server stopped" in end["error"] for end in ends.values())
    print(f"{len(ends)} jobs: {dict(states)}, {interrupted} of them interrupted")
    assert interrupted >= 1
    assert states["done"] > states["failed"]
    left = {path.suffix for path in (tmp_path / "jobs" / "files").iterdir()}
    assert left <= {".item", ".result"}
