"""
Reading a request's body, at most so many bytes, and noticing that its caller has left.

A body is a JSON object or a multipart form; a form is how pictures travel without base64.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from backends.errors import BadInput
from backends.serving.wire.text import Sent, read_fields, read_object

LARGE = 256_000  # bytes
T = TypeVar("T")


class CallerLeft(Exception):
    """Nobody is there to read the answer."""


async def read_body(request: Request, most: int) -> bytes:
    """The body. BadInput past `most` bytes: by its declared length, and counted while reading."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise CallerLeft from error
    return b"".join(chunks)


async def read_sent(request: Request, most: int) -> Sent:
    """What the body holds. Large JSON is parsed in a thread, so that probes and streams go on."""
    body = await read_body(request, most)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await _read_form(request, body)
    return await asyncio.to_thread(read_object, body) if len(body) > LARGE else read_object(body)


async def _read_form(request: Request, body: bytes) -> Sent:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, once(), max_files=2000, max_fields=2000, max_part_size=len(body)
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"The form cannot be read: {error}.", field="body") from error
    try:
        fields = [(k, v if isinstance(v, str) else await v.read()) for k, v in form.multi_items()]
    finally:
        await form.close()
    return read_fields(fields)


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """
    The work's result; when the caller disconnects first the work is cancelled and CallerLeft
    raised. Call it after the body was read.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerLeft
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(most: int) -> BadInput:
    return BadInput(
        f"The body is larger than {most / 1e6:.0f} MB; send less at once.", field="body"
    )
