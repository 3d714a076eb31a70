"""
Reading a request's body, at most so many bytes, and noticing that its caller has left.

A body is a JSON object or a form. A multipart form is how pictures travel without base64, a
urlencoded one is what some clients send instead of JSON.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from backends.errors import BadInput, TooLarge
from backends.serving.wire.text import Sent, read_fields, read_object

CLIENT_CLOSED_REQUEST = 499
LARGE = 256_000  # bytes
_MOST_FIELDS = 2000  # of a form
T = TypeVar("T")


class CallerLeft(Exception):
    """Nobody is there to read the answer."""


async def read_body(request: Request, most: int) -> bytes:
    """The body. BadInput past `most` bytes: by its declared length, and counted while reading."""
    declared = request.headers.get("content-length", "")
    if re.fullmatch(r"[0-9]{1,18}", declared) and int(declared) > most:
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
    """
    What the body holds. Large JSON is parsed in a thread, so that probes and streams go on. Where
    an API key travels in the body, it is looked at now.
    """
    sent = await _read_sent(request, await read_body(request, most))
    await _visited(request, sent.value)
    return sent


async def _read_sent(request: Request, body: bytes) -> Sent:
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/form-data"):
        return await _read_form(request, body)
    read = _read_urlencoded if _is_urlencoded(kind, body) else read_object
    return await asyncio.to_thread(read, body) if len(body) > LARGE else read(body)


async def read_query(request: Request) -> dict[str, str]:
    """A GET's parameters. Some clients send them as a form, in a body."""
    fields = dict(_pairs(await read_body(request, LARGE)))
    await _visited(request, fields)
    return {**fields, **request.query_params}


async def _visited(request: Request, fields: Mapping[str, Any]) -> None:
    visit = getattr(request.state, "visit", None)
    if visit is not None:
        await visit.read(fields)


def _is_urlencoded(kind: str, body: bytes) -> bool:
    """`curl -d '{…}'` calls JSON urlencoded too, and must work: no form begins with a brace."""
    return kind.startswith("application/x-www-form-urlencoded") and body.lstrip()[:1] != b"{"


def _read_urlencoded(body: bytes) -> Sent:
    return read_fields(_pairs(body))


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        text = body.decode("utf-8", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise BadInput(f"The form cannot be read: {error}.", field="body") from error


async def _read_form(request: Request, body: bytes) -> Sent:
    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers,
        once(),
        max_files=_MOST_FIELDS,
        max_fields=_MOST_FIELDS,
        max_part_size=len(body),
    )
    try:
        form = await parser.parse()
        fields = [(k, v if isinstance(v, str) else await v.read()) for k, v in form.multi_items()]
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"The form cannot be read: {error}.", field="body") from error
    finally:  # the form itself knows nothing of a part that never ended
        for file in parser._files_to_close_on_error:
            file.close()
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


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {most / 1e6:.0f} MB; send less at once.", field="body"
    )
