"""Whether one more job may wait: refused now rather than later. Pure."""

from backends import settings
from backends.errors import Overloaded


def check(group: settings.Jobs, waiting: tuple[int, int, int], taken: int) -> None:
    """
    `waiting` counts the caller's jobs, its tenant's and all; `taken` is the bytes on disk with
    the new job. Raises Overloaded.
    """
    own, tenants, every = waiting
    if own >= group.waiting_per_caller:
        raise Overloaded(
            f"You have {own} jobs waiting; send the next one when one of them has run.",
            zh=f"您已有 {own} 个任务在等待；请等其中一个完成后再提交。",
            retry_after=10,
        )
    if tenants >= group.waiting_per_tenant or every >= group.waiting:
        raise Overloaded(
            "Too many jobs wait; try again in a minute.",
            zh="等待的任务过多；请一分钟后再试。",
            retry_after=60,
        )
    if taken > group.disk_bytes:
        raise Overloaded(
            "There is no room for more pictures until older jobs expire; try again later.",
            zh="在旧任务过期之前没有空间存放更多图片；请稍后再试。",
            retry_after=60,
        )
