"""
What one fusion costs, step by step, in CPU time and as a share of the whole.

    python -m benchmarks.fusion_cost

CPU time of this process, the median of five runs. The shares are what may be compared with other
runs: the times are one machine's own, and a busy neighbour makes them longer. The photos are the
tests' own.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from PIL import Image

from backends.engines.faces import FaceFinder
from backends.engines.fusion import Blend
from backends.engines.fusion.blending import Style, fuse
from backends.engines.fusion.embedded import MeshBlend
from backends.engines.fusion.gate import Gate
from backends.engines.fusion.marking import as_png, marked
from backends.engines.fusion.packing import pack, unpack
from backends.engines.pictures import Picture, read_picture

PHOTOS = Path(__file__).parent.parent / "tests" / "photos"
RUNS = 5


def cost(work: Callable[[], Any]) -> float:
    """Milliseconds of CPU, the median of several runs after one that warms up."""
    work()
    spent = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        spent.append((time.process_time() - began) * 1000)
    return median(spent)


def scaled(picture: Picture, by: float) -> Picture:
    size = (round(picture.width * by), round(picture.height * by))
    image = picture.image().resize(size, Image.Resampling.LANCZOS)
    return Picture(image.width, image.height, image.tobytes())


def stages(source: Picture, target: Picture, finder: FaceFinder) -> list[tuple[str, float]]:
    """The inside of one fusion: warp, skin, light, mask and seam."""
    (here, *_), (there, *_) = finder.find(source.array()), finder.find(target.array())
    names = ("crop", "warp", "skin", "light", "mask and seam", "paste")
    spent: list[list[float]] = []
    for _ in range(RUNS + 1):
        marks = [time.process_time()]
        told = lambda share, marks=marks: marks.append(time.process_time())  # noqa: E731
        fuse(source.array(), here, target.array(), there, Style(), told)
        marks.append(time.process_time())
        spent.append([float(ms) * 1000 for ms in np.diff(marks)])
    return [(f"  {name}", median(run[at] for run in spent[1:])) for at, name in enumerate(names)]


def whole(source: Picture, target: Picture, finder: FaceFinder, gate: Gate) -> float:
    """Gate, find, fuse, gate again, with nothing remembered from the run before."""

    def run() -> None:
        gate.forget()
        MeshBlend(finder, gate).run([Blend(source, target)], lambda index, part: True)

    return cost(run)


def main() -> None:
    cv2.setNumThreads(1)
    finder, gate = FaceFinder(), Gate(0.8, 0.5)
    files = {name: (PHOTOS / name).read_bytes() for name in ("astronaut.png", "hopper.jpg")}
    astronaut, hopper = (read_picture(file) for file in files.values())
    rows: list[tuple[str, float]] = []
    for name, file in files.items():
        rows.append((f"read {name}", cost(lambda file=file: read_picture(file))))
    rows.append(("gate, one picture", cost(lambda: (gate.forget(), gate.score(hopper)))))
    for name, picture in (("astronaut", astronaut), ("hopper", hopper)):
        rows.append((f"find, {name}", cost(lambda picture=picture: finder.find(picture.array()))))
    large = scaled(hopper, 4)
    rows.append(("find, hopper at 2048 × 2400", cost(lambda: finder.find(large.array()))))
    for name, pair in (
        ("astronaut to hopper", (astronaut, hopper)),
        ("hopper to astronaut", (hopper, astronaut)),
        ("astronaut to hopper at 2048 × 2400", (astronaut, large)),
    ):
        steps = stages(*pair, finder)
        rows.append((f"fuse, {name}", sum(ms for _, ms in steps)))
        rows += steps
    blend = Blend(astronaut, hopper)
    packed = pack(blend)
    rows.append(("pack for the disk", cost(lambda: pack(blend))))
    rows.append(("unpack", cost(lambda: unpack(packed))))
    rows.append(("mark and write PNG", cost(lambda: as_png(marked(hopper)))))
    rows.append(("whole, astronaut to hopper", whole(astronaut, hopper, finder, gate)))
    rows.append(("whole, hopper to astronaut", whole(hopper, astronaut, finder, gate)))
    rows.append(("whole, to 2048 × 2400", whole(astronaut, large, finder, gate)))
    of_whole = dict(rows)["whole, astronaut to hopper"]
    for name, ms in rows:
        print(f"{name:<38} {ms:8.1f} CPU ms {ms / of_whole:7.2f} of astronaut to hopper")


if __name__ == "__main__":
    main()
