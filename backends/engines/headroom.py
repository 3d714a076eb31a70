"""
How much memory is free: the host's under its cgroup's limit, and each GPU's.

What this machine cannot tell is absent, never 0.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")

_nvml = threading.Lock()


def free(cgroup: Path = CGROUP, proc: Path = PROC) -> dict[str, int]:
    """Bytes free by device: "host", and "cuda:0" and so on by NVML's order."""
    host = host_free(cgroup, proc)
    return ({} if host is None else {"host": host}) | gpus()


def host_free(cgroup: Path = CGROUP, proc: Path = PROC) -> int | None:
    """What may still be taken: the machine's free memory, or less where a limit leaves less."""
    known = [n for n in (_available(proc), _left_of_limit(cgroup)) if n is not None]
    return max(0, min(known)) if known else None


def resident(proc: Path = PROC) -> int | None:
    """What this process holds, in bytes."""
    return _line(proc / "self" / "status", "VmRSS:")


def gpus() -> dict[str, int]:
    """Bytes free on each GPU; none without NVIDIA's driver or the package nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return {}
    with _nvml:
        try:
            pynvml.nvmlInit()
            handles = [
                pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())
            ]
            return {
                f"cuda:{n}": int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
                for n, handle in enumerate(handles)
            }
        except pynvml.NVMLError:
            return {}


def _available(proc: Path) -> int | None:
    return _line(proc / "meminfo", "MemAvailable:")


def _left_of_limit(cgroup: Path) -> int | None:
    """The limit less what is used; the page cache that can be dropped does not count."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most = (cgroup / limit).read_text().strip()
            taken = int((cgroup / used).read_text())
        except (OSError, ValueError):
            continue
        if most == "max":
            return None
        stat = _stat((cgroup / used).with_name("memory.stat"))
        return int(most) - taken + stat.get(cache, 0)
    return None


def _stat(path: Path) -> Mapping[str, int]:
    try:
        rows = (line.split() for line in path.read_text().splitlines())
        return {name: int(value) for name, value in rows}
    except (OSError, ValueError):
        return {}


def _line(path: Path, name: str) -> int | None:
    """The value of a line such as "VmRSS:  123 kB", in bytes."""
    try:
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
