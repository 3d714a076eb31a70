"""
Who asks: principals, roles, and the `Ask` that travels with every entry and every job.

Authentication happens once, in a middleware; everything behind it receives a `Principal`.
"""

import time
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"  # reads Admin
    OPERATOR = "operator"  # bounds, scale, freeze
    SWAPPER = "swapper"  # models


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, for which tenant, with which roles; `method` says how they signed in."""

    subject: str
    tenant: str = "default"
    roles: frozenset[Role] = frozenset()
    method: str = ""

    def may(self, role: Role) -> bool:
        return role in self.roles


ANONYMOUS = Principal("anonymous", tenant="anonymous")


@dataclass(frozen=True, slots=True)
class Ask:
    """
    On whose behalf, until when, how urgently.

    `deadline` is a `time.monotonic()` second of this process; over a wire the seconds left
    travel instead. A higher `priority` goes first. `trace` is a W3C traceparent, or "".
    """

    principal: Principal = ANONYMOUS
    deadline: float = float("inf")
    priority: int = 0
    trace: str = ""
    request_id: str = field(default="", compare=False)

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()
