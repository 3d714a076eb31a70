"""The two hubs, each through its own library, and what their errors mean."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from backends.engines.hub import Failed, Request, Wanted, amount

LONGEST_WAIT = 60  # seconds that a hub may ask us to wait before we say so and give up
Advance = Callable[[int], None]
"""So many bytes more are here; fewer than 0 where a file is begun anew."""


class Hub(Protocol):
    def files(self) -> Sequence[Wanted]:
        """Everything that the repository holds."""
        ...

    def fetch(self, wanted: Wanted, into: Path, advance: Advance) -> None:
        """Into `into / wanted.path`, going on from what is there."""
        ...


class ModelScope:
    def __init__(self, asked: Request) -> None:
        from modelscope_hub import HubApi

        self._repo = asked.repo
        self._api = HubApi(token=asked.token or None, endpoint=asked.endpoint or None)

    def files(self) -> Sequence[Wanted]:
        found = self._api.list_repo_files(self._repo, "model")
        return [Wanted(f.path, f.size or 0, f.sha256 or "") for f in found if f.type != "tree"]

    def fetch(self, wanted: Wanted, into: Path, advance: Advance) -> None:
        from modelscope_hub import ProgressCallback

        class Told(ProgressCallback):  # type: ignore[misc]
            def update(self, size: int) -> None:
                advance(size)

        self._api.downloader.download_file(
            self._repo,
            "model",
            wanted.path,
            cache_dir=into / ".locks",
            local_dir=into,
            expected_sha256=wanted.digest or None,
            file_size=wanted.size,
            progress_callbacks=[Told],
        )


class TooOften(Exception):
    """429, with a longer wait than anybody sits through; `response` says how long."""

    def __init__(self, response: Any) -> None:
        super().__init__("429")
        self.response = response


class HuggingFace:
    def __init__(self, asked: Request) -> None:
        from huggingface_hub import HfApi, set_client_factory

        set_client_factory(_patient)
        self._repo = asked.repo
        self._api = HfApi(endpoint=asked.endpoint or None, token=asked.token or False)

    def files(self) -> Sequence[Wanted]:
        found = self._api.list_repo_tree(self._repo, recursive=True)
        return [
            Wanted(f.path, f.size, f.lfs.sha256 if f.lfs else f.blob_id)
            for f in found
            if hasattr(f, "blob_id")  # a folder has none
        ]

    def fetch(self, wanted: Wanted, into: Path, advance: Advance) -> None:
        """`hf_hub_download` of this version throws away what it has; its inner part does not."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers, tqdm

        class Told(tqdm):  # type: ignore[misc]
            def update(self, size: float | None = 1) -> None:
                advance(int(size or 0))

        whole = into / wanted.path
        part = whole.with_name(whole.name + ".incomplete")
        whole.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            begun = file.tell() if file.tell() <= wanted.size else 0
            file.truncate(begun)
            advance(begun)
            http_get(
                hf_hub_url(self._repo, wanted.path, endpoint=self._api.endpoint),
                file,
                resume_size=begun,
                headers=build_hf_headers(token=self._api.token),
                expected_size=wanted.size,
                tqdm_class=Told,
            )
        part.replace(whole)


def _patient() -> Any:
    """
    Hugging Face's own client, whose waits end: by itself it waits for a list of files for ever,
    and sleeps as long as a 429 says, five times over.
    """
    from huggingface_hub.utils._http import default_client_factory

    client = default_client_factory()
    asking = [*client.event_hooks["request"], _wait_no_longer]
    client.event_hooks = {"request": asking, "response": [_refuse_a_long_wait]}
    return client


def _wait_no_longer(request: Any) -> None:
    """For the next bytes. The library itself asks for a list with no limit at all."""
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT as SECONDS

    waits = ("connect", "read", "write", "pool")
    request.extensions["timeout"] = dict.fromkeys(waits, float(SECONDS))


