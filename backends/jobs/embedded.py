"""
Jobs in one process: a table on disk, and workers that ask the service.

A job runs at most once an attempt. What waited when the process ended runs after the restart;
what ran ends as failed, with the reason, and its owner may retry it. The store is called from
one thread of its own; everything else here happens on the event loop.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from backends import settings
from backends.errors import Conflict, JobsError, QuartetError, Unavailable
from backends.identity import Ask, Principal
from backends.jobs import Job, JobState, Packing, admission, ending
from backends.jobs.fairness import Turns, Waiting, rank
from backends.jobs.owners import is_owner, needs_token, new_token, no_such_job, token_hash
from backends.jobs.runner import Runner
from backends.jobs.store import Row, Store
from backends.serving import ModelService
from backends.telemetry import Instruments

log = logging.getLogger(__name__)

R = TypeVar("R")

SWEEP_SECONDS = 30.0  # between two looks for what has expired
_AFTER_TROUBLE_SECONDS = 5.0  # until a worker asks a store again that could not be used


class EmbeddedJobs:
    """`Jobs` over one service. Build, then `await start()`."""

    def __init__(
        self,
        group: settings.Jobs,
        folder: Path,
        service: ModelService,
        packing: Packing,
        instruments: Instruments,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = group
        self._folder = folder
        self._runner = Runner(service, packing, group.patience_seconds)
        self._instruments = instruments
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs-store")
        self._store: Store | None = None
        self._turns = Turns()
        self._order: dict[str, int] | None = None  # place of each waiting job; None: ask again
        self._progress: dict[str, tuple[float, str]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._admitting = asyncio.Lock()
        self._wake = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._closed = False

    async def start(self) -> None:
        """Open the store, end what was interrupted, begin to work."""
        loop = asyncio.get_running_loop()
        self._store = await loop.run_in_executor(self._thread, Store, self._folder)
        await self._end_interrupted()
        loose = await self._do(Store.tidy)
        await self._queue_moved()
        waiting = len(await self._places())
        if waiting or loose:
            log.info("jobs found", extra={"waiting": waiting, "loose_files": loose})
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._settings.workers)]
        self._tasks.append(asyncio.create_task(self._sweep_now_and_then()))

    # ---- for the owner

    async def submit(self, item: Any, ask: Ask) -> Job:
        await self._admit(ask.principal)
        packed = await self._runner.pack(item)
        now = self._clock()
        token = new_token() if needs_token(ask.principal) else ""
        row = Row(
            id=secrets.token_urlsafe(12),
            tenant=ask.principal.tenant,
            subject=ask.principal.subject,
            token_hash=token_hash(token) if token else "",
            priority=ask.priority,
            trace=ask.trace,
            request_id=ask.request_id,
            state=JobState.WAITING,
            created=now,
            queued=now,
            expires=now + self._settings.expiry_seconds,
        )
        async with self._admitting:
            await self._admit(ask.principal, len(packed))  # others came while this was packed
            await self._do(Store.add, row, packed)
            await self._queue_moved()
        return replace(await self._job(row), token=token)

    async def get(self, job: str, who: Principal) -> Job:
        return await self._job(await self._owned(job, who))

    async def mine(self, who: Principal) -> Sequence[Job]:
        rows = await self._do(Store.of_caller, who.tenant, who.subject)
        owned = [row for row in rows if is_owner(who, row.tenant, row.subject, row.token_hash)]
        return [await self._job(row) for row in owned if not self._has_expired(row)]

    async def watch(self, job: str, who: Principal) -> AsyncIterator[Job]:
        changed = asyncio.Event()
        self._watchers.setdefault(job, set()).add(changed)
        last: Job | None = None
        try:
            while not self._closed:
                changed.clear()
                now = await self.get(job, who)
                if now != last:
                    yield now
                if now.state.is_final:
                    return
                last = now
                await changed.wait()
        finally:
            self._watchers[job].discard(changed)
            if not self._watchers[job]:
                del self._watchers[job]

    async def result(self, job: str, who: Principal) -> bytes:
        row = await self._owned(job, who)
        if row.state is not JobState.DONE:
            raise Conflict(
                f"This job has no result: it is {row.state.value}. {row.error}".rstrip(),
                zh=f"该任务没有结果，当前状态：{row.state.value}。{row.error_zh}",
            )
        result = await self._do(Store.result, job)
        if result is None:  # it was deleted between the two questions
            raise no_such_job()
        return result

    async def cancel(self, job: str, who: Principal) -> Job:
        return await self._cancel(lambda: self._owned(job, who))

    async def retry(self, job: str, who: Principal) -> Job:
        row = await self._owned(job, who)
        if not row.can_retry:
            raise Conflict(
                "Only a job that failed through no fault of its pictures can be retried.",
                zh="只有并非因图片本身而失败的任务才能重试。",
            )
        async with self._admitting:
            await self._admit(Principal(row.subject, tenant=row.tenant))
            await self._do(Store.change, row, ending.again(row, *self._now_and_kept()))
            await self._queue_moved()
        return await self.get(job, who)

    async def delete(self, job: str, who: Principal) -> None:
        await self.cancel(job, who)
        await self._remove(job)

    # ---- for who runs the portal

    async def everyones(self) -> Sequence[Job]:
        rows = await self._do(Store.everyones)
        return [await self._job(row) for row in rows if not self._has_expired(row)]

    async def stop(self, job: str) -> Job:
        return await self._cancel(lambda: self._found(job))

    async def remove(self, job: str) -> None:
        await self.stop(job)
        await self._remove(job)

    # ---- leaving

    async def drain(self, seconds: float) -> None:
        self._draining = True
        if running := list(self._running.values()):
            await asyncio.wait(running, timeout=seconds)

    async def close(self) -> None:
        """What still runs ends as failed; what waits is there after the next start."""
        self._draining = self._closed = True
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._tell_all()
        if self._store is not None:
            await self._end_interrupted()
            await self._do(Store.close)
            self._store = None
        self._thread.shutdown()

    async def sweep(self) -> None:
        """Remove what has expired; what still waits fails first, so that its owner hears of it."""
        await self._end_interrupted()
        for row in await self._do(Store.expired, self._clock()):
            if row.state is JobState.WAITING:
                await self._fail(row, ending.WAITED)
                await self._queue_moved()
            else:
                await self._remove(row.id)

    # ---- the work

    async def _work(self) -> None:
        while True:
            try:
                row = await self._next()
            except JobsError as error:
                log.warning("no job could be taken", extra={"reason": error.text})
                await asyncio.sleep(_AFTER_TROUBLE_SECONDS)
                continue
            self._running[row.id] = task = asyncio.create_task(self._run(row))
            await asyncio.wait({task})
            self._running.pop(row.id, None)
            self._progress.pop(row.id, None)

    async def _next(self) -> Row:
        """Wait for a job and take it; from then on it is running."""
        async with self._wake:
            while True:
                if not self._draining and (row := await self._take()) is not None:
                    return row
                await self._wake.wait()

    async def _take(self) -> Row | None:
        rows = {row.id: row for row in await self._do(Store.waiting)}
        for waiting in self._turns.order(self._waiting(row) for row in rows.values()):
            row = rows[waiting.id]
            taken = replace(row, state=JobState.RUNNING, started=self._clock())
            if await self._do(Store.change, row, taken):
                self._turns.take(waiting)
                await self._note_queue()
                return taken
        return None

    async def _run(self, row: Row) -> None:
        """To the end of the job, whatever that is. Cancelled: somebody else has ended it."""

        def told(share: float, stage: str) -> None:
            self._progress[row.id] = (share, stage)
            self._tell(row.id)

        who = Principal(row.subject, tenant=row.tenant)
        ask = Ask(who, priority=row.priority, trace=row.trace, request_id=row.request_id)
        try:
            packed = await self._do(Store.item, row.id)
            made = await self._runner.run(packed, ask, told)
            done = ending.done(row, made, *self._now_and_kept())
            if await self._do(Store.finish, row, done, made.file):
                ending.count(self._instruments, "ok", done)
                self._tell(row.id)
        except QuartetError as error:
            await self._fail(row, error)
        except Exception as error:
            log.exception("job failed", extra={"job": row.id, "request_id": row.request_id})
            await self._fail(row, ending.BUG, outcome=type(error).__name__)

    async def _fail(self, row: Row, error: QuartetError, outcome: str = "") -> None:
        after = ending.failed(row, error, *self._now_and_kept())
        try:
            if await self._do(Store.end, row, after):
                ending.count(self._instruments, outcome or type(error).__name__, after)
                self._tell(row.id)
        except JobsError as trouble:  # the sweep ends it as soon as the store can be used
            log.warning("a job's end was not kept", extra={"reason": trouble.text})

    async def _cancel(self, find: Callable[[], Awaitable[Row]]) -> Job:
        """`find` looks the job up, again after each try: it may begin or end meanwhile."""
        row = await find()
        while not row.state.is_final:
            after = ending.ended(row, JobState.CANCELLED, *self._now_and_kept())
            if await self._do(Store.end, row, after):
                ending.count(self._instruments, "Cancelled", after)
                self._stop(row.id)
                await self._queue_moved()
            row = await find()
        return await self._job(row)

    async def _end_interrupted(self) -> None:
        """No job is running that nobody runs."""
        for row in await self._do(Store.running):
            if row.id not in self._running:
                await self._fail(row, ending.STOPPED)

    def _stop(self, job: str) -> None:
        if (task := self._running.get(job)) is not None:
            task.cancel()

    async def _remove(self, job: str) -> None:
        await self._do(Store.remove, job)
        self._tell(job)

    async def _sweep_now_and_then(self) -> None:
        while True:
            try:
                await self.sweep()
            except JobsError as error:
                log.warning("sweep failed", extra={"reason": error.text})
            await asyncio.sleep(SWEEP_SECONDS)

    # ---- what is so

    async def _found(self, job: str) -> Row:
        row = await self._do(Store.get, job)
        if row is None or self._has_expired(row):
            raise no_such_job()
        return row

    async def _owned(self, job: str, who: Principal) -> Row:
        row = await self._found(job)
        if not is_owner(who, row.tenant, row.subject, row.token_hash):
            raise no_such_job()
        return row

    def _has_expired(self, row: Row) -> bool:
        return row.state.is_final and row.expires <= self._clock()

    async def _job(self, row: Row) -> Job:
        share, stage = self._progress.get(row.id, (0.0, ""))
        is_waiting = row.state is JobState.WAITING
        return Job(
            id=row.id,
            tenant=row.tenant,
            owner="" if row.token_hash else row.subject,
            state=row.state,
            created=row.created,
            expires=row.expires,
            progress=1.0 if row.state is JobState.DONE else share,
            stage=stage if row.state is JobState.RUNNING else "",
            position=(await self._places()).get(row.id, 0) if is_waiting else 0,
            attempt=row.attempt,
            started=row.started,
            ended=row.ended,
            error=row.error,
            error_zh=row.error_zh,
            error_type=row.error_type,
            can_retry=row.can_retry,
            notes=row.notes,
            model=row.model,
            revision=row.revision,
            pod=row.pod,
        )

    async def _places(self) -> dict[str, int]:
        if self._order is None:
            rows = await self._do(Store.waiting)
            ordered = self._turns.order(self._waiting(row) for row in rows)
            self._order = {waiting.id: place for place, waiting in enumerate(ordered, 1)}
        return self._order

    def _waiting(self, row: Row) -> Waiting:
        place = rank(row.queued, row.priority, self._settings.priority_seconds)
        return Waiting(row.id, row.tenant, row.subject, place)

    def _now_and_kept(self) -> tuple[float, float]:
        return self._clock(), self._settings.expiry_seconds

    async def _admit(self, who: Principal, more: int = 0) -> None:
        """Refuse now what would be refused later. `more` bytes are to be kept."""
        if self._draining:
            raise Unavailable("The server is leaving; ask again in a moment.", retry_after=5)
        waiting = await self._do(Store.count_waiting, who.tenant, who.subject)
        admission.check(self._settings, waiting, await self._do(Store.taken) + more)

    # ---- telling

    async def _queue_moved(self) -> None:
        await self._note_queue()
        async with self._wake:
            self._wake.notify_all()

    async def _note_queue(self) -> None:
        self._order = None
        self._instruments.jobs_waiting.set(len(await self._places()))
        self._tell_all()

    def _tell(self, job: str) -> None:
        for changed in self._watchers.get(job, ()):
            changed.set()

    def _tell_all(self) -> None:
        for job in self._watchers:
            self._tell(job)

    async def _do(self, method: Callable[..., R], *args: Any) -> R:
        """One call of the store, on its thread."""
        store = self._store
        if store is None:
            raise Unavailable("The job store is not open.", retry_after=2)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(store, *args))
