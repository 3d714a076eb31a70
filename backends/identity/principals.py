"""Who asks, with which roles and scopes, and the `Ask` that travels with entries and jobs."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from backends.errors import BadInput


class Role(StrEnum):
    VIEWER = "viewer"  # reads Admin
    OPERATOR = "operator"  # bounds, scale, freeze
    SWAPPER = "swapper"  # models


@dataclass(frozen=True, slots=True)
class Principal:
    """
    Who asks, for which tenant, with which roles; `method` says how they showed it. `scopes` is
    None for whoever may use every family; an API key names the families it is for.
    """

    subject: str
    tenant: str = "default"
    roles: frozenset[Role] = frozenset()
    method: str = ""
    scopes: frozenset[str] | None = None

    def may(self, role: Role) -> bool:
        return role in self.roles

    def may_use(self, family: str) -> bool:
        return self.scopes is None or family in self.scopes


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


def read_roles(names: Iterable[str]) -> frozenset[Role]:
    """The roles of these names, at least one. Raises BadInput naming the ones there are."""
    try:
        roles = frozenset(Role(name) for name in names)
    except ValueError as error:
        listed = ", ".join(Role)
        raise BadInput(
            f"The roles are {listed}.", zh=f"角色只有 {listed}。", field="role"
        ) from error
    if not roles:
        listed = ", ".join(Role)
        raise BadInput(
            f"Give at least one role: {listed}.", zh=f"请至少选择一个角色：{listed}。", field="role"
        )
    return roles
