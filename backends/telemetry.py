"""
What the process says about itself: logs, request ids, Prometheus instruments.

A log line is a past-tense event with its facts in fields: `log.info("swapped", extra={...})`.
JSON in pods, plain at a desk. Never content: no query, no document, no token.
The instruments live in a registry of their own, made once and handed down, so that a test has
its own.
"""

import contextvars
import json
import logging
import sys
import time
import uuid
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

_PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LONG = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


def new_request_id() -> str:
    return uuid.uuid4().hex


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts = {k: v for k, v in record.__dict__.items() if k not in _PLAIN}
    if (rid := request_id.get()) and "request_id" not in facts:
        facts["request_id"] = rid
    return facts


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{k}={v}" for k, v in _facts(record).items() if v != "")
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()} {facts}".rstrip()
        if record.levelno > logging.INFO:
            text = f"{record.levelname} {text}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up_logging(how: str) -> None:
    """Send this process's logs to standard error; `how` is json, plain or auto."""
    plain = how == "plain" or (how == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if plain else JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True  # one line a request, and it is ours
    for noisy in ("uvicorn", "httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Instruments:
    """Every metric of the process; names and labels are a promise to charts, rules and alerts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        one = ["service"]

        def counter(name: str, text: str, labels: list[str]) -> Counter:
            return Counter(f"quartet_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: list[str]) -> Gauge:
            return Gauge(f"quartet_{name}", text, labels, registry=registry)

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], labels: list[str] = one
        ) -> Histogram:
            return Histogram(f"quartet_{name}", text, labels, registry=registry, buckets=buckets)

        sizes = (1, 2, 4, 8, 16, 32, 64)
        tokens = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
        self.requests = counter(
            "requests", "Requests answered, by outcome: ok or the error's class.", [*one, "outcome"]
        )
        self.request_seconds = histogram("request_seconds", "The whole wait, seconds.", _SECONDS)
        self.queue_seconds = histogram("queue_seconds", "Wait in the queue, seconds.", _SECONDS)
        self.run_seconds = histogram("run_seconds", "Run of a batch, seconds.", _SECONDS)
        self.batch_size = histogram("batch_size", "Items in a batch.", sizes)
        self.batch_tokens = histogram("batch_tokens", "Padded tokens in a batch.", tokens)
        self.tokenize_seconds = histogram("tokenize_seconds", "Counting tokens, seconds.", _SECONDS)
        self.model_load_seconds = histogram("model_load_seconds", "Loading, seconds.", _SECONDS)
        self.waiting = gauge("waiting", "Items in the queue.", one)
        self.in_flight = gauge("in_flight", "Items in the queue or running.", one)
        self.queue_tokens = gauge("queue_tokens", "Tokens in the queue.", one)
        self.predicted_wait = gauge(
            "predicted_wait_seconds", "Wait that a new item would have.", one
        )
        self.rate = gauge("tokens_per_second", "Tokens a second of one engine thread.", one)
        self.breaker_state = gauge("breaker_state", "0 closed, 1 half-open, 2 open.", one)
        self.tokens = counter("tokens", "Tokens run.", one)
        self.padded_tokens = counter("padded_tokens", "Tokens run, with padding.", one)
        self.busy_seconds = counter("engine_busy_seconds", "Seconds engines ran.", one)
        self.engine_errors = counter("engine_errors", "Batches an engine failed at.", one)
        self.cancelled = counter("cancelled", "Items whose caller left before they ran.", one)
        self.swaps = counter("swaps", "Model swaps, by outcome.", [*one, "outcome"])
        self.model_info = gauge(
            "model_info", "1 for the model that serves.", [*one, "model", "revision"]
        )
        self.memory_free = gauge("memory_free_bytes", "Memory free, by device.", ["device"])
        self.jobs = counter("jobs", "Jobs that ended, by outcome.", ["outcome"])
        self.jobs_waiting = gauge("jobs_waiting", "Jobs that wait for their turn.", [])
        self.job_wait_seconds = histogram(
            "job_wait_seconds", "Wait of a job for its turn, seconds.", _LONG, []
        )
        self.job_run_seconds = histogram("job_run_seconds", "Run of a job, seconds.", _LONG, [])

    def text(self) -> bytes:
        """The exposition that Prometheus reads."""
        return generate_latest(self.registry)
