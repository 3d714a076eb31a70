"""The batcher's instruments, with its service's label filled in."""

import time
from typing import Any

from backends.serving.queueing import Entry
from backends.telemetry import Instruments


class Figures:
    def __init__(self, service: str, instruments: Instruments) -> None:
        labelled = {
            name: getattr(instruments, name).labels(service)
            for name in (
                "waiting", "queue_tokens", "in_flight", "predicted_wait", "rate", "breaker_state",
                "queue_seconds", "run_seconds", "batch_size", "batch_tokens", "tokens",
                "padded_tokens", "busy_seconds", "engine_errors", "cancelled",
            )
        }  # fmt: skip
        self._of: dict[str, Any] = labelled

    def queue(self, waiting: int, tokens: int, in_flight: int, wait: float) -> None:
        self._of["waiting"].set(waiting)
        self._of["queue_tokens"].set(tokens)
        self._of["in_flight"].set(in_flight)
        self._of["predicted_wait"].set(wait)

    def cancelled(self, entries: int) -> None:
        self._of["cancelled"].inc(entries)

    def failed(self) -> None:
        self._of["engine_errors"].inc()

    def breaker(self, state: str) -> None:
        self._of["breaker_state"].set({"closed": 0, "half-open": 1, "open": 2}[state])

    def ran(self, batch: list[Entry], seconds: float, rate: float, state: str) -> None:
        longest = max(entry.tokens for entry in batch)
        now = time.monotonic()
        for request in {entry.request for entry in batch}:
            self._of["queue_seconds"].observe(max(0.0, (request.started or now) - request.arrived))
        self._of["run_seconds"].observe(seconds)
        self._of["busy_seconds"].inc(seconds)
        self._of["batch_size"].observe(len(batch))
        self._of["batch_tokens"].observe(longest * len(batch))
        self._of["tokens"].inc(sum(entry.tokens for entry in batch))
        self._of["padded_tokens"].inc(longest * len(batch))
        self._of["rate"].set(rate)
        self.breaker(state)
