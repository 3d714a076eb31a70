"""
One download of a checkpoint: starts the process that fetches, hears how far it is, stops it.

Nothing is fetched without a person asking for it: a model is loaded, by a swap or by a setting
that names it, and its files are not here.
"""

import json
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from backends import settings
from backends.engines import Model
from backends.engines.hub import TITLES
from backends.errors import ModelLoadError

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "0",  # the portal's own process stays off the net
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # its downloads cannot be taken up again
    "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "3",
    "MODELSCOPE_DOWNLOAD_TOTAL_TIMEOUT": "604800",  # seconds a file may take; its own is an hour
    "TQDM_DISABLE": "1",
}


class Download:
    """Of one model. `run` blocks; `stop` may come from any thread, before or while it runs."""

    def __init__(self, model: Model, group: settings.Models) -> None:
        self._model = model
        self._group = group
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._stopped = ""

    def run(self, tell: Callable[[int, int], None]) -> None:
        """Raises ModelLoadError with what went wrong, or why it was stopped."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            end = self._run(tell, said)
            if self._stopped:
                raise ModelLoadError(
                    f"{self._stopped}, and what was fetched of it is kept",
                    zh=f"下载已停止（{self._stopped}），已下载的部分会保留",
                )
            if "fetched" not in end:
                said.seek(0)
                tail = said.read()[-1000:].strip()
                log.warning("fetch failed", extra={"model": self._model.name, "detail": tail})
                if "failed" in end:
                    raise ModelLoadError(end["failed"], zh=end["zh"])
                raise ModelLoadError("the process that fetches it has died", zh="下载进程已中止")

    def stop(self, why: str) -> None:
        with self._lock:
            self._stopped = self._stopped or why
            if self._process is not None:
                self._process.kill()

    def _run(self, tell: Callable[[int, int], None], said: IO[str]) -> dict[str, Any]:
        """What the process said last."""
        with self._lock:
            if self._stopped:
                return {}
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "backends.engines.hub"],
                cwd=ROOT,
                env=settings.environment(**ENVIRONMENT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        fact: dict[str, Any] = {}
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(self._request()) + "\n")
                process.stdin.flush()
            except BrokenPipeError:
                return {}  # stopped before it had begun
            for line in process.stdout:
                fact = json.loads(line)
                if "total" in fact:
                    tell(fact["done"], fact["total"])
            return fact

    def _request(self) -> dict[str, Any]:
        model, group = self._model, self._group
        return {
            "hub": group.hub,
            "endpoint": group.endpoint.rstrip("/"),
            "token": group.token.get_secret_value(),
            "repo": dict(model.hubs)[group.hub],
            "patterns": model.files,
            "pins": dict(model.sha256),
            "folder": str((group.folder / model.source).absolute()),
        }


def hub_of(model: Model, group: settings.Models) -> str:
    """The title of the hub that the model would be fetched from; "" if it would not be."""
    can = model.load is not None and model.may_download and group.hub in dict(model.hubs)
    return TITLES[group.hub] if can else ""
