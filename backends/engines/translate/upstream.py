"""
What an OpenAI-compatible server says, read with care: events, faults, lengths.

Pure but for the errors that it turns into sentences. The body of a foreign server is untrusted:
it is cut to a line.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from backends.engines import elsewhere
from backends.errors import BadInput, Overloaded, TimedOut, Unavailable

END = "[DONE]"
ENDINGS = ("stop", "length")  # of an answer; others, such as abort, break it off

# `top_k`, `repetition_penalty` and `seed` are vLLM's and SGLang's additions to OpenAI's fields.
SAMPLING: Mapping[str, Mapping[str, float]] = {
    "recommended": {"temperature": 0.7, "top_p": 0.6, "top_k": 20, "repetition_penalty": 1.05},
    "greedy": {"temperature": 0.0, "repetition_penalty": 1.05},
}

_DENSE = re.compile(r"[\u0e00-\u1fff\u2e80-\ud7ff\uf900-\ufaff]")  # about a token a character


def base(address: str) -> str:
    """The address with the version that every path begins with."""
    plain = address.rstrip("/")
    return f"{plain}/" if plain.endswith("/v1") else f"{plain}/v1/"


def about_tokens(text: str) -> int:
    """A guess: the server's tokenizer is not here. Four letters, or one sign of a dense script."""
    dense = len(_DENSE.findall(text))
    return max(1, dense + (len(text) - dense + 3) // 4)


def data_of(line: str) -> str:
    """The data of a line of server-sent events; "" for a comment, a blank, another field."""
    if line == END:  # our own: the stream is over
        return END
    field, _, data = line.partition(":")
    return data.strip() if field == "data" else ""


def read_event(data: str) -> tuple[str, str]:
    """What an event adds to the answer, and why the answer ends with it, or ""."""
    try:
        value = json.loads(data)
        if "error" in value:
            raise Unavailable(f"The upstream server failed: {elsewhere.said(data.encode())}.")
        choices = value["choices"]
        if not choices:  # the last event may hold the usage alone
            return "", ""
        content = choices[0]["delta"].get("content") or ""
        why = choices[0].get("finish_reason") or ""
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise nonsense() from error
    if not isinstance(content, str) or not isinstance(why, str):
        raise nonsense()
    return content, why


def check_end(why: str) -> None:
    """Raises for an answer that its server did not end."""
    if why not in ENDINGS:
        told = f" ({elsewhere.line(why)})" if why else ""
        raise Unavailable(f"The upstream server broke off in the middle of its answer{told}.")


def check_status(answer: httpx.Response, body: bytes) -> None:
    """Raises for what is no answer."""
    status = answer.status_code
    if answer.is_success:
        return
    why = elsewhere.said(body) or "nothing"
    if status == 429:
        raise Overloaded(
            "The upstream server is busy; try again later.",
            zh="上游服务器繁忙，请稍后重试。",
            retry_after=elsewhere.retry_after(answer, 5.0),
        )
    if status in (401, 403):
        raise Unavailable("The upstream server refused our key; the operator can set another.")
    if status == 404:
        raise Unavailable(f"The upstream server has no {answer.url.path}, or no such model.")
    if status in (400, 413, 422):  # one text's fault, such as its length: its neighbours go on
        raise BadInput(f"The upstream server refuses this text: {why}.")
    raise Unavailable(
        f"The upstream server answered {status}: {why}.", retry_after=elsewhere.retry_after(answer)
    )


@contextmanager
def faults() -> Iterator[None]:
    """Around a conversation with the server: its faults become sentences."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise silent() from error
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
        raise Unavailable("The upstream server broke off in the middle of its answer.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(
            "The upstream server could not be reached.", zh="无法连接上游服务器。", retry_after=5
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise nonsense() from error


def silent() -> TimedOut:
    return TimedOut("The upstream server took too long.", zh="上游服务器响应超时。")


def nonsense() -> Unavailable:
    return Unavailable("The upstream server sent what is no answer of an OpenAI-compatible server.")
