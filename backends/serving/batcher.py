"""
Dynamic batching: many single items in, a few engine calls out.

Engine threads own the runs. Callers put whole requests on one bounded queue and wait; each is
answered, with every result or with the error. Six promises, each a test: it gathers up to a
budget; refuses when full; skips callers who left; counts outputs before answering any; lets a
bad input fail alone; answers everything when closed.

A request is answered by one engine: the one that ran its first item. An engine that was exchanged
finishes the requests it began, then closes. Nothing here knows Gradio, HTTP or a model library.
"""

import asyncio
import bisect
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from backends.engines import Emit
from backends.errors import BadInput, Overloaded, Unavailable
from backends.identity import Ask
from backends.serving import Answer, refusals
from backends.serving.breaker import Breaker
from backends.serving.figures import Figures
from backends.serving.grouping import Cost, group_of_oldest
from backends.serving.halving import run_apart
from backends.serving.queueing import Entry, Request, Slot
from backends.settings import Batching
from backends.telemetry import Instruments

log = logging.getLogger(__name__)


class Batcher:
    """
    One bounded queue and `threads` engine threads. Everything shared is changed under one lock;
    futures are touched only on the event loop that called `start`.
    """

    def __init__(
        self, name: str, settings: Batching, instruments: Instruments, threads: int, cost: Cost
    ) -> None:
        self._name = name
        self._settings = settings
        self._cost = cost
        self._lock = threading.Condition()
        self._queue: list[Request] = []  # by Request.key: those with entries not yet running
        self._slot: Slot | None = None
        self._waiting = 0
        self._waiting_tokens = 0
        self._in_flight = 0
        self._began: dict[int, float] = {}  # by engine thread, while it runs a batch
        self._closed = ""  # why nothing new is taken
        self._stopping = False
        self._open_requests: set[Request] = set()
        self._closings: set[asyncio.Future[None]] = set()
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds)
        self._failing = partial(refusals.failing, name, settings.breaker_failures)
        self._metrics = Figures(name, instruments)
        self._threads = [
            threading.Thread(target=self._work, name=f"engine-{name}-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Call once, on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        for thread in self._threads:
            thread.start()

    # ---- on the event loop

    @property
    def waiting(self) -> int:
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Items of every request that is not answered yet."""
        return self._in_flight

    @property
    def breaker_state(self) -> str:
        return self._breaker.state

    def longest_run(self) -> float:
        """Seconds that the oldest running batch runs already; 0 while none runs."""
        return time.monotonic() - min(began) if (began := list(self._began.values())) else 0.0

    def predicted_wait(self) -> float:
        """Seconds until what waits now has run; 0 while the speed is unknown."""
        slot = self._slot
        if slot is None or not slot.rate or not self._waiting:
            return 0.0
        return self._waiting_tokens / (slot.rate * min(len(self._threads), slot.threads))

    def admit(self) -> None:
        """
        Refuse now what would be refused later; costs nothing, so ask before reading a body.
        A request's own size does not count: an idle service takes any request within the caps.
        """
        if self._closed:
            raise Unavailable(self._closed, retry_after=1)
        if (left := self._breaker.seconds_left()) > 0:
            raise self._failing(left)
        wait = self.predicted_wait()
        if wait > self._settings.max_queue_seconds:
            raise refusals.busy(self._name, self._waiting, wait, self._settings.max_queue_seconds)

    async def submit(
        self,
        items: Sequence[Any],
        lengths: Sequence[int],
        ask: Ask,
        parts: "asyncio.Queue[Any] | None" = None,
    ) -> Answer:
        """
        Queue the whole request or refuse it, then wait for its answer until the ask's deadline.
        `lengths` are tokens. A caller that leaves (is cancelled) takes its entries along.
        """
        if not items:
            raise BadInput("Send at least one item.")
        request = Request(items, lengths, ask, self._loop.create_future(), parts)
        self._enter(request)
        try:
            async with asyncio.timeout(request.patience) as limit:
                return await request.future
        except TimeoutError as error:
            if limit.expired():  # else it is the engine's own
                raise refusals.too_late(self._name) from None
            raise error
        finally:
            self._leave(request)

    def exchange(self, slot: Slot) -> None:
        """Serve with this slot from the next batch on; the old one closes after its last."""
        with self._lock:
            old, self._slot = self._slot, slot
            if old is not None:
                old.retired = True
            self._breaker.reset()
            done = old is not None and old.is_done()
            self._lock.notify_all()
        self._metrics.breaker(self._breaker.state)
        if old is not None and done:
            self._close_aside(old)

    def hold(self) -> Slot:
        """The serving slot, kept from closing until `release`."""
        with self._lock:
            if self._slot is None:
                raise Unavailable(f"The {self._name} service has no model yet.", retry_after=1)
            self._slot.pinned += 1
            return self._slot

    def release(self, slot: Slot) -> None:
        with self._lock:
            slot.pinned -= 1
            done = slot.is_done()
        if done:
            self._close_aside(slot)

    def refuse(self, reason: str) -> None:
        """From now on every new request gets Unavailable with this reason."""
        self._closed = reason

    async def idle(self, seconds: float) -> bool:
        """Wait until every accepted request is answered; False if time ran out first."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float = 10.0) -> None:
        """Answer everyone who waits, let running batches end, close the engine."""
        self.refuse(self._closed or f"The {self._name} service is shutting down.")
        with self._lock:
            self._stopping = True
            for request in list(self._queue):
                self._fail(request, Unavailable(self._closed, retry_after=1))
            slot, self._slot = self._slot, None
            if slot is not None:
                slot.retired = True
            self._lock.notify_all()
        await asyncio.to_thread(self._join, seconds)
        for request in list(self._open_requests):  # their engine did not return in time
            request.refuse(Unavailable(self._closed, retry_after=1))
        with self._lock:
            done = slot is not None and slot.is_done()
        if slot is not None and done:
            self._close_aside(slot)
        if self._closings:
            await asyncio.wait(self._closings, timeout=seconds)

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _close_aside(self, slot: Slot) -> None:
        """Giving memory back can take long: never on the event loop."""
        closing = self._loop.run_in_executor(None, slot.close)
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    def _enter(self, request: Request) -> None:
        with self._lock:
            self.admit()
            if self._slot is None:
                raise Unavailable(f"The {self._name} service has no model yet.", retry_after=1)
            bisect.insort(self._queue, request, key=lambda r: r.key)
            self._waiting += len(request.entries)
            self._waiting_tokens += request.tokens
            self._in_flight += len(request.entries)
            self._open_requests.add(request)
            self._lock.notify(len(request.entries))
            self._note_queue()
        self._idle.clear()

    def _leave(self, request: Request) -> None:
        with self._lock:
            self._metrics.cancelled(len(request.pending))
            self._withdraw(request)
            self._open_requests.discard(request)
            self._in_flight -= len(request.entries)
            slot = request.unpin()
            done = slot is not None and slot.is_done()
            self._note_queue()
        if slot is not None and done:
            self._close_aside(slot)
        if not self._open_requests:
            self._idle.set()

    # ---- under the lock

    def _withdraw(self, request: Request) -> None:
        """Its entries that have not run never will."""
        request.left = True
        if request.pending:
            self._waiting -= len(request.pending)
            self._waiting_tokens -= sum(entry.tokens for entry in request.pending)
            request.pending = []
            self._queue.remove(request)

    def _fail(self, request: Request, error: Exception) -> None:
        self._withdraw(request)
        self._tell(request.refuse, error)

    def _tell(self, what: Callable[..., None], *args: Any) -> None:
        """On the event loop, from any thread. A loop that is gone has nobody waiting."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(what, *args)

    def _note_queue(self) -> None:
        wait = self.predicted_wait()
        self._metrics.queue(self._waiting, self._waiting_tokens, self._in_flight, wait)

    def _claim(self) -> tuple[Slot, list[Entry]] | None:
        """The oldest live entries of one slot, marked so that no other thread takes them."""
        now = time.monotonic()
        slot: Slot | None = None
        claimed: list[Entry] = []
        for request in list(self._queue):
            if request.ask.deadline <= now:
                self._fail(request, refusals.too_late(self._name))
                continue
            theirs = request.slot or self._slot
            if theirs is None or theirs.running >= theirs.threads or theirs is not (slot or theirs):
                continue
            free = [entry for entry in request.pending if not entry.claimed]
            if free:
                slot = theirs
                claimed += free[: self._settings.window - len(claimed)]
            if len(claimed) >= self._settings.window:
                break
        if slot is None or not self._breaker.may_run():
            return None
        for entry in claimed:
            entry.claimed = True
        slot.running += 1
        return slot, claimed

    def _take(self, slot: Slot, claimed: list[Entry], chosen: list[Entry]) -> list[Entry]:
        """Turn the chosen entries into a batch, without those whose caller left meanwhile."""
        for entry in claimed:
            entry.claimed = False
        batch = [entry for entry in chosen if not entry.request.left]
        for request in {entry.request for entry in batch}:
            request.pin(slot)
        for entry in batch:
            entry.request.pending.remove(entry)
            if not entry.request.pending:
                self._queue.remove(entry.request)
        self._waiting -= len(batch)
        self._waiting_tokens -= sum(entry.tokens for entry in batch)
        self._note_queue()
        self._lock.notify()  # what was claimed and not chosen is free again
        return batch

    # ---- on an engine thread

    def _work(self) -> None:
        while (claim := self._await_claim()) is not None:
            slot, claimed = claim
            positions = group_of_oldest(
                [entry.tokens for entry in claimed],
                self._cost,
                self._settings.max_batch,
                min(self._settings.max_tokens, slot.model.batch_tokens),
            )
            with self._lock:
                batch = self._take(slot, claimed, [claimed[p] for p in positions])
            if batch:
                self._run(slot, batch)
            with self._lock:
                if not batch:
                    self._breaker.let_go()
                slot.running -= 1
                done = slot.is_done()
                self._lock.notify()
            if done:
                slot.close()
            del claim, slot, claimed, batch  # an idle thread keeps no engine and nobody's text

    def _await_claim(self) -> tuple[Slot, list[Entry]] | None:
        with self._lock:
            while not self._stopping:
                if (claim := self._claim()) is not None:
                    return claim
                # a probe comes due with time alone; everything else notifies
                left = self._breaker.seconds_left() if self._queue else 0.0
                self._lock.wait(left or None)
        return None

    def _run(self, slot: Slot, batch: list[Entry]) -> None:
        began = time.monotonic()
        self._began[threading.get_ident()] = began
        outcomes = run_apart(partial(self._attempt, slot), batch)
        del self._began[threading.get_ident()]
        seconds = max(time.monotonic() - began, 1e-6)
        theirs = BadInput | Overloaded  # a caller's fault, or nobody's
        blamed = [o for o in outcomes if isinstance(o, Exception) and not isinstance(o, theirs)]
        if blamed:
            self._metrics.failed()
            log.error("engine failed", extra=self._facts(slot, batch), exc_info=blamed[0])
        with self._lock:
            slot.learn(sum(entry.tokens for entry in batch), seconds)
            self._breaker.record(ok=len(blamed) < len(batch))
            left = self._breaker.seconds_left()
            for request in list(self._queue) if left else ():
                self._fail(request, self._failing(left))
            finished = self._settle(batch, outcomes)
        self._metrics.ran(batch, seconds, slot.rate, self._breaker.state)
        if finished:
            self._tell(self._answer, finished, slot)

    def _settle(self, batch: list[Entry], outcomes: list[Any]) -> list[Request]:
        """Keep what came out; the requests that can be answered now. Under the lock."""
        finished = []
        for entry, outcome in zip(batch, outcomes, strict=True):
            request = entry.request
            if request.keep(entry, outcome):
                finished.append(request)
                self._withdraw(request)  # after an error, what is left of it need not run
        return finished

    def _attempt(self, slot: Slot, batch: list[Entry]) -> Sequence[Any]:
        outputs = slot.engine.run([entry.item for entry in batch], self._emit_to(batch))
        if len(outputs) != len(batch):
            raise RuntimeError(f"{slot.engine.model}: {len(outputs)} outputs of {len(batch)}")
        return outputs

    def _emit_to(self, batch: list[Entry]) -> Emit:
        def emit(index: int, part: Any) -> bool:
            entry = batch[index]
            parts = entry.request.parts
            if part is not None and parts is not None and not entry.request.left:
                entry.emitted = True
                self._tell(parts.put_nowait, part)
            return not entry.request.left

        return emit

    # ---- back on the event loop

    def _answer(self, finished: list[Request], slot: Slot) -> None:
        for request in finished:
            request.answer(slot.engine.model, slot.revision)

    def _facts(self, slot: Slot, batch: list[Entry]) -> dict[str, Any]:
        ids = sorted({entry.request.ask.request_id for entry in batch})
        return {"service": self._name, "model": slot.engine.model, "request_ids": ids}
