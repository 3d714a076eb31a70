"""
A translating model behind an OpenAI-compatible server, such as vLLM or SGLang.

The prompts, pieces, HTML and warnings are those of the models here; only the answer to a prompt
comes over HTTP, as a stream of server-sent events. A caller who left closes their connection, on
which such a server stops generating.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import httpx

from backends import settings
from backends.engines import Emit, Model, elsewhere
from backends.engines.translate import Passage, Translation, chat, upstream
from backends.engines.translate.chat import Hear, Prompt, Spoken
from backends.engines.translate.prompts import BOOKS
from backends.errors import ModelLoadError, QuartetError, Unavailable

MOST_BYTES = 16_000_000  # of a stream: an event takes some 250, an answer has 4,096 at most


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
        self._turns = asyncio.Semaphore(group.upstream_requests)
        self._caller = elsewhere.Caller(
            group.upstream_key,
            httpx.Timeout(group.upstream_seconds, connect=10.0),
            upstream.base(group.upstream),
        )

    # ---- as an engine

    def tokens(self, item: Passage) -> int:
        return chat.tokens(self, item)

    def run(self, batch: Sequence[Passage], emit: Emit) -> list[Translation]:
        return chat.translate(self, batch, emit)

    def close(self) -> None:
        self._caller.close()

    # ---- as a voice

    def length(self, text: str) -> int:
        return upstream.about_tokens(text)

    def say(self, asked: Sequence[Prompt], hear: Hear) -> list[Spoken]:
        return self._caller.wait(self._say(asked, hear))

    def greet(self) -> None:
        """Ask which models there are. Raises ModelLoadError in one sentence."""
        try:
            known = self._caller.wait(self._models())
        except QuartetError as error:
            raise ModelLoadError(error.text) from error
        if self._name and self._name not in known:
            raise ModelLoadError(
                f"the upstream server has no model {self._name}; it has {', '.join(known[:5])}"
            )
        self._name = self._name or known[0]
        self.title = self.title.replace("a model at", f"{self._name} at")

    # ---- on the loop

    async def _models(self) -> list[str]:
        with upstream.faults():
            answer = await self._caller.client.get("models")
            upstream.check_status(answer, answer.content)
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
                async with self._caller.client.stream(
                    "POST", "chat/completions", json=self._body(asked)
                ) as answer:
                    if not answer.is_success:
                        body = await elsewhere.body_of(answer, MOST_BYTES)
                        upstream.check_status(answer, body or b"")
                    return await self._heard(answer, number, hear)

    def _body(self, asked: Prompt) -> dict[str, Any]:
        most = chat.longest(self.book, asked)
        return {
            "model": self._name,
            "messages": [{"role": "user", "content": asked.text}],
            "max_tokens": most,
            "stream": True,
            "seed": asked.seed,
            **upstream.SAMPLING[self._group.sampling],
        }

    async def _heard(self, answer: httpx.Response, number: int, hear: Hear) -> Spoken:
        """The stream of one answer, passed on as it comes."""
        lines = answer.aiter_lines()
        said, why, last = "", "", time.monotonic()
        while True:
            line = await elsewhere.unless_left(
                _line_or_end(lines), lambda: _within(answer) and hear(number, "", False)
            )
            if line is None:
                return Spoken(said)
            _within(answer)
            data = upstream.data_of(line)
            if data == upstream.END:
                break
            added, ended = upstream.read_event(data) if data else ("", "")
            last = time.monotonic() if data else last
            if time.monotonic() - last > self._group.upstream_seconds:  # a proxy's "still here"
                raise upstream.silent()
            said += added
            why = why or ended
            if added and not hear(number, added, False):
                return Spoken(said)
        upstream.check_end(why)
        hear(number, "", True)
        return Spoken(said, is_cut=why == "length")


def _within(answer: httpx.Response) -> bool:
    """True while the stream is not longer than any answer. Raises Unavailable."""
    if answer.num_bytes_downloaded > MOST_BYTES:
        raise upstream.nonsense()
    return True


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
