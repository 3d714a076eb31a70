"""
A change by a person, whatever it is: intent in the audit, the work, the outcome in the audit.

A change goes on to its end when the page or the program that asked for it leaves. One that the
audit cannot take is not begun.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from backends.errors import BadInput, Conflict, Denied, NotFound, QuartetError
from backends.identity import Principal, Role
from backends.ops.audit import Audit
from backends.telemetry import request_id

log = logging.getLogger(__name__)

T = TypeVar("T")

_REFUSALS = (BadInput, Conflict, Denied, NotFound)
_STOPPED = "interrupted: the portal stopped; what stands now is what the next start finds"


@dataclass(frozen=True, slots=True)
class Change:
    """What is about to be changed, by whom, and the role that lets them; all of it is kept."""

    who: Principal
    role: Role
    object: str
    before: str
    after: str
    reason: str = ""


class Changes:
    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._running: set[asyncio.Task[Any]] = set()

    async def make(
        self,
        change: Change,
        work: Callable[[], Awaitable[T]],
        told: Callable[[T], str] = lambda made: "done",
    ) -> T:
        """
        What `work` gives; `told` is its outcome for the audit. Raises what `work` raises, and
        Unavailable when the audit cannot be written: then nothing was begun.
        """
        task = asyncio.create_task(self._audited(change, work, told))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop what runs and write down that it was interrupted; before the audit is closed."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _audited(
        self, change: Change, work: Callable[[], Awaitable[T]], told: Callable[[T], str]
    ) -> T:
        number = await asyncio.to_thread(
            self._audit.intent,
            user=change.who.subject,
            role=change.role,
            object=change.object,
            before=change.before,
            after=change.after,
            reason=change.reason,
            request_id=request_id.get(),
        )
        outcome = _STOPPED
        try:
            made = await work()
            outcome = told(made)
        except QuartetError as error:
            word = "refused" if isinstance(error, _REFUSALS) else "failed"
            outcome = f"{word}: {error.text}"
            raise
        except Exception as error:
            outcome = f"failed: {type(error).__name__}, a mistake of ours; the log has it"
            raise
        finally:
            await asyncio.to_thread(self._audit.outcome, number, outcome)
            facts = {"object": change.object, "user": change.who.subject, "outcome": outcome}
            log.info("changed", extra=facts)
        return made

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, QuartetError):
            log.error("change failed", exc_info=error)  # whoever asked may have left
