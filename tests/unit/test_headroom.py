"""How much memory is free, from the files that Linux tells it in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backends.engines import headroom
from tests.running import ROOT


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_at_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def machine(tmp_path: Path) -> Path:
    return written(tmp_path / "proc", meminfo="MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")


def test_without_a_limit_the_machines_free_memory_counts(tmp_path: Path) -> None:
    cgroup = written(tmp_path / "cgroup", memory_at_max="max\n", memory_at_current="1\n")
    assert headroom.free(cgroup, machine(tmp_path))["host"] == 8000 * 1024


def test_a_cgroups_limit_counts_where_it_leaves_less_and_its_page_cache_does_not(
    tmp_path: Path,
) -> None:
    stat = "anon 1\ninactive_file 500\n"
    files = {"memory_at_max": "3000000\n", "memory_at_current": "1000000\n", "memory_at_stat": stat}
    cgroup = written(tmp_path / "cgroup", **files)
    assert headroom.host_free(cgroup, machine(tmp_path)) == 2_000_500


def test_the_first_version_of_cgroups_is_read_too(tmp_path: Path) -> None:
    cgroup = written(
        tmp_path / "cgroup",
        memory__memory_at_limit_in_bytes="3000000\n",
        memory__memory_at_usage_in_bytes="2500000\n",
    )
    assert headroom.host_free(cgroup, machine(tmp_path)) == 500_000


def test_what_a_machine_cannot_tell_is_absent(tmp_path: Path) -> None:
    assert headroom.host_free(tmp_path, tmp_path) is None
    assert "host" not in headroom.free(tmp_path, tmp_path)
    assert headroom.resident(tmp_path) is None


PYNVML = """
class NVMLError(Exception): pass
def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(n): return n
class _Memory:
    def __init__(self, free): self.free = free
def nvmlDeviceGetMemoryInfo(handle): return _Memory(1000 * (handle + 1))
"""


@pytest.mark.parametrize(
    ("init", "told"),
    [("pass", {"cuda:0": 1000, "cuda:1": 2000}), ("raise NVMLError('Driver Not Loaded')", {})],
)
def test_each_gpu_tells_its_free_memory_and_without_a_driver_there_is_none(
    tmp_path: Path, init: str, told: dict[str, int]
) -> None:
    """NVIDIA's package stood in for, in a process of its own."""
    (tmp_path / "pynvml.py").write_text(PYNVML.format(init=init))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import json;"
        "from backends.engines import headroom; print(json.dumps(headroom.gpus()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == told


def test_this_process_holds_something() -> None:
    assert (headroom.resident() or 0) > 1_000_000
