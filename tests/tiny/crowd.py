"""Who is inside something that one thread at a time may use."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Crowd:
    """Stands before what is called; `most` threads were inside at once. All else is the inner's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(0.001)  # whoever may come in does
        try:
            return self._inner(*given, **named)
        finally:
            with self._lock:
                self._inside -= 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def four(ask: Callable[[int], object], times: int = 8) -> None:
    """Four threads that begin together, each asking so many times."""
    start = threading.Barrier(4)

    def asks(number: int) -> None:
        start.wait(60)
        for n in range(times):
            ask(number + n)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(asks, range(4)))
