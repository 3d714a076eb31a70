"""Paths: from one language to another over the steps that are installed. Pure."""

from collections import deque
from collections.abc import Sequence

from backends.engines.translate.careful import Step

Path = tuple[Step, ...]


def shortest(steps: Sequence[Step], source: str, target: str) -> Path | None:
    """The path of fewest steps, the first of equals in the steps' order; None without one."""
    paths: dict[str, Path] = {source: ()}
    waiting = deque([source])
    while waiting:
        here = waiting.popleft()
        for step in steps:
            if step.source == here and step.target not in paths:
                paths[step.target] = (*paths[here], step)
                waiting.append(step.target)
    return paths.get(target)


def pairs(steps: Sequence[Step]) -> tuple[tuple[str, str], ...]:
    """Every (source, target) that has a path."""
    languages = list(dict.fromkeys(code for step in steps for code in (step.source, step.target)))
    return tuple(
        (source, target)
        for source in languages
        for target in languages
        if shortest(steps, source, target)  # the path to itself has no step
    )
