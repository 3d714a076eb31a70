"""Server-sent events out of bytes, as our own routes write them. Pure but for the waiting."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is "" for the events that have none."""

    name: str
    data: bytes


class TooLarge(Exception):
    """An answer, or one event of it, has more bytes than are taken."""


async def read_events(chunks: AsyncIterator[bytes], most: int) -> AsyncGenerator[Event, None]:
    """Each event as soon as its empty line has come; what is left at the end is no event."""
    buffer = bytearray()
    async for chunk in chunks:
        searched = max(0, len(buffer) - 1)
        buffer += chunk
        while (end := buffer.find(b"\n\n", searched)) >= 0:
            block = bytes(buffer[:end])
            del buffer[: end + 2]
            searched = 0
            if (event := _event(block)) is not None:
                yield event
        if len(buffer) > most:
            raise TooLarge


def _event(block: bytes) -> Event | None:
    """None for a comment, which keeps a connection open."""
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value)
    return Event(name, b"\n".join(data)) if data else None
