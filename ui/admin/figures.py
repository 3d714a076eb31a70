"""
The four tiles: a figure now, how it moved in five minutes, and a line of the last fifteen.

Pure. A figure that nothing happened for is a dash with its reason, never 0. Only latency and
errors have a bad direction; more or fewer requests are neither good nor bad.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.ops.cluster import Reading, Series
from ui.texts import say

AGO = 300.0
_NEAR = 15.0  # seconds that "five minutes ago" may be off, and that a line bridges
SPAN = 900.0
_WIDE, _HIGH = 116.0, 34.0

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Tile:
    """
    `join` makes one value of those of the services; `shown` makes (text, unit) of a value.
    `grows_worse` says that more is bad.
    """

    name: str
    join: Callable[[Iterable[float]], float]
    shown: Callable[[float], tuple[str, str]]
    grows_worse: bool = False


def _rate(value: float) -> tuple[str, str]:
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}", "/s"


def _seconds(value: float) -> tuple[str, str]:
    return (f"{1000 * value:.0f}", "ms") if value < 1 else (f"{value:.1f}", "s")


def _percent(value: float) -> tuple[str, str]:
    return f"{100 * value:.2f}" if 0 < value < 0.1 else f"{100 * value:.0f}", "%"


def _whole(value: float) -> tuple[str, str]:
    return f"{value:.0f}", ""


TILES = (  # quantiles and shares of several services cannot be added: the worst one is shown
    Tile("rps", sum, _rate),
    Tile("p95", max, _seconds, grows_worse=True),
    Tile("errors", max, _percent, grows_worse=True),
    Tile("waiting", sum, _whole),
)


def tiles(figures: Mapping[str, Reading[Sequence[Series]]]) -> str:
    """The tiles, as HTML."""
    inner = "".join(_tile(tile, figures[tile.name]) for tile in TILES)
    return f'<div class="q-tiles">{inner}</div>'


def _tile(tile: Tile, reading: Reading[Sequence[Series]]) -> str:
    points = joined(reading.value, tile.join)
    worst = tile.join is max and len(reading.value) > 1
    caption = say(f"admin.{tile.name}") + (f" {say('admin.worst')}" if worst else "")
    if not points or points[-1][0] < reading.at:
        why = "admin.no_value" if tile.grows_worse else "admin.not_yet"
        value, delta = "–", f'<span class="dl n">{say(why)}</span>'
    else:
        text, unit = tile.shown(points[-1][1])
        value, delta = f"{text}<small>{unit}</small>", _delta(tile, points)
    return (
        f'<div class="tile" data-tile="{tile.name}"><span class="cap">{caption}</span>'
        f'<span class="val">{value}</span>{spark(points, reading.at)}{delta}</div>'
    )


def joined(lines: Sequence[Series], join: Callable[[Iterable[float]], float]) -> Points:
    """One line of several: at each time, the values that there are."""
    values: dict[float, list[float]] = {}
    for line in lines:
        for at, value in line.points:
            values.setdefault(at, []).append(value)
    return [(at, join(values[at])) for at in sorted(values)]


def _delta(tile: Tile, points: Points) -> str:
    """How the last value differs from the one five minutes before."""
    at, now = points[-1]
    before = min(points, key=lambda point: abs(point[0] - (at - AGO)))
    if abs(before[0] - (at - AGO)) > _NEAR:
        return f'<span class="dl n">{say("admin.no_change_known")}</span>'
    ago = f"<em>{say('admin.ago')}</em>"
    difference = now - before[1]
    if abs(difference) <= 0.0005 * abs(before[1]):
        return f'<span class="dl n">= {ago}</span>'
    arrow, tone = ("▲", "b") if difference > 0 else ("▼", "g")
    text = f"{100 * abs(difference) / before[1]:.1f}%" if before[1] else "".join(tile.shown(now))
    return f'<span class="dl {tone if tile.grows_worse else "n"}">{arrow} {text} {ago}</span>'


def spark(points: Points, now: float) -> str:
    """A line from nothing up to the highest value; where values are missing it is cut."""
    since = now - SPAN
    kept = [point for point in points if point[0] >= since]
    highest = max((value for _, value in kept), default=0.0) or 1.0

    def place(point: tuple[float, float]) -> str:
        x = _WIDE * (point[0] - since) / SPAN
        return f"{x:.1f},{_HIGH - 2 - (_HIGH - 4) * point[1] / highest:.1f}"

    lines = []
    for piece in _pieces(kept):
        line = " ".join(place(point) for point in piece)
        left, right = line.split(",")[0], line.rsplit(" ", 1)[-1].split(",")[0]
        lines.append(
            f'<polygon points="{left},{_HIGH} {line} {right},{_HIGH}"/><polyline points="{line}"/>'
        )
    return (
        f'<svg class="spark" viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(lines)}</svg>'
    )


def _pieces(points: Points) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = []
    for point in points:
        if not pieces or point[0] - pieces[-1][-1][0] > _NEAR:
            pieces.append([])
        pieces[-1].append(point)
    return [piece for piece in pieces if len(piece) > 1]
