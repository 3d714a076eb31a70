"""
A model server elsewhere, as an engine asks it: connections, whoever left, and what it says.

What is alike whatever such a server computes. Connections live on one event loop in a thread of
its own, so that a caller who leaves can close theirs: on that such a server stops working. What
an answer means is the engine's own. The body of a foreign server is untrusted: it is cut to a line.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

T = TypeVar("T")
ASK_SECONDS = 0.1  # how often a silent server's caller is asked whether they still listen
LONGEST_RETRY = 60.0  # seconds
LONGEST_LINE = 200  # characters


class Caller:
    """Its client keeps connections open; `wait` may be called from any number of threads."""

    def __init__(self, key: SecretStr, timeout: httpx.Timeout, base_url: str = "") -> None:
        secret = key.get_secret_value()
        self.client = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {secret}"} if secret else {},
            timeout=timeout,
            limits=httpx.Limits(max_connections=None),  # whoever waits for a turn has no limit
            trust_env=False,  # a proxy of the environment is not a setting of ours
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it on the loop; never call this from there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self.wait(self.client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def unless_left(work: Coroutine[Any, Any, T], listens: Callable[[], bool]) -> T | None:
    """What the work gives; None, and an end to the work, once nobody listens any more."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=ASK_SECONDS)
            if not task.done() and not listens():
                return None
        return task.result()
    finally:
        task.cancel()  # nothing where it is done
        await asyncio.gather(task, return_exceptions=True)


async def body_of(answer: httpx.Response, most: int) -> bytes | None:
    """The answer's bytes; None where there are more than `most`."""
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > most:
            return None
    return b"".join(parts)


def retry_after(answer: httpx.Response, otherwise: float | None = None) -> float | None:
    """The seconds after which the server wants to be asked again, but not for ever."""
    given = answer.headers.get("retry-after", "")
    return min(LONGEST_RETRY, float(given)) if given.isascii() and given.isdigit() else otherwise


def said(body: bytes) -> str:
    """What a refusal says, from any shape that vLLM, SGLang and OpenAI give it, on one line."""
    try:
        value = json.loads(body)
    except ValueError:
        return line(body.decode(errors="replace"))
    for name in ("error", "message", "detail"):  # OpenAI and new vLLM; SGLang, old vLLM; FastAPI
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return line(value if isinstance(value, str) else json.dumps(value))


def line(text: object) -> str:
    """A foreign sentence: one line, without its full stop, for ours to end."""
    return " ".join(str(text).split())[:LONGEST_LINE].rstrip(".")
