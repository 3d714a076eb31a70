"""
This process's own figures, read from its instruments: no server, no query language.

Pure: counters as they stand, and what two readings of them say about the time between.
A figure that nothing happened for is absent, not 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

# a caller's own mistake is not the service's error
NOT_ERRORS = frozenset({"ok", "BadInput", "SignInNeeded", "Denied", "NotFound", "Conflict"})


@dataclass(frozen=True, slots=True)
class Counts:
    """One service's counters. `buckets` are (upper bound in seconds, requests up to it)."""

    requests: float = 0.0
    errors: float = 0.0
    waiting: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)


def read_counts(registry: CollectorRegistry) -> dict[str, Counts]:
    """The counters of every service that has any."""
    requests: dict[str, float] = {}
    errors: dict[str, float] = {}
    waiting: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        service = sample.labels.get("service", "")
        if sample.name == "quartet_requests_total":
            requests[service] = requests.get(service, 0.0) + sample.value
            if sample.labels["outcome"] not in NOT_ERRORS:
                errors[service] = errors.get(service, 0.0) + sample.value
        elif sample.name == "quartet_waiting":
            waiting[service] = sample.value
        elif sample.name == "quartet_request_seconds_bucket":
            buckets.setdefault(service, {})[float(sample.labels["le"])] = sample.value
    return {
        name: Counts(
            requests.get(name, 0.0), errors.get(name, 0.0), waiting.get(name, 0.0),
            buckets.get(name, {}),
        )
        for name in sorted({*requests, *waiting, *buckets})
    }  # fmt: skip


def per_second(old: Counts, new: Counts, seconds: float) -> float | None:
    return (new.requests - old.requests) / seconds if seconds > 0 else None


def error_share(old: Counts, new: Counts) -> float | None:
    """Errors among the requests between; None without a request."""
    requests = new.requests - old.requests
    return (new.errors - old.errors) / requests if requests > 0 else None


def quantile(old: Counts, new: Counts, share: float) -> float | None:
    """
    The seconds that `share` of the requests between stayed under, interpolated inside its
    bucket as Prometheus does; None without a request.
    """
    between = {bound: count - old.buckets.get(bound, 0.0) for bound, count in new.buckets.items()}
    total = between.get(float("inf"), 0.0)
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound, count in sorted(between.items()):
        if bound == float("inf"):
            break  # above the last bound nothing is known: that bound
        if count >= rank:
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
