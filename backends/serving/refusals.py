"""What a service says to those whom it does not answer: busy, too late, failing. Words alone."""

from backends.errors import Overloaded, TimedOut, Unavailable


def busy(name: str, waiting: int, wait: float, longest: float) -> Overloaded:
    """So many seconds would have to be waited; at most `longest` may be."""
    again = max(1, round(wait - longest / 2))
    return Overloaded(
        f"The {name} service is busy: {waiting} items wait, about "
        f"{wait:.1f} s of work. Try again in {again} s.",
        zh=f"服务繁忙：{waiting} 项在等待，约 {wait:.1f} 秒。请 {again} 秒后重试。",
        retry_after=again,
    )


def too_late(name: str) -> TimedOut:
    return TimedOut(
        f"The {name} service did not answer in the time that was asked for. "
        "Send less at once, or a longer timeout.",
        zh="服务未能在要求的时间内完成。请减少内容，或设置更长的超时时间。",
    )


def failing(name: str, failures: int, left: float) -> Unavailable:
    """For another `left` seconds."""
    again = max(1, round(left))
    return Unavailable(
        f"The {name} model failed {failures} times in a row; it is tried again in {again} s.",
        zh=f"模型连续失败 {failures} 次，将在 {again} 秒后重试。",
        retry_after=again,
    )
