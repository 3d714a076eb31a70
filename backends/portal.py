"""The bundle that screens and routes receive: every part, built once in app.py."""

from collections.abc import Mapping
from dataclasses import dataclass

from backends.families import Family
from backends.identity import Access, Identity
from backends.jobs import Jobs
from backends.jobs.owners import Visitors
from backends.ops.audit import Audit
from backends.ops.cluster import Cluster, Metrics
from backends.ops.oversight import Oversight
from backends.ops.permits import Permits
from backends.ops.swap import Swaps
from backends.serving import ModelService
from backends.settings import Settings
from backends.telemetry import Instruments


@dataclass(frozen=True, slots=True)
class Portal:
    settings: Settings
    families: Mapping[str, Family]
    services: Mapping[str, ModelService]
    instruments: Instruments
    identity: Identity
    access: Access
    cluster: Cluster
    metrics: Metrics
    audit: Audit
    swaps: Swaps
    permits: Permits
    jobs: Jobs | None  # None where fusion is not among the families
    oversight: Oversight | None  # likewise
    visitors: Visitors
