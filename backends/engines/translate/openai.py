"""
A translating model behind an OpenAI-compatible server, such as vLLM or SGLang.

The prompts, pieces, HTML and warnings are those of the models here; only the answer to a prompt
comes over HTTP, as a stream of server-sent events. One loop in a thread of its own holds the
connections. A caller who left closes theirs, on which such a server stops generating.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from backends import settings
from backends.engines import Emit, Model
from backends.engines.translate import Passage, Translation, chat, upstream
from backends.engines.translate.chat import Hear, Prompt, Spoken
from backends.engines.translate.prompts import BOOKS
from backends.errors import ModelLoadError, QuartetError, Unavailable

T = TypeVar("T")
ASK_SECONDS = 0.1  # how often a silent stream is asked whether its reader still listens
SPARE, TIMES = 64, 8  # an answer's longest length: so many tokens, and so many times its text's


class Upstream:
    """`Engine` and `Voice`."""

    def __init__(self, row: Model, group: settings.Translate) -> None:
        self.model = row.name
        self.title = row.title
        self.book = BOOKS[group.upstream_prompts]
        grants = self.book.grants()
        self.capabilities = replace(
            row.capabilities,
            html="html" in grants,
            style="style" in grants,
            delimiters="delimiters" in grants,
        )
        self._group = group
        self._name = group.upstream_model
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self._wait(self._connect())

    # ---- as an engine

    def tokens(self, item: Passage) -> int:
        return chat.tokens(self, item)

    def run(self, batch: Sequence[Passage], emit: Emit) -> list[Translation]:
        return chat.translate(self, batch, emit)

    def close(self) -> None:
        self._wait(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- as a voice

    def length(self, text: str) -> int:
        return upstream.about_tokens(text)

    def say(self, asked: Sequence[Prompt], hear: Hear) -> list[Spoken]:
        return self._wait(self._say(asked, hear))

    def greet(self) -> None:
        """Ask which models there are. Raises ModelLoadError in one sentence."""
        try:
            known = self._wait(self._models())
        except QuartetError as error:
            raise ModelLoadError(error.text) from error
        if self._name and self._name not in known:
            raise ModelLoadError(
                f"the upstream server has no model {self._name}; it has {', '.join(known[:5])}"
            )
        self._name = self._name or known[0]
        self.title = self.title.replace("a model at", f"{self._name} at")

    # ---- on the loop

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _connect(self) -> httpx.AsyncClient:
        key = self._group.upstream_key.get_secret_value()
        self._turns = asyncio.Semaphore(self._group.upstream_requests)
        return httpx.AsyncClient(
            base_url=upstream.base(self._group.upstream),
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self._group.upstream_seconds, connect=10.0),
            limits=httpx.Limits(max_connections=None),  # whoever waits for a turn has no limit
            trust_env=False,
        )

    async def _models(self) -> list[str]:
        with upstream.faults():
            answer = await self._client.get("models")
            upstream.check_status(answer)
            known = [str(each["id"]) for each in answer.json()["data"]]
            if not known:
                raise Unavailable("The upstream server lists no model.")
            return known

    async def _say(self, asked: Sequence[Prompt], hear: Hear) -> list[Spoken]:
        """All at once; what one fails at ends the others, and so their connections."""
        work = [asyncio.create_task(self._one(n, each, hear)) for n, each in enumerate(asked)]
        try:
            return list(await asyncio.gather(*work))
        finally:
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _one(self, number: int, asked: Prompt, hear: Hear) -> Spoken:
        """One answer; unfinished where the reader left, whose connection is closed then."""
        async with self._turns:
            if not hear(number, "", False):
                return Spoken("")
            with upstream.faults():
                async with self._client.stream(
                    "POST", "chat/completions", json=self._body(asked)
                ) as answer:
                    if not answer.is_success:
                        await answer.aread()
                    upstream.check_status(answer)
                    return await _heard(answer, number, hear)

    def _body(self, asked: Prompt) -> dict[str, Any]:
        most = min(self.book.most, SPARE + TIMES * asked.tokens)
        return {
            "model": self._name,
            "messages": [{"role": "user", "content": asked.text}],
            "max_tokens": most,
            "stream": True,
            "seed": asked.seed,
            **upstream.SAMPLING[self._group.sampling],
        }


async def _heard(answer: httpx.Response, number: int, hear: Hear) -> Spoken:
    """The stream of one answer, passed on as it comes."""
    lines = answer.aiter_lines()
    said, why = "", ""
    while True:
        line = await _next(lines, lambda: hear(number, "", False))
        if line is None:
            return Spoken(said)
        data = upstream.data_of(line)
        if data == upstream.END:
            break
        added, ended = upstream.read_event(data) if data else ("", "")
        said += added
        why = why or ended
        if added and not hear(number, added, False):
            return Spoken(said)
    if not why:
        raise Unavailable("The upstream server broke off in the middle of its answer.")
    hear(number, "", True)
    return Spoken(said, is_cut=why == "length")


async def _next(lines: AsyncIterator[str], listens: Callable[[], bool]) -> str | None:
    """The next line, END after the last; None once nobody listens, also while none comes."""
    line = asyncio.ensure_future(_line_or_end(lines))
    try:
        while not line.done():
            await asyncio.wait({line}, timeout=ASK_SECONDS)
            if not line.done() and not listens():
                return None
        return line.result()
    finally:
        line.cancel()  # nothing where it is done
        await asyncio.gather(line, return_exceptions=True)


async def _line_or_end(lines: AsyncIterator[str]) -> str:
    return await anext(lines, upstream.END)


def load(row: Model, group: settings.Translate) -> Upstream:
    made = Upstream(row, group)
    try:
        made.greet()
    except BaseException:
        made.close()
        raise
    return made
