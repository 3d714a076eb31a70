"""
What a pod's answers and failures mean: one sentence each, for the person who asked. Pure.

A pod's own sentence is passed on, cut to a line, as the error that it was there. Addresses stay
in the log and on Admin: a visitor cannot do anything with one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from backends.errors import (
    BadInput,
    Conflict,
    Denied,
    ModelLoadError,
    NotFound,
    Overloaded,
    QuartetError,
    SignInNeeded,
    TimedOut,
    Unavailable,
)
from backends.serving import Status

_KNOWN: dict[str, type[QuartetError]] = {
    kind.__name__: kind
    for kind in (
        BadInput, Conflict, Denied, ModelLoadError, NotFound, Overloaded, SignInNeeded, TimedOut,
        Unavailable,
    )
}  # fmt: skip
_LONGEST = 500  # characters of a pod's sentence

_FAULTS: dict[str, tuple[str, str]] = {
    "gone": ("The {service} service cannot be reached.", "无法连接到该服务。"),
    "closed": (
        "The {service} service closed the connection before it answered.",
        "服务在回答之前断开了连接。",
    ),
    "half": (
        "The {service} service broke off in the middle of its answer.",
        "服务的回答中途断开。",
    ),
    "nonsense": (
        "The {service} service answered in a way that this portal cannot read; both must be the "
        "same version of Quartet.",
        "无法读取该服务的回答；门户与服务必须是同一版本的 Quartet。",
    ),
    "large": (
        "The {service} service's answer is larger than this portal takes, so it was refused.",
        "服务的回答过大，已被拒绝。",
    ),
    "silent": (
        "The {service} service took the connection and did not say how it is.",
        "服务接受了连接，但没有回应。",
    ),
    "slow": (
        "The {service} service did not load the model in time.",
        "服务未能及时加载模型。",
    ),
    "failed": (
        "Something went wrong in the {service} service; its log knows more under this request id.",
        "服务内部出错，其日志以此请求编号记录了详情。",
    ),
    "elsewhere": (
        "There is no {service} service at the address that this portal was given.",
        "门户所配置的地址上没有此服务。",
    ),
    "token": (
        "The {service} service did not take this portal's internal token; QUARTET_INTERNAL__TOKEN "
        "must be the same in both.",
        "服务拒绝了门户的内部令牌；两边的 QUARTET_INTERNAL__TOKEN 必须一致。",
    ),
    "unknown": (
        "The {service} service runs a model that this portal does not know; both must be the same "
        "version of Quartet.",
        "该服务运行的模型不为本门户所知；门户与服务必须是同一版本的 Quartet。",
    ),
}


class NotTaken(Exception):
    """Nothing of an answer came, or the pod takes nothing now: another one may be asked."""

    def __init__(self, told: QuartetError) -> None:
        super().__init__(told.text)
        self.told = told


@dataclass(frozen=True, slots=True)
class Served:
    """Who answered: from the headers, or from the last event of a stream."""

    model: str
    revision: int
    queued: float
    ran: float


def fault(name: str, service: str) -> Unavailable:
    english, chinese = _FAULTS[name]
    return Unavailable(english.format(service=service), zh=chinese, retry_after=1)


def refused(service: str, status: int, body: bytes, headers: Mapping[str, str]) -> QuartetError:
    """A pod's error, as it was there; what no pod of ours says is Unavailable."""
    again = _seconds(headers.get("retry-after", ""))
    if status == 404:
        return fault("elsewhere", service)
    if status in (401, 403):
        return fault("token", service)
    error = _said(body)
    if error is None:
        return _nameless(service, status, again)
    error.retry_after = again
    return error


def refused_event(service: str, data: bytes) -> QuartetError:
    """The error that ends a stream."""
    return _said(data) or fault("failed", service)


def _said(body: bytes) -> QuartetError | None:
    try:
        value = orjson.loads(body)
        kind, text = _KNOWN[value["error_type"]], _line(value["error"])
        error = kind(text, zh=_line(value.get("zh", "")))
        if isinstance(error, BadInput):
            error.field = _line(value.get("field", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return error


def _nameless(service: str, status: int, again: float | None) -> QuartetError:
    """Not our shape: perhaps a proxy between the portal and the pod."""
    match status:
        case 429:
            return Overloaded(
                f"The {service} service is busy. Try again in {again or 1:.0f} s.",
                zh=f"服务繁忙，请 {again or 1:.0f} 秒后重试。",
                retry_after=again or 1,
            )
        case 502 | 503 | 504:
            return fault("gone", service)
        case 500:
            return fault("failed", service)
    return fault("nonsense", service)


def all_gone(service: str, reason: str, seconds: float) -> Unavailable:
    again = max(1, math.ceil(seconds))
    return Unavailable(
        f"{reason or f'The {service} service cannot be reached.'} It is tried again in {again} s.",
        zh=f"目前无法连接到该服务，{again} 秒后会再次尝试。",
        retry_after=again,
    )


def busy(service: str) -> Overloaded:
    return Overloaded(
        f"The portal has too many requests open to the {service} service. Try again in 1 s.",
        zh="门户对该服务的未完成请求过多，请 1 秒后重试。",
        retry_after=1,
    )


def moved_on(runs: Status) -> Conflict:
    return Conflict(
        f"The model of {runs.service} was changed meanwhile: now {runs.model}, revision "
        f"{runs.revision}. Review again.",
        zh=f"{runs.service} 的模型刚刚被他人修改，现在是修订 {runs.revision}。请重新查看。",
    )


def read_served(headers: Mapping[str, str]) -> Served:
    """ValueError or KeyError where a pod of ours would not write it so."""
    timing = headers.get("server-timing", "")
    times = {name: float(ms) / 1e3 for name, ms in re.findall(r"(\w+);dur=(\d+\.?\d*)", timing)}
    return Served(
        headers["x-model"],
        int(headers["x-model-revision"]),
        times.get("queue", 0.0),
        times.get("run", 0.0),
    )


_SERVED = TypeAdapter(Served)
_STATUS = TypeAdapter(Status)


def read_served_event(event: Any) -> Served:
    """The same of a stream's last event, which has what the headers could not say yet."""
    return _SERVED.validate_python(event["served_by"])


def read_status(body: bytes, *path: str) -> Status | None:
    """A service's own word, at this path in a pod's answer; None if it is not there."""
    try:
        value = orjson.loads(body)
        for name in path:
            value = value[name]
        return _STATUS.validate_python(value)
    except (ValidationError, ValueError, LookupError, TypeError):
        return None


def _seconds(header: str) -> float | None:
    return float(header) if re.fullmatch(r"\d{1,6}", header) else None


def _line(text: str) -> str:
    line = " ".join(text.split())  # AttributeError for what is no text
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
