"""
One count and one log line for each request, whatever became of it; and the events of a stream,
whose request ends only when its last event was sent.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request

from backends.errors import QuartetError
from backends.identity import Principal
from backends.routes.answers import error_body
from backends.serving import Answer
from backends.serving.wire.question import Question
from backends.telemetry import Instruments, request_id

log = logging.getLogger(__name__)


def outcome_of(error: BaseException) -> str:
    """`ok` has no error; a bug's class is nobody's business but the log's."""
    return type(error).__name__ if isinstance(error, QuartetError) else "InternalError"


class Tally:
    """Starts when it is made; ends once, and says then who `request` came from."""

    def __init__(self, service: str, instruments: Instruments, request: Request) -> None:
        self.facts: dict[str, Any] = {}
        self._service = service
        self._request = request
        self._instruments = instruments
        self._began = time.perf_counter()
        self._ended = False

    def answered(self, answer: Answer) -> None:
        self.facts |= {"model": answer.model, "revision": answer.revision}
        self.facts |= {"queued": round(answer.queued, 4), "ran": round(answer.ran, 4)}
        self.facts |= {"pod": answer.pod} if answer.pod else {}
        self.end("ok")

    def end(self, outcome: str) -> None:
        if self._ended:
            return
        self._ended = True
        seconds = time.perf_counter() - self._began
        self._instruments.requests.labels(self._service, outcome).inc()
        self._instruments.request_seconds.labels(self._service).observe(seconds)
        who: Principal = self._request.state.principal
        facts = {"service": self._service, "outcome": outcome, **self.facts}
        facts |= {"user": who.subject, "tenant": who.tenant}
        event = "answered" if outcome == "ok" else "refused"
        log.info(event, extra={**facts, "seconds": round(seconds, 4)})


async def events(
    question: Question, first: Any, parts: AsyncIterator[Any], tally: Tally
) -> AsyncIterator[bytes]:
    """Each part as an event, then the whole answer; an error on the way is the last event."""
    try:
        yield await _event(question, first, tally)
        async for part in parts:
            yield await _event(question, part, tally)
    except Exception as error:
        if not isinstance(error, QuartetError):
            log.exception("failed")
        tally.end(outcome_of(error))
        body = error_body(error, request_id.get(), to_portal=question.is_exact)
        yield b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
    finally:
        tally.end("CallerLeft")  # counts only if nothing ended it before


async def _event(question: Question, part: Any, tally: Tally) -> bytes:
    if isinstance(part, Answer):
        tally.answered(part)
        value = {**await value_of(question, part), "served_by": _served_by(part)}
        return b"data: " + orjson.dumps(value) + b"\n\n"
    assert question.part is not None
    return b"data: " + orjson.dumps(question.part(0, part)) + b"\n\n"


async def value_of(question: Question, answer: Answer) -> Any:
    """The response, written in a thread where that takes long."""
    if question.is_long:
        return await asyncio.to_thread(question.write, answer)
    return question.write(answer)


def _served_by(answer: Answer) -> dict[str, Any]:
    """What the headers of a plain answer say: those of a stream went out before it was known."""
    served = {name: getattr(answer, name) for name in ("model", "revision", "queued", "ran")}
    return {**served, "pod": answer.pod} if answer.pod else served
