"""
One address that answers for a service: its connections, its circuit, and its last word.

The border to the network: every way in which an exchange can go wrong leaves here as `NotTaken`
(nothing was answered yet) or as a QuartetError. Time limits are the caller's, but for connecting.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx
import orjson

from backends.engines import Capabilities
from backends.errors import QuartetError
from backends.serving import State, Status
from backends.serving.breaker import Breaker
from backends.serving.record import ModelRecord
from backends.serving.remote.events import TooLarge
from backends.serving.remote.told import NotTaken, fault, moved_on, read_status, refused
from backends.settings import Remote

log = logging.getLogger(__name__)

_WORDS = 1_000_000  # bytes that a status or an error may have
_SPARE = 8  # connections beyond the requests': looks and swaps
_KEPT = 60.0  # seconds an idle connection is kept: less than a pod keeps it, so we close first

# What a broken exchange is called, the most special first.
_BROKEN: tuple[tuple[type[httpx.RequestError], str], ...] = (
    (httpx.ConnectTimeout, "gone"),
    (httpx.ConnectError, "gone"),
    (httpx.PoolTimeout, "gone"),
    (httpx.ProxyError, "gone"),
    (httpx.UnsupportedProtocol, "gone"),
    (httpx.TimeoutException, "closed"),
    (httpx.NetworkError, "closed"),
    (httpx.ProtocolError, "nonsense"),
    (httpx.DecodingError, "nonsense"),
    (httpx.TooManyRedirects, "nonsense"),
)


def broken(error: httpx.RequestError) -> str:
    """The name of the fault when an exchange broke before the head of an answer had come."""
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" in str(error):
        return "closed"  # the library's name for an end where an answer should begin
    return next(name for kind, name in _BROKEN if isinstance(error, kind))


class Pod:
    """
    `in_flight` counts requests. The circuit opens after some failures in a row without an answer;
    while it is open the pod is not alive, and only looks go there. `models` are the names that
    this portal knows.
    """

    def __init__(
        self, service: str, address: str, settings: Remote, models: Collection[str]
    ) -> None:
        self.name = urlsplit(address).netloc
        self.in_flight = 0
        self.is_reached = False  # by the last exchange or look
        self.status = Status(
            service, State.LOADING, "", 0, Capabilities(), False, "", pod=self.name
        )
        self._service = service
        self._settings = settings
        self._models = models
        self._circuit = Breaker(settings.failures, settings.rest_seconds)
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._http = httpx.AsyncClient(
            base_url=address,
            timeout=httpx.Timeout(None, connect=settings.connect_seconds, pool=1.0),
            limits=httpx.Limits(
                max_connections=settings.connections + _SPARE,
                max_keepalive_connections=settings.connections,
                keepalive_expiry=_KEPT,
            ),
            headers={"accept-encoding": "identity"},  # or a small answer could grow past any cap
            verify=ssl.create_default_context() if address.startswith("https:") else False,
            trust_env=False,
        )

    @property
    def is_alive(self) -> bool:
        return self._circuit.state == "closed"

    @property
    def is_well(self) -> bool:
        return self.is_alive and self.status.is_ready

    @property
    def seconds_left(self) -> float:
        """Until it is tried again; 0 while it is alive."""
        return self._circuit.seconds_left()

    # ---- asking

    @asynccontextmanager
    async def ask(
        self, path: str, content: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator["Reply"]:
        """An answer, its body still to be read. Raises NotTaken, or the error that the pod gave."""
        self.in_flight += 1
        try:
            async with self._exchange("POST", path, content, headers) as reply:
                self._circuit.record(ok=True)
                if reply.status != 200:
                    raise await self._refused(reply)
                yield reply
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator["Reply"]:
        request = self._http.build_request(method, path, content=content, headers=headers)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.RequestError as error:
            told = self._failed(name := broken(error))
            raise (told if name == "nonsense" else NotTaken(told)) from error
        except asyncio.CancelledError:  # perhaps because it said nothing for too long: look soon
            self._looked_at = float("-inf")
            raise
        try:
            yield Reply(self, response)
        finally:
            await response.aclose()

    async def _refused(self, reply: "Reply") -> Exception:
        """What it says instead of an answer. With 503 it took nothing: another one might."""
        try:
            body = await reply.read(_WORDS)
        except TooLarge:
            body = b""  # none of our words
        error = refused(self._service, reply.status, body, reply.headers)
        if reply.status != 503:
            return error
        if self.status.is_ready:  # it changed since the last look
            failed = replace(self.status, state=State.FAILED, reason=error.text)
            self._hear(replace(failed, reason_zh=error.zh))
            self._looked_at = float("-inf")
        return NotTaken(error)

    def broke_off(self) -> QuartetError:
        """Note that an answer ended before its end."""
        return self._failed("half")

    def _failed(self, name: str) -> QuartetError:
        told = fault(name, self._service)
        self.is_reached = False
        self._circuit.record(ok=False)
        unknown = Status(
            self._service, State.FAILED, "", 0, Capabilities(), False, "", told.text, told.zh,
            pod=self.name,
        )  # fmt: skip
        self._hear(unknown)
        return told

    def _hear(self, status: Status) -> None:
        if status.is_ready != self.status.is_ready or status.reason != self.status.reason:
            facts = {"service": self._service, "pod": self.name, "state": status.state.value}
            log.info("pod changed", extra={**facts, "reason": status.reason})
        self.status = status

    # ---- looking

    async def look(self) -> None:
        """Ask how it is, now; callers at the same time share one question. Never raises."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    async def look_unless(self, younger: float) -> None:
        """Look, unless the last look is younger than these seconds, or the pod rests."""
        due = time.monotonic() - self._looked_at >= younger
        if due and (self.is_alive or self._circuit.may_run()):
            await self.look()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._settings.look_seconds):
                async with self._exchange("GET", "/readyz") as reply:
                    body = await reply.read(_WORDS)
            self._heard(body)
        except (NotTaken, QuartetError):
            pass  # noted where it was met
        except TimeoutError:
            self._failed("silent")
        except TooLarge:
            self._failed("elsewhere")
        finally:
            self._looked_at = time.monotonic()
            self._looking = None

    def _heard(self, body: bytes) -> None:
        status = read_status(body, "services", self._service)
        if status is None:
            self._failed("elsewhere")
            return
        if status.is_ready and status.model not in self._models:
            told = fault("unknown", self._service)
            status = replace(status, state=State.FAILED, model="", reason=told.text)
            status = replace(status, reason_zh=told.zh)
        self.is_reached = True
        self._circuit.reset()
        self._hear(replace(status, pod=self.name, pods=()))

    # ---- changing its model

    async def swap(self, record: ModelRecord, token: str) -> None:
        """Make it run the record. Raises what the pod says; Conflict if it moved on elsewhere."""
        asked = {"service": self._service, "revision": record.revision, "model": record.model}
        headers = {"authorization": f"Bearer {token}"}
        try:
            async with asyncio.timeout(self._settings.swap_seconds):
                body = await self._swapped(orjson.dumps(asked), headers)
        except NotTaken as error:
            raise error.told from error
        except TimeoutError as error:
            raise fault("slow", self._service) from error
        finally:
            self._looked_at = float("-inf")
        runs = read_status(body)
        if runs is None:
            raise fault("nonsense", self._service)
        if runs.model != record.model:
            raise moved_on(runs)

    async def stop_loading(self, why: str, token: str) -> None:
        """End its download, if there is one. Raises what the pod says."""
        asked = orjson.dumps({"service": self._service, "why": why})
        headers = {"authorization": f"Bearer {token}"}
        try:
            async with (
                asyncio.timeout(self._settings.look_seconds),
                self._exchange("POST", "/internal/stop", asked, headers) as reply,
            ):
                if reply.status != 200:
                    raise await self._refused(reply)
        except NotTaken as error:
            raise error.told from error
        except TimeoutError as error:
            raise fault("slow", self._service) from error

    async def _swapped(self, content: bytes, headers: Mapping[str, str]) -> bytes:
        async with self._exchange("POST", "/internal/swap", content, headers) as reply:
            if reply.status != 200:
                raise await self._refused(reply)
            try:
                return await reply.read(_WORDS)
            except TooLarge:
                return b""

    async def close(self) -> None:
        if self._looking is not None:
            await self._looking  # its wait has an end
        await self._http.aclose()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose head has come."""

    pod: Pod
    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers

    async def read(self, most: int) -> bytes:
        """The whole body. Raises TooLarge past so many bytes."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > most:
                raise TooLarge
            chunks.append(chunk)
        return b"".join(chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unavailable where it breaks off."""
        try:
            async for chunk in self.response.aiter_raw():
                yield chunk
        except httpx.RequestError as error:
            raise self.pod.broke_off() from error
