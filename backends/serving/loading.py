"""
One load of a model, from wherever its files are to an engine that has answered the sample.

Runs in a thread; how far it is may be read from any other. Whatever goes wrong becomes one phrase.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from backends.engines import Engine, Model, headroom, weights
from backends.engines.download import Download, hub_of
from backends.errors import ModelLoadError
from backends.families import Family
from backends.serving import Progress
from backends.settings import Settings
from backends.telemetry import new_request_id, request_id

log = logging.getLogger(__name__)

LOG_SECONDS = 5.0


class Loading:
    """`stop` ends a download; what is read or tried already goes on to its end."""

    def __init__(
        self,
        model: Model,
        family: Family,
        settings: Settings,
        free: Callable[[], Mapping[str, int]] = headroom.free,
    ) -> None:
        self._model = model
        self._family = family
        self._settings = settings
        self._free = free
        self._download = Download(model, settings.models)
        self._logged = 0.0
        self.progress = Progress()

    def run(self) -> tuple[Engine[Any, Any], float]:
        """The engine and its tokens a second. Raises ModelLoadError with a phrase."""
        assert self._model.load is not None  # the service refuses those that cannot be loaded
        try:
            self._bring()
            self.progress = Progress("reading")
            engine = self._model.load(self._settings)
            try:
                self.progress = Progress("trying")
                return engine, self._prove(engine)
            except Exception:
                engine.close()
                raise
        except ModelLoadError:
            raise
        except Exception as error:
            raise weights.foreseen(error) or self._unforeseen(error) from error

    def stop(self, why: str) -> None:
        self._download.stop(why)

    def _unforeseen(self, error: Exception) -> ModelLoadError:
        """All of it into the log, under the request's number where there is one."""
        number = request_id.get() or new_request_id()
        facts = {"service": self._family.name, "model": self._model.name, "request_id": number}
        log.error("loader failed", extra=facts, exc_info=error)
        return weights.unforeseen(error, number)

    def _bring(self) -> None:
        """The files of a checkpoint: fetched if they may be, whole, and not too large."""
        model, group = self._model, self._settings.models
        if not model.files:
            return
        if hub_of(model, group) and not weights.is_on_disk(model, group):
            self.progress = Progress("downloading")
            self._download.run(self._tell)
        weights.inspect(model, group)
        weights.check_memory(model, group, self._free())

    def _tell(self, done: int, total: int) -> None:
        self.progress = Progress("downloading", done, total)
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            facts = {"service": self._family.name, "model": self._model.name}
            log.info("downloading", extra={**facts, "bytes": done, "of": total})

    def _prove(self, engine: Engine[Any, Any]) -> float:
        """Run the family's sample: outputs as many as items, and a first guess of tokens/s."""
        sample = self._family.sample()
        rates: list[float] = []
        for _ in range(2):  # the first warms up, the second may be remembered: the slower counts
            tokens = sum(engine.tokens(item) for item in sample)
            began = time.monotonic()
            outputs = engine.run(sample, lambda index, part: True)
            rates.append(tokens / max(time.monotonic() - began, 1e-6))
            if len(outputs) != len(sample):
                raise ModelLoadError(
                    f"{len(outputs)} outputs for {len(sample)} items",
                    zh=f"{len(sample)} 个输入得到了 {len(outputs)} 个输出",
                )
        return min(rates)
