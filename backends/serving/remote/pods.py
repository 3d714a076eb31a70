"""
The pods of one service: which of them to ask, how they are, and which model they run.

They are looked at while they are not well, and now and then; the model record is given to one
that comes back with an older model, so that everything converges to it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from backends.errors import QuartetError, Unavailable
from backends.families import Family
from backends.serving import State, Status
from backends.serving.record import ModelRecord, Records
from backends.serving.remote.pod import Pod
from backends.serving.remote.told import all_gone, busy
from backends.settings import Settings

log = logging.getLogger(__name__)

FRESH = 1.0  # seconds that a pod's word about itself is good for
_UNASKED = 10.0  # seconds after which a pod that is well is looked at though nobody asks
_GLANCE = 1.0  # seconds that a request waits to hear whether another pod is back


class Pods:
    """Build, then `start` on the event loop; `close` ends every connection."""

    def __init__(
        self, family: Family, settings: Settings, records: Records, watch_seconds: float
    ) -> None:
        self._name = family.name
        self._connections = settings.remote.connections
        self._token = settings.internal.token.get_secret_value()
        self._records = records
        self._watch_seconds = watch_seconds
        self._pods = tuple(
            Pod(family.name, address, settings.remote, family.models)
            for address in settings.remote.addresses(family.name)
        )
        self._turn = 0
        self._given_up: dict[str, int] = {}  # by pod: the revision that it could not be given
        self._swapping = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._repeat(self._watch)),
            asyncio.create_task(self._repeat(self._converge)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pod.close() for pod in self._pods))

    # ---- which one to ask

    @property
    def is_any_alive(self) -> bool:
        return any(pod.is_alive for pod in self._pods)

    def gone(self) -> Unavailable:
        seconds = min(pod.seconds_left for pod in self._pods)
        return all_gone(self._name, self._pods[0].status.reason, seconds)

    def choose(self, but: Pod | None = None) -> Pod | None:
        """
        The well one with the least open requests, in turn when several have as few; None when
        none is alive. Raises Overloaded when each has as many open as it may.
        """
        alive = [pod for pod in self._pods if pod.is_alive and pod is not but]
        free = [pod for pod in alive if pod.in_flight < self._connections]
        if alive and not free:
            raise busy(self._name)
        self._turn += 1
        start = self._turn % max(1, len(free))
        order = free[start:] + free[:start]
        return min(order, key=lambda pod: (not pod.is_well, pod.in_flight), default=None)

    async def another(self, but: Pod) -> Pod | None:
        """Of the others. When none is well, what they say now counts: one may just be back."""
        others = [pod for pod in self._pods if pod is not but]
        if not any(pod.is_well for pod in others):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GLANCE):
                    await asyncio.gather(*(pod.look() for pod in others))
        return self.choose(but)

    # ---- how they are

    async def look(self) -> None:
        """Look at those that may be alive, unless their last word is still fresh."""
        await asyncio.gather(*(pod.look_unless(FRESH) for pod in self._pods if pod.is_alive))

    def status(self) -> Status:
        """
        The best of them, with what waits at all of them, and each as `pods`. While one leaves and
        the other is heard of as loading, the model is the one that is known: a request must not
        be refused for what may be over by now.
        """
        each = tuple(pod.status for pod in self._pods)
        best = max(each, key=lambda s: (s.is_ready, s.state is State.LOADING, s.revision))
        knows = best if best.model else next((s for s in each if s.model), best)
        loads = next((status for status in each if status.loading), best)
        return replace(
            best,
            model=knows.model,
            revision=knows.revision,
            capabilities=knows.capabilities,
            embedded=knows.embedded,
            device=knows.device,
            loading=loads.loading,
            progress=loads.progress,
            waiting=sum(status.waiting for status in each),
            in_flight=sum(status.in_flight for status in each),
            pod="",
            pods=each,
        )

    async def _watch(self) -> None:
        await asyncio.gather(*(pod.look_unless(_UNASKED * pod.is_well) for pod in self._pods))

    # ---- which model they run

    async def swap(self, record: ModelRecord) -> None:
        """
        One pod after the other, so that the others serve. One that cannot be reached is left out
        and given the record when it is back; the first that refuses ends it.
        """
        async with self._swapping:
            await asyncio.gather(*(pod.look() for pod in self._pods))
            reached = [pod for pod in self._pods if pod.is_reached]
            if not reached:
                raise self.gone()
            for pod in reached:
                await pod.swap(record, self._token)
                await pod.look()
            facts = {"service": self._name, "model": record.model, "revision": record.revision}
            log.info("swapped", extra={**facts, "pods": [pod.name for pod in reached]})

    async def stop_loading(self, why: str) -> None:
        """Without the swap's lock: it is the swap that waits for the download."""
        reached = [pod for pod in self._pods if pod.is_reached]
        await asyncio.gather(*(pod.stop_loading(why, self._token) for pod in reached))

    async def _converge(self) -> None:
        record = await asyncio.to_thread(self._records.read, self._name)
        if record is None or record.way != "in-pod" or not self._token:
            return
        for pod in self._pods:
            if not pod.is_reached:
                self._given_up.pop(pod.name, None)
            elif self._is_behind(pod, record):
                await self._give(pod, record)

    def _is_behind(self, pod: Pod, record: ModelRecord) -> bool:
        is_settled = pod.status.state in (State.READY, State.FAILED)
        newest = max(pod.status.revision, self._given_up.get(pod.name, 0))
        return is_settled and newest < record.revision

    async def _give(self, pod: Pod, record: ModelRecord) -> None:
        async with self._swapping:
            try:
                await pod.swap(record, self._token)
                await pod.look()
            except QuartetError as error:
                self._given_up[pod.name] = record.revision
                facts = {"service": self._name, "pod": pod.name, "reason": error.text}
                log.warning("swap failed", extra=facts)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except QuartetError as error:
                log.warning("record ignored", extra={"service": self._name, "reason": error.text})
            await asyncio.sleep(self._watch_seconds)