def _refuse_a_long_wait(response: Any) -> None:
    from huggingface_hub.utils import parse_ratelimit_headers

    if response.status_code != 429:
        return
    limit, told = parse_ratelimit_headers(response.headers), response.headers.get("Retry-After", "")
    seconds = limit.reset_in_seconds if limit else int(told) if told.isdigit() else 0
    if seconds > LONGEST_WAIT:
        raise TooOften(response)


HUBS: dict[str, Callable[[Request], Hub]] = {"modelscope": ModelScope, "huggingface": HuggingFace}


def list_files(hub: Hub, asked: Request) -> Sequence[Wanted]:
    try:
        return hub.files()
    except Exception as error:
        site, where = asked.endpoint or asked.title, f"{asked.repo} into {asked.folder}"
        lacks = Failed(
            f"{asked.title} has no repository {asked.repo}, or shows it to members only",
            f"{asked.title} 上没有仓库 {asked.repo}，或仅对成员可见",
        )
        broken = Failed(
            f"{site} cannot be reached; without a network, put {', '.join(asked.patterns)} of "
            f"{where}",
            f"无法连接 {site}；如无网络，请将 {asked.repo} 的 {'、'.join(asked.patterns)} 放入 "
            f"{asked.folder}",
        )
        raise _explained(error, asked, lacks, broken) from error


def fetch_file(hub: Hub, asked: Request, wanted: Wanted, into: Path, advance: Advance) -> None:
    """Raises Failed for what the hub does, and OSError for what the disk does."""
    try:
        hub.fetch(wanted, into, advance)
    except Exception as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise
        if type(error).__name__ == "FileIntegrityError":
            raise damaged(wanted, asked) from error
        site, size = asked.endpoint or asked.title, amount(wanted.size)
        lacks = Failed(
            f"{asked.title} lists {wanted.path} of {asked.repo} and does not have it",
            f"{asked.title} 列出了 {asked.repo} 的 {wanted.path}，但并没有该文件",
        )
        broken = Failed(
            f"the connection to {site} broke off in {wanted.path} ({size}); load it again to go "
            "on from there",
            f"与 {site} 的连接在下载 {wanted.path}（{size}）时中断；重新加载即可从中断处继续",
        )
        raise _explained(error, asked, lacks, broken) from error


def damaged(wanted: Wanted, asked: Request) -> Failed:
    return Failed(
        f"{wanted.path} came from {asked.title} with another hash than the one published there, "
        "and was thrown away",
        f"从 {asked.title} 下载的 {wanted.path} 与其公布的哈希不符，已丢弃",
    )


def _explained(error: Exception, asked: Request, lacks: Failed, broken: Failed) -> Failed:
    status = _status(error)
    if status in (401, 403):
        return Failed(
            f"{asked.title} does not give {asked.repo} to everyone: accept its terms there, and "
            "set QUARTET_MODELS__TOKEN",
            f"{asked.title} 不向所有人提供 {asked.repo}：请在该站接受其条款，"
            "并设置 QUARTET_MODELS__TOKEN",
        )
    if status == 404:
        return lacks
    if status == 429:
        seconds = _retry_after(error)
        again, again_zh = (f"in {seconds} s", f"{seconds} 秒后") if seconds else ("later", "稍后")
        return Failed(
            f"{asked.title} is asked too often; load it again {again}",
            f"对 {asked.title} 的请求过于频繁；请{again_zh}重新加载",
        )
    if status:
        return Failed(
            f"{asked.title} answers with status {status}; load it again later",
            f"{asked.title} 返回状态码 {status}；请稍后重新加载",
        )
    return broken


def _status(error: BaseException) -> int:
    own = getattr(error, "status_code", None)
    return int(own or getattr(getattr(error, "response", None), "status_code", None) or 0)


def _retry_after(error: Any) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return str(getattr(error, "retry_after", None) or headers.get("Retry-After", ""))
