"""
The error tree: everything that Quartet refuses or fails at on purpose.

QuartetError             on purpose; the text is for the person reading it
├── BadInput        422  they can fix it
│   └── TooLarge         the body: some dialects tell it by a status of its own
├── SignInNeeded    401
├── Denied          403  signed in, without the role
├── NotFound        404  no such job, model or service
├── Conflict        409  true request, wrong moment
├── Overloaded      429  with Retry-After
│   └── RateLimited      this caller asked too often; the service may be idle
└── Unavailable     503
    ├── TimedOut    504
    ├── OutOfMemory      the batcher tries the halves of a batch, once
    ├── ModelLoadError   the old model still serves, and the text says so
    ├── ClusterError     the API's reason, cut to a line
    ├── MetricsError
    └── JobsError        the queue or the storage

An error is translated where it is met. Its text is one clear sentence in English that says
what to do; `zh` may carry the same sentence in Chinese for the page. Anything else that is
raised is a bug: full log, plain apology.
"""

from typing import ClassVar


class QuartetError(Exception):
    """An error on purpose. `retry_after` (seconds) is sent as a header where it is set."""

    status: ClassVar[int] = 500

    def __init__(self, text: str, *, zh: str = "", retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.zh = zh
        self.retry_after = retry_after


class BadInput(QuartetError):
    """The caller can fix it. `field` names what to fix, as the caller wrote it."""

    status = 422

    def __init__(self, text: str, *, zh: str = "", field: str = "") -> None:
        super().__init__(text, zh=zh)
        self.field = field

    def for_programs(self) -> str:
        """With the field's name in front: a program has no label beside the sentence."""
        named = not self.field or self.text.startswith(self.field) or self.field == "body"
        return self.text if named else f"{self.field}: {self.text}"


class TooLarge(BadInput):
    pass


class SignInNeeded(QuartetError):
    status = 401


class Denied(QuartetError):
    status = 403


class NotFound(QuartetError):
    status = 404


class Conflict(QuartetError):
    status = 409


class Overloaded(QuartetError):
    status = 429


class RateLimited(Overloaded):
    pass


class Unavailable(QuartetError):
    status = 503


class TimedOut(Unavailable):
    status = 504


class OutOfMemory(Unavailable):
    pass


class ModelLoadError(Unavailable):
    """`detail` is what a library said in its own words: for operators, never for visitors."""

    def __init__(
        self, text: str, *, zh: str = "", retry_after: float | None = None, detail: str = ""
    ) -> None:
        super().__init__(text, zh=zh, retry_after=retry_after)
        self.detail = detail


class ClusterError(Unavailable):
    pass


class MetricsError(Unavailable):
    pass


class JobsError(Unavailable):
    pass
