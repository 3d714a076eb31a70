"""
A service in other processes: the portal asks pods, over the same routes as any program.

A request that nothing of an answer came to is tried once more, at another address. No model is
loaded here: with its pods gone a service is unavailable, and says so. Whether one is busy is for
the pods to say.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import orjson

from backends.errors import BadInput, Unavailable
from backends.families import Family
from backends.identity import Ask
from backends.serving import Answer, State, Status
from backends.serving.record import ModelRecord, Records
from backends.serving.refusals import too_late
from backends.serving.remote.events import TooLarge, read_events
from backends.serving.remote.pod import Reply
from backends.serving.remote.pods import Pods
from backends.serving.remote.told import (
    NotTaken,
    Served,
    fault,
    read_served,
    read_served_event,
    refused_event,
)
from backends.serving.wire.exact import MEDIA_TYPE, Exact, read_outputs, read_part
from backends.settings import Settings

log = logging.getLogger(__name__)

Written: TypeAlias = tuple[str, bytes]  # the path that is asked, and what is sent there

LARGE = 256_000  # bytes of an answer that is read in a thread
_CLOSING = 5.0  # seconds that refused requests get to leave
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class RemoteService:
    """`ModelService` over pods elsewhere. Build, then `await start()`."""

    def __init__(
        self,
        family: Family,
        shape: Exact,
        settings: Settings,
        records: Records,
        watch_seconds: float = 1.0,
    ) -> None:
        self.name = family.name
        self._family = family
        self._shape = shape
        self._most = settings.remote.answer_bytes
        self._longest = settings.limits.longest_deadline_seconds
        self._pods = Pods(family, settings, records, watch_seconds)
        self._leaving: State | None = None
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._waits: set[asyncio.Timeout] = set()

    async def start(self) -> None:
        """Return at once; the pods are looked at meanwhile."""
        self._pods.start()

    # ---- asking

    def admit(self) -> None:
        if self._leaving is not None:
            raise _left()
        if not self._pods.is_any_alive:
            raise self._pods.gone()

    async def predict(self, items: Sequence[Any], ask: Ask) -> Answer:
        with self._request(items):
            asked = await self._written(items)
            async with self._until(ask), self._reply(asked, ask) as reply:
                body = await reply.read(self._most)
            return await self._answer(reply, body, len(items))

    async def stream(self, item: Any, ask: Ask) -> AsyncIterator[Any]:
        with self._request([item]):
            asked = await self._written([item], stream=True)
            async with AsyncExitStack() as stack:
                async with self._until(ask):
                    reply = await stack.enter_async_context(self._reply(asked, ask))
                if not reply.is_stream:  # a model that cannot stream answers at once
                    async with self._until(ask):
                        body = await reply.read(self._most)
                    yield await self._answer(reply, body, 1)
                    return
                parts = await stack.enter_async_context(aclosing(self._parts(reply, ask)))
                async for part in parts:
                    yield part

    @asynccontextmanager
    async def _reply(self, written: Written, ask: Ask) -> AsyncIterator[Reply]:
        """An answer from one pod, or from a second when the first took nothing."""
        asked = (*written, self._headers(ask))
        async with AsyncExitStack() as stack:
            first = self._pods.choose()
            if first is None:
                raise self._pods.gone()
            try:
                reply = await stack.enter_async_context(first.ask(*asked))
            except NotTaken as missed:
                second = await self._pods.another(first)
                if second is None:
                    raise missed.told from missed
                log.info("asked another pod", extra={"service": self.name, "pod": second.name})
                try:
                    reply = await stack.enter_async_context(second.ask(*asked))
                except NotTaken as again:
                    raise again.told from again
            yield reply

    async def _parts(self, reply: Reply, ask: Ask) -> AsyncGenerator[Any, None]:
        """The parts of a stream, then its answer."""
        async with aclosing(read_events(reply.chunks(), self._most)) as events:
            part: Any = None
            while not isinstance(part, Answer):
                async with self._until(ask):
                    event = await anext(events, None)
                if event is None:
                    raise reply.pod.broke_off()
                if event.name == "error":
                    raise refused_event(self.name, event.data)
                part = await self._understood(reply, event.data, partial(self._part, reply))
                yield part

    # ---- reading and writing

    async def _written(self, items: Sequence[Any], stream: bool = False) -> Written:
        def write() -> Written:
            asked = self._shape.ask(items)
            streamed = {"stream": True} if stream else {}
            return asked.path, orjson.dumps({**asked.fields, **streamed})

        return await asyncio.to_thread(write)  # a picture may have to be packed

    def _headers(self, ask: Ask) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": MEDIA_TYPE,
            "x-timeout": f"{max(0.001, self._seconds(ask)):.3f}",
        }
        if ask.request_id:
            headers["x-request-id"] = ask.request_id
        if _TRACE.fullmatch(ask.trace):
            headers["traceparent"] = ask.trace
        return headers

    async def _answer(self, reply: Reply, body: bytes, count: int) -> Answer:
        def read(value: Any) -> Answer:
            return self._made(reply, value, read_served(reply.headers), count)

        answer: Answer = await self._understood(reply, body, read)
        return answer

    def _part(self, reply: Reply, value: Any) -> Any:
        if "part" in value:
            return read_part(value, self._shape)
        return self._made(reply, value, read_served_event(value), 1)

    async def _understood(self, reply: Reply, data: bytes, read: Callable[[Any], Any]) -> Any:
        """Whatever in an answer is not as our pods write it becomes one sentence."""

        def understand() -> Any:
            return read(orjson.loads(data))

        try:
            if len(data) > LARGE:
                return await asyncio.to_thread(understand)
            return understand()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            facts = {"service": self.name, "pod": reply.pod.name}
            log.warning("answer not understood", extra=facts, exc_info=error)
            raise fault("nonsense", self.name) from error

    def _made(self, reply: Reply, value: Any, served: Served, count: int) -> Answer:
        outputs, tokens = read_outputs(value, self._shape)
        if len(outputs) != count:
            raise ValueError(f"{len(outputs)} outputs for {count} items")
        if served.model not in self._family.models:
            raise fault("unknown", self.name)
        return Answer(
            outputs,
            model=served.model,
            revision=served.revision,
            tokens=tokens,
            queued=served.queued,
            ran=served.ran,
            pod=reply.pod.name,
        )

    # ---- every wait has an end

    @property
    def _is_closed(self) -> bool:
        return self._leaving is State.CLOSED

    def _seconds(self, ask: Ask) -> float:
        return max(0.0, min(ask.seconds_left(), self._longest))

    @contextmanager
    def _request(self, items: Sequence[Any]) -> Iterator[None]:
        """Admitted, and counted until it is answered."""
        if not items:
            raise BadInput("Send at least one item.")
        self.admit()
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    @asynccontextmanager
    async def _until(self, ask: Ask) -> AsyncIterator[None]:
        """Wait for an answer, until the ask's deadline or until the service is closed."""
        if self._is_closed:
            raise _left()
        try:
            async with asyncio.timeout(self._seconds(ask)) as limit:
                self._waits.add(limit)
                try:
                    yield
                finally:
                    self._waits.discard(limit)
        except TimeoutError as error:
            if self._is_closed:
                raise _left() from error
            raise too_late(self.name) from error
        except TooLarge as error:
            raise fault("large", self.name) from error

    async def drain(self, seconds: float) -> None:
        """The pods stay: others may ask them."""
        self._leaving = State.DRAINING
        await self._until_idle(seconds)

    async def close(self) -> None:
        self._leaving = State.CLOSED
        for limit in list(self._waits):
            limit.reschedule(asyncio.get_running_loop().time())
        await self._until_idle(_CLOSING)
        await self._pods.close()

    async def _until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    # ---- how it is

    async def status(self) -> Status:
        if not self._is_closed:
            await self._pods.look()
        status = self._pods.status()
        return replace(status, state=self._leaving) if self._leaving else status

    async def swap(self, record: ModelRecord) -> None:
        await self._pods.swap(record)

    async def stop_loading(self, why: str) -> None:
        await self._pods.stop_loading(why)


def _left() -> Unavailable:
    return Unavailable("The portal is leaving; ask again soon.", retry_after=1)
