"""The two hubs, each through its own library, and what their errors mean."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from backends.engines.hub import Failed, Request, Wanted, amount

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


class HuggingFace:
    def __init__(self, asked: Request) -> None:
        from huggingface_hub import HfApi

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


HUBS: dict[str, Callable[[Request], Hub]] = {"modelscope": ModelScope, "huggingface": HuggingFace}


def list_files(hub: Hub, asked: Request) -> Sequence[Wanted]:
    try:
        return hub.files()
    except Exception as error:
        lacks = f"{asked.title} has no repository {asked.repo}, or shows it to members only"
        broken = (
            f"{asked.endpoint or asked.title} cannot be reached; without a network, put "
            f"{', '.join(asked.patterns)} of {asked.repo} into {asked.folder}"
        )
        raise Failed(_explained(error, asked, lacks, broken)) from error


def fetch_file(hub: Hub, asked: Request, wanted: Wanted, into: Path, advance: Advance) -> None:
    """Raises Failed for what the hub does, and OSError for what the disk does."""
    try:
        hub.fetch(wanted, into, advance)
    except Exception as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise
        if type(error).__name__ == "FileIntegrityError":
            raise Failed(damaged(wanted, asked)) from error
        lacks = f"{asked.title} lists {wanted.path} of {asked.repo} and does not have it"
        broken = (
            f"the connection to {asked.endpoint or asked.title} broke off in {wanted.path} "
            f"({amount(wanted.size)}); load it again to go on from there"
        )
        raise Failed(_explained(error, asked, lacks, broken)) from error


def damaged(wanted: Wanted, asked: Request) -> str:
    return (
        f"{wanted.path} came from {asked.title} with another hash than the one published there, "
        "and was thrown away"
    )


def _explained(error: Exception, asked: Request, lacks: str, broken: str) -> str:
    status = _status(error)
    if status in (401, 403):
        return (
            f"{asked.title} does not give {asked.repo} to everyone: accept its terms there, and "
            "set QUARTET_MODELS__TOKEN"
        )
    if status == 404:
        return lacks
    if status == 429:
        wait = _retry_after(error)
        return f"{asked.title} is asked too often; load it again {wait}"
    if status:
        return f"{asked.title} answers with status {status}; load it again later"
    return broken


def _status(error: BaseException) -> int:
    own = getattr(error, "status_code", None)
    return int(own or getattr(getattr(error, "response", None), "status_code", None) or 0)


def _retry_after(error: Any) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    seconds = getattr(error, "retry_after", None) or headers.get("Retry-After", "")
    return f"in {seconds} s" if seconds else "later"
