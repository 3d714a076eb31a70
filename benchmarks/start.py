"""
What a start costs, in CPU time: ours beside the least that the same libraries need.

    python benchmarks/start.py [--rounds 5]

Each round starts, in turn, a bare Gradio application with two pages, the portal, and one service
without pages; each is asked until it answers (the service: until it is ready), its CPU time is
read, and it is stopped. The ratio of the medians is the result; seconds are this machine's.
Needs Linux (/proc).
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0  # seconds that a start may take
TICKS = os.sysconf("SC_CLK_TCK")

STARTS: dict[str, tuple[Sequence[str], str]] = {
    "bare Gradio, two pages": (("benchmarks/bare_gradio.py", "{port}"), "/healthz"),
    "the portal": (("app.py", "--port", "{port}"), "/healthz"),
    "one service": (("app.py", "--serve", "rerank", "--port", "{port}"), "/readyz"),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of the children that it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start(command: Sequence[str], path: str, state: str) -> float:
    """CPU seconds from the process's start to its first good answer."""
    port = free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("QUARTET_")}
    process = subprocess.Popen(
        [sys.executable, *(part.format(port=port) for part in command)],
        cwd=ROOT,
        env=environ | {"QUARTET_STATE_DIR": state, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + PATIENCE
        while not answers(f"http://127.0.0.1:{port}{path}"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{command[0]} did not answer at {path}.")
            time.sleep(0.02)
        return cpu_seconds(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    took: dict[str, list[float]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as state:
        for number in range(rounds + 1):
            for name, (command, path) in STARTS.items():
                seconds = start(command, path, state)
                if number:  # the first round fills the caches of the disk and of Python
                    took[name].append(seconds)
    bare = statistics.median(took["bare Gradio, two pages"])
    print(f"CPU until the first answer, median of {rounds} interleaved rounds")
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
        print(f"{name:24} {middle:5.2f} s ({spread})   {middle / bare:5.2f} x bare")


if __name__ == "__main__":
    main()
