"""
A reranker that runs elsewhere: vLLM's `/score`, behind our admission.

> {"model"?, "text_1": query, "text_2": [documents]}
< {"data": [{"index", "score"}]}, a score for each document

Texts only. The server decides how much of a document it reads and refuses what is longer, so
nothing is cut in silence. Every fault of the server or of the way to it becomes one sentence.
"""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from backends import settings
from backends.engines import Emit
from backends.engines.rerank import Pair, Relevance, text_document, text_query
from backends.errors import BadInput, Overloaded, QuartetError, TimedOut, Unavailable

_CHARS_PER_TOKEN = 4
_MOST_BYTES = 4_000_000  # of an answer: a score takes some sixty
_LONGEST_RETRY = 60.0


class Upstream:
    """One server. Its client keeps connections open and may be used by several threads."""

    model = "upstream"

    def __init__(self, group: settings.Rerank) -> None:
        key = group.upstream_key.get_secret_value()
        self._named = {"model": group.upstream_model} if group.upstream_model else {}
        self._url = f"{group.upstream.rstrip('/')}/score"
        self._seconds = group.upstream_seconds
        self._client = httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=group.upstream_seconds,
            trust_env=False,  # a proxy of the environment is not a setting of ours
        )

    def tokens(self, item: Pair) -> int:
        """A quarter of the characters: the server alone knows its tokenizer."""
        read = len(text_query(item, self.model)) + len(text_document(item, self.model))
        return 1 + read // _CHARS_PER_TOKEN

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        places: dict[str, list[int]] = {}
        for n, pair in enumerate(batch):
            places.setdefault(text_query(pair, self.model), []).append(n)
        scores: dict[int, float] = {}
        for query, where in places.items():
            documents = [text_document(batch[n], self.model) for n in where]
            scores |= zip(where, self._ask(query, documents), strict=True)
        return [Relevance(scores[n]) for n in range(len(batch))]

    def close(self) -> None:
        self._client.close()

    def _ask(self, query: str, documents: list[str]) -> list[float]:
        body = {**self._named, "text_1": query, "text_2": documents}
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                answer = b"".join(self._read(response))
        except httpx.TimeoutException as error:
            raise self._silent() from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"The model server could not be asked: {_short(error)}.") from error
        if response.status_code != 200:
            raise _refusal(response, answer)
        return _scores(answer, len(documents))

    def _read(self, response: httpx.Response) -> Iterator[bytes]:
        """The body in parts; not for longer than a whole answer may take, nor without end."""
        end, size = time.monotonic() + self._seconds, 0
        for part in response.iter_bytes():
            size += len(part)
            if time.monotonic() > end:
                raise self._silent()
            if size > _MOST_BYTES:
                raise _nonsense("more than a list of scores")
            yield part

    def _silent(self) -> TimedOut:
        return TimedOut(f"The model server did not answer within {self._seconds:g} s.")


def _refusal(response: httpx.Response, body: bytes) -> QuartetError:
    """The server's status in our words."""
    status, said = response.status_code, _reason(body)
    if status == 429:
        given = response.headers.get("retry-after", "")
        again = min(_LONGEST_RETRY, float(given)) if given.isdigit() else 1.0
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
    return Unavailable(f"The model server failed with status {status}{said}.")


def _reason(body: bytes) -> str:
    """What the server says, from either shape of vLLM's errors, on one short line."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    inner = value.get("error", value) if isinstance(value, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else None
    return f": {_short(said).rstrip('.')}" if isinstance(said, str) and said.strip() else ""


def _short(what: object, most: int = 200) -> str:
    return " ".join(str(what).split())[:most] or type(what).__name__


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
