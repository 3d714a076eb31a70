"""The audit: read in pages, downloaded as it is, verified."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backends.identity import Role
from backends.ops.audit import Audit
from backends.portal import Portal
from backends.routes.admin import shapes
from backends.routes.admin.desk import allow, answer, number

_MOST = 1000  # lines of a page
_CHUNK = 256_000  # bytes


class Chronicle:
    def __init__(self, portal: Portal) -> None:
        self._audit = portal.audit

    async def lines(self, request: Request) -> Response:
        """`limit` lines of the audit, the newest first; `before` is the `next` of a page."""
        allow(request, Role.VIEWER)
        limit = number(request, "limit", 100, _MOST)
        before = number(request, "before", 1, 10**9) if "before" in request.query_params else None
        found = await asyncio.to_thread(self._audit.lines, limit, before)
        earlier = found[-1].seq if len(found) == limit and found[-1].seq > 1 else None
        lines = [shapes.Line(**asdict(line)) for line in found]
        return answer(shapes.Lines(lines=lines, next=earlier))

    async def download(self, request: Request) -> Response:
        """The whole audit as it is: JSON lines, whose chain of hashes can be walked anywhere."""
        allow(request, Role.VIEWER)
        size = await asyncio.to_thread(self._audit.size)
        headers = {
            "cache-control": "no-store",
            "content-disposition": 'attachment; filename="audit.jsonl"',
            "content-length": str(size),
        }
        return StreamingResponse(
            _bytes(self._audit, size), headers=headers, media_type="application/jsonl"
        )

    async def verify(self, request: Request) -> Response:
        """Walk the chain of hashes."""
        allow(request, Role.VIEWER)
        chain = await asyncio.to_thread(self._audit.verify)
        return answer(
            shapes.Chain(
                intact=chain.is_intact, lines=chain.lines, broken=chain.broken, why=chain.why
            )
        )


async def _bytes(audit: Audit, size: int) -> AsyncIterator[bytes]:
    """What was there when it was asked for: a change meanwhile makes it no longer."""
    for start in range(0, size, _CHUNK):
        yield await asyncio.to_thread(audit.read, start, min(_CHUNK, size - start))
