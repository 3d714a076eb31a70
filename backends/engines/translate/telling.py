"""
The parts of one passage, passed on in their order, however they are made.

A passage's runs are translated many at a time; a reader must see them from the front. White space
at the ends of an answer is the model's own and is not passed on: the passage has its own between
its runs. What was passed on, joined, is the translation.
"""

from collections.abc import Callable, Sequence

from backends.engines.translate.text import Run


class Telling:
    """
    `emit` takes the next part, or None to be asked only whether anybody still listens. What is
    not said is told as it is. One thread at a time.
    """

    def __init__(self, runs: Sequence[Run], emit: Callable[[str | None], bool]) -> None:
        self._emit = emit
        self._waiting = ["" if run.is_said else run.text for run in runs]
        self._held = ["" for _ in runs]  # white space that ends what was said so far
        self._spoken = [not run.is_said for run in runs]
        self._ended = [not run.is_said for run in runs]
        self._turn = 0
        self._told: list[str] = []
        self.left = False

    @property
    def told(self) -> str:
        return "".join(self._told)

    def add(self, number: int, words: str) -> None:
        """More of the answer of one run."""
        words = self._held[number] + words
        if not self._spoken[number]:
            words = words.lstrip()
        body = words.rstrip()
        self._held[number] = words[len(body) :]
        self._waiting[number] += body
        self._spoken[number] = self._spoken[number] or bool(body)

    def end(self, number: int) -> None:
        """Nothing more will be added to it. An answer without words is not yet an end."""
        self._ended[number] = self._spoken[number]

    def replace(self, number: int, words: str) -> None:
        """The whole of one run of which nothing was passed on."""
        self._waiting[number] = words
        self._spoken[number] = self._ended[number] = True

    def has_said(self, number: int) -> bool:
        return self._spoken[number]

    def pass_on(self) -> bool:
        """Whatever has its turn, or only the question; False once nobody listens."""
        ready = ""
        while self._turn < len(self._waiting):
            ready += self._waiting[self._turn]
            self._waiting[self._turn] = ""
            if not self._ended[self._turn]:
                break
            self._turn += 1
        if ready:
            self._told.append(ready)
        self.left = self.left or not self._emit(ready or None)
        return not self.left
