"""
A loopback server that breaks on demand: what a real one will not do when it is told to.

Raw bytes over real sockets, one behaviour at a time for requests and one for looks (`/readyz`).
It keeps what it was asked, and knows when the other side has hung up.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import orjson

from tests import echo

Behaviour = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as it came, and the connection to misuse."""

    head: str
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> None:
        """Until the other side closes."""
        while await self.reader.read(65536):
            pass

    def reset(self) -> None:
        """RST instead of FIN: what the other side gets from a killed process."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Faults:
    """`address` takes requests; `asked` are those on /v1; `left` counts who hung up first."""

    behaviour: Behaviour
    look: Behaviour
    address: str = ""
    asked: list[Exchange] = field(default_factory=list)
    looks: int = 0
    left: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._exchange(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            (line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length")),
            "0",
        )
        exchange = Exchange(head, await reader.readexactly(int(length)), reader, writer)
        if " /readyz " in head:
            self.looks += 1
            await self.look(exchange)
            return
        self.asked.append(exchange)
        await self.behaviour(exchange)

    def noting_who_leaves(self, behaviour: Behaviour) -> Behaviour:
        async def noted(exchange: Exchange) -> None:
            with suppress(ConnectionError):
                await behaviour(exchange)
                await exchange.hung_up()
            self.left += 1

        return noted

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(behaviour: Behaviour, look: Behaviour | None = None) -> AsyncIterator[Faults]:
    """A pod that is well by its own word and treats every request like this."""
    faults = Faults(behaviour, look or answers(READY))
    server = await asyncio.start_server(faults.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    faults.address = f"http://{host}:{port}"
    try:
        yield faults
    finally:
        server.close()
        await faults.stop()
        await server.wait_closed()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ready(
    service: str = "rerank", model: str = "exact", revision: int = 0, **more: object
) -> bytes:
    capabilities = {"instruction": False}
    status = {"service": service, "state": "ready", "model": model, "revision": revision}
    status |= {"capabilities": capabilities, "embedded": True, "device": "CPU", **more}
    return response(orjson.dumps({"ready": True, "services": {service: status}}))


READY = ready()


# ---- behaviours


def answers(data: bytes) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.send(data)

    return behave


def says(status: str, kind: str, text: str, zh: str = "", **headers: str) -> Behaviour:
    """An error in our own shape."""
    value = {"error": text, "error_type": kind, "request_id": "x", **({"zh": zh} if zh else {})}
    return answers(response(orjson.dumps(value), status, **headers))


async def hangs(exchange: Exchange) -> None:
    await exchange.hung_up()


async def resets(exchange: Exchange) -> None:
    exchange.reset()


async def closes(exchange: Exchange) -> None:
    pass


def breaks_off(data: bytes, *, reset: bool = False) -> Behaviour:
    """The head and half of the body, then the end."""

    async def behave(exchange: Exchange) -> None:
        body = data.index(b"\r\n\r\n") + 4
        await exchange.send(data[: (body + len(data)) // 2])
        if reset:
            exchange.reset()

    return behave


def drips(data: bytes, seconds: float) -> Behaviour:
    """A byte at a time."""

    async def behave(exchange: Exchange) -> None:
        for n in range(len(data)):
            await exchange.send(data[n : n + 1])
            await asyncio.sleep(seconds)

    return behave


async def floods(exchange: Exchange) -> None:
    """A body without an end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while True:
        await exchange.send(b" " * 65536)


PAIRS = echo.pairs("one", "two")


def answered(pairs: Any = PAIRS, **headers: str) -> bytes:
    """What a pod of ours would answer."""
    outputs = [{"score": echo.score(pair.document).score} for pair in pairs]
    value = {"outputs": outputs, "usage": {"total_tokens": 2}}
    said = {"x_model": "exact", "x_model_revision": "0", **headers}
    return response(orjson.dumps(value), content_type="application/json", **said)
