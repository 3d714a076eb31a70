"""Reading a request's body, at most so many bytes, and noticing that its caller has left."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from backends.errors import BadInput

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
