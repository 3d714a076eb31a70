"""
A service in this process: a batcher, and the hot swap of its engine.

A swap loads beside the engine that serves, runs the family's sample through it, then exchanges
the two between batches. A failed load changes nothing. The record on disk is the truth: it is
read at the start and watched while running.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from backends.engines import Capabilities, Model
from backends.errors import BadInput, Conflict, ModelLoadError, QuartetError
from backends.families import Family
from backends.identity import Ask
from backends.serving import Answer, Progress, State, Status
from backends.serving.batcher import Batcher
from backends.serving.cores import usable_cores
from backends.serving.grouping import Cost
from backends.serving.loading import Loading
from backends.serving.queueing import Slot
from backends.serving.record import ModelRecord, Records
from backends.settings import Settings
from backends.telemetry import Instruments

log = logging.getLogger(__name__)

MANY = 16  # items whose tokens are counted in a thread, so that probes and streams go on


class LocalService:
    """`ModelService` over an engine in this process. Build, then `await start()`."""

    def __init__(
        self,
        family: Family,
        settings: Settings,
        instruments: Instruments,
        records: Records,
        watch_seconds: float = 2.0,
    ) -> None:
        self.name = family.name
        self._family = family
        self._settings = settings
        self._instruments = instruments
        self._records = records
        self._watch_seconds = watch_seconds
        self._swapping = asyncio.Lock()
        self._slot: Slot | None = None
        self._revision = -1  # 0 is the default that no record names
        self._failed_revision = 0
        self._newest = 0  # the highest revision that was asked for
        self._loading: ModelRecord | None = None
        self._load_now: Loading | None = None
        self._reason = self._reason_zh = ""
        self._state = State.LOADING
        threads = settings.batching.engine_threads or usable_cores()
        self._batcher = Batcher(self.name, settings.batching, instruments, threads, Cost())
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return at once; the model loads meanwhile, and until then requests are refused."""
        self._batcher.start()
        self._tasks = [
            asyncio.create_task(self._first_load()),
            asyncio.create_task(self._watch()),
        ]

    # ---- asking

    def admit(self) -> None:
        self._batcher.admit()
        if self._slot is None:
            raise self._not_loaded()

    async def predict(self, items: Sequence[Any], ask: Ask) -> Answer:
        self.admit()
        return await self._batcher.submit(items, await self._lengths(items), ask)

    async def stream(self, item: Any, ask: Ask) -> AsyncIterator[Any]:
        self.admit()
        parts: asyncio.Queue[Any] = asyncio.Queue()
        lengths = await self._lengths([item])
        answer = asyncio.create_task(self._batcher.submit([item], lengths, ask, parts))
        try:
            while not (answer.done() and parts.empty()):
                part = asyncio.create_task(parts.get())
                await asyncio.wait({answer, part}, return_when=asyncio.FIRST_COMPLETED)
                if part.done():
                    yield part.result()
                else:
                    part.cancel()
            yield await answer
        finally:
            answer.cancel()  # a caller that stops reading takes its entry along

    async def _lengths(self, items: Sequence[Any]) -> list[int]:
        slot = self._batcher.hold()

        def count() -> list[int]:
            return [max(1, slot.engine.tokens(item)) for item in items]

        began = time.monotonic()
        try:
            return await asyncio.to_thread(count) if len(items) > MANY else count()
        finally:
            self._batcher.release(slot)
            self._instruments.tokenize_seconds.labels(self.name).observe(time.monotonic() - began)

    # ---- which model

    async def swap(self, record: ModelRecord) -> None:
        self._newest = max(self._newest, record.revision)
        if self._loading is not None and self._loading.revision < record.revision:
            await self.stop_loading(f"{record.model} was asked for instead")
        async with self._swapping:
            if record.revision <= self._revision:
                return
            try:
                await self._exchange(record)
            except QuartetError as error:
                self._failed_revision = record.revision
                self._count_swap(type(error).__name__)
                log.warning("swap failed", extra={**self._facts(record), "reason": error.text})
                if record.revision < self._newest:
                    raise Conflict(error.text, zh=error.zh) from error  # a newer choice stands
                raise
            self._count_swap("ok")
            log.info("swapped", extra=self._facts(record))

    async def stop_loading(self, why: str) -> None:
        if self._load_now is not None:
            await asyncio.to_thread(self._load_now.stop, why)

    async def _exchange(self, record: ModelRecord) -> None:
        """Load beside, prove, exchange. Called under the swap's lock."""
        self._load_now = Loading(self._model(record.model), self._family, self._settings)
        self._loading = record
        try:
            slot = await asyncio.to_thread(self._load, record, self._load_now)
        finally:
            self._loading = self._load_now = None
        old, self._slot = self._slot, slot
        self._revision = record.revision
        self._batcher.exchange(slot)
        if self._state in (State.LOADING, State.FAILED):
            self._state, self._reason, self._reason_zh = State.READY, "", ""
        info = self._instruments.model_info
        if old is not None:
            info.remove(self.name, old.model.name, str(old.revision))
        info.labels(self.name, record.model, str(record.revision)).set(1)

    def _load(self, record: ModelRecord, loading: Loading) -> Slot:
        """In a thread. Anything that goes wrong in a loader becomes one sentence."""
        model = self._model(record.model)
        began = time.monotonic()
        try:
            engine, rate = loading.run()
        except ModelLoadError as error:
            raise self._not_exchanged(model, error) from error
        seconds = time.monotonic() - began
        self._instruments.model_load_seconds.labels(self.name).observe(seconds)
        return Slot(engine, model, record.revision, rate=rate)

    def _not_exchanged(self, model: Model, error: ModelLoadError) -> ModelLoadError:
        old = self._slot.model.name if self._slot else ""
        kept, kept_zh = ("nothing serves", "当前没有模型提供服务")
        if old:
            kept, kept_zh = f"{old} still serves", f"仍由 {old} 提供服务"
        return ModelLoadError(
            f"{model.name} could not be loaded: {error.text}; {kept}.",
            zh=f"无法加载 {model.name}：{error.zh or error.text}；{kept_zh}。",
            detail=error.detail,
        )

    def _model(self, name: str) -> Model:
        models = self._family.models
        loadable = [model.name for model in models.values() if model.load is not None]
        if name not in loadable:
            raise BadInput(
                f"No model called {name[:80]!r} can be loaded here; there are "
                f"{', '.join(loadable)}.",
                field="model",
            )
        return models[name]

    async def _first_load(self) -> None:
        try:
            default = ModelRecord(0, self._family.default(self._settings))
            record = self._records.read(self.name) or default
            async with self._swapping:
                await self._exchange(record)
            log.info("loaded", extra=self._facts(record))
        except QuartetError as error:
            self._state, self._reason, self._reason_zh = State.FAILED, error.text, error.zh
            log.error("load failed", extra={"service": self.name, "reason": error.text})

    async def _watch(self) -> None:
        """Converge to a record that someone else wrote, such as a mounted one."""
        while True:
            await asyncio.sleep(self._watch_seconds)
            try:
                record = await asyncio.to_thread(self._records.read, self.name)
                newest = max(self._revision, self._failed_revision)
                if record and record.revision > newest and record.way == "in-pod":
                    await self.swap(record)
            except QuartetError as error:
                log.warning("record ignored", extra={"service": self.name, "reason": error.text})

    # ---- how it is

    async def status(self) -> Status:
        slot = self._slot
        return Status(
            service=self.name,
            state=self._state,
            model=slot.model.name if slot else "",
            revision=max(0, self._revision),
            capabilities=slot.capabilities if slot else Capabilities(),
            embedded=bool(slot and slot.model.embedded),
            device=slot.device if slot else "",
            remarks=slot.remarks if slot else (),
            reason=self._reason,
            reason_zh=self._reason_zh,
            loading=self._loading.model if self._loading else "",
            progress=self._load_now.progress if self._load_now else Progress(),
            running_seconds=self._batcher.longest_run(),
            waiting=self._batcher.waiting,
            in_flight=self._batcher.in_flight,
            predicted_wait=self._batcher.predicted_wait(),
            breaker=self._batcher.breaker_state,
        )

    async def drain(self, seconds: float) -> None:
        self._state = State.DRAINING
        self._batcher.refuse(f"The {self.name} service is leaving; ask another one.")
        await self._batcher.idle(seconds)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.stop_loading("the service is shutting down")  # a thread cannot be cancelled
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._batcher.close()
        self._state = State.CLOSED

    def _not_loaded(self) -> ModelLoadError:
        if self._state is State.FAILED:
            return ModelLoadError(self._reason, zh=self._reason_zh)
        return ModelLoadError(
            f"The {self.name} model is still loading.",
            zh="模型仍在加载，请稍后重试。",
            retry_after=2,
        )

    def _count_swap(self, outcome: str) -> None:
        self._instruments.swaps.labels(self.name, outcome).inc()

    def _facts(self, record: ModelRecord) -> dict[str, Any]:
        return {"service": self.name, "model": record.model, "revision": record.revision}
