"""
A reranker that runs elsewhere: vLLM's `/score`, behind our admission.

> {"model"?, "text_1": query, "text_2": [documents]}
< {"data": [{"index", "score"}]}, a score for each document

Texts only. The server decides how much of a document it reads and refuses what is longer, so
nothing is cut in silence. Every fault of the server or of the way to it becomes one sentence.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from backends import settings
from backends.engines import Emit, elsewhere
from backends.engines.rerank import Pair, Relevance, text_document, text_query
from backends.errors import BadInput, Overloaded, QuartetError, TimedOut, Unavailable

_CHARS_PER_TOKEN = 4
_MOST_BYTES = 4_000_000  # of an answer: a score takes some sixty


class Upstream:
    """One server. It may be asked by several threads."""

    model = "upstream"

    def __init__(self, group: settings.Rerank) -> None:
        self._named = {"model": group.upstream_model} if group.upstream_model else {}
        self._url = f"{group.upstream.rstrip('/')}/score"
        self._seconds = group.upstream_seconds
        self._caller = elsewhere.Caller(group.upstream_key, httpx.Timeout(group.upstream_seconds))

    def tokens(self, item: Pair) -> int:
        """A quarter of the characters: the server alone knows its tokenizer."""
        read = len(text_query(item, self.model)) + len(text_document(item, self.model))
        return 1 + read // _CHARS_PER_TOKEN

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        """A query whose callers all left is not asked for, or no longer: nobody reads its zeros."""
        places: dict[str, list[int]] = {}
        for n, pair in enumerate(batch):
            places.setdefault(text_query(pair, self.model), []).append(n)
        scores = dict.fromkeys(range(len(batch)), 0.0)
        for query, where in places.items():
            documents = [text_document(batch[n], self.model) for n in where]
            found = self._caller.wait(self._ask(query, documents, _listening(where, emit)))
            if found is not None:
                scores |= zip(where, found, strict=True)
        return [Relevance(scores[n]) for n in range(len(batch))]

    def close(self) -> None:
        self._caller.close()

    async def _ask(
        self, query: str, documents: list[str], listens: Callable[[], bool]
    ) -> list[float] | None:
        """A score for each document; None where nobody listens any more."""
        if not listens():
            return None
        try:
            async with asyncio.timeout(self._seconds):  # for all of it, however it drips
                return await elsewhere.unless_left(self._answer(query, documents), listens)
        except (TimeoutError, httpx.TimeoutException) as error:
            said = f"The model server did not answer within {self._seconds:g} s."
            raise TimedOut(said) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = elsewhere.line(error) or type(error).__name__
            raise Unavailable(f"The model server could not be asked: {why}.") from error

    async def _answer(self, query: str, documents: list[str]) -> list[float]:
        body = {**self._named, "text_1": query, "text_2": documents}
        async with self._caller.client.stream("POST", self._url, json=body) as response:
            answer = await elsewhere.body_of(response, _MOST_BYTES)
        if answer is None:
            raise _nonsense("more than a list of scores")
        if response.status_code != 200:
            raise _refusal(response, answer)
        return _scores(answer, len(documents))


def _listening(where: Sequence[int], emit: Emit) -> Callable[[], bool]:
    return lambda: any(emit(n, None) for n in where)


def _refusal(response: httpx.Response, body: bytes) -> QuartetError:
    """The server's status in our words."""
    status, why = response.status_code, elsewhere.said(body)
    said = f": {why}" if why else ""
    if status == 429:
        again = elsewhere.retry_after(response, 1.0)
        return Overloaded(f"The model server is busy. Try again in {again:g} s.", retry_after=again)
    if status in (401, 403):
        return Unavailable("The model server refuses the key in QUARTET_RERANK__UPSTREAM_KEY.")
    if status == 404:
        return Unavailable(
            f"The model server has no /score, or not this model{said}; "
            "see QUARTET_RERANK__UPSTREAM and QUARTET_RERANK__UPSTREAM_MODEL."
        )
    if status in (400, 413, 422):
        return BadInput(f"The model server refuses this query and document{said}.")
    return Unavailable(
        f"The model server failed with status {status}{said}.",
        retry_after=elsewhere.retry_after(response),
    )


def _scores(body: bytes, wanted: int) -> list[float]:
    """By index, whatever their order. Raises Unavailable unless there is one for each document."""
    try:
        data: Any = json.loads(body)["data"]
        found = {int(one["index"]): float(one["score"]) for one in data}
    except (ValueError, LookupError, TypeError) as error:
        raise _nonsense("no list of scores") from error
    if len(data) != wanted or set(found) != set(range(wanted)):
        raise _nonsense(f"{len(data)} scores for {wanted} documents")
    if not all(0 <= score <= 1 for score in found.values()):
        raise _nonsense("scores that do not lie between 0 and 1")
    return [found[n] for n in range(wanted)]


def _nonsense(what: str) -> Unavailable:
    return Unavailable(f"The model server answered {what}; is it a vLLM that scores pairs?")
