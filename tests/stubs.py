"""Small exact stand-ins: a service that serves nothing and remembers what was asked of it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from backends.engines import Capabilities, Engine, Model
from backends.errors import ModelLoadError
from backends.families import Family
from backends.identity import Ask
from backends.serving import Answer, State, Status
from backends.serving.record import ModelRecord
from backends.settings import Settings


def _load(settings: Settings) -> Engine[Any, Any]:
    raise AssertionError("a stub service loads no engine")


def stub_family(name: str = "rerank") -> Family:
    """Three models: `small` and `words` can be loaded, `big` is only known."""
    models = (
        Model("small", "Small", _load, "MIT", ("Small model", "小模型")),
        Model(
            "words",
            "Words",
            _load,
            "Apache-2.0",
            ("Words only", "仅按词匹配"),
            limits=("It knows no meaning.", "它不理解含义。"),
        ),
        Model(
            "able",
            "Able",
            _load,
            "MIT",
            ("Follows an instruction", "可遵循指令"),
            capabilities=Capabilities(instruction=True, languages=("en", "zh")),
        ),
        Model("big", "Big", None, "MIT", ("Needs a GPU", "需要 GPU")),
    )
    return Family(
        name=name,
        title=("Rerank", "重排序"),
        item=str,
        models={model.name: model for model in models},
        sample=("a",),
        default=lambda settings: "small",
    )


class StubService:
    """
    A service of that family. `swap` adopts a record, newer ones only; a model in `fails` cannot
    be loaded, and then nothing changes.
    """

    def __init__(
        self, family: Family, record: ModelRecord | None = None, fails: Mapping[str, str] = {}
    ) -> None:
        self.name = family.name
        self.family = family
        self.record = record or ModelRecord(0, "small")
        self.fails = dict(fails)
        self.swapped: list[ModelRecord] = []
        self.state = State.READY
        self.loading = ""
        self.in_flight = 0

    def admit(self) -> None:
        pass

    async def predict(self, items: Sequence[Any], ask: Ask) -> Answer:
        return Answer(tuple(items), self.record.model, self.record.revision, len(items), 0.0, 0.0)

    async def stream(self, item: Any, ask: Ask) -> AsyncIterator[Any]:
        yield await self.predict([item], ask)

    async def swap(self, record: ModelRecord) -> None:
        self.swapped.append(record)
        if why := self.fails.get(record.model):
            raise ModelLoadError(why)
        if record.revision > self.record.revision:
            self.record = record

    async def status(self) -> Status:
        model = self.family.models[self.record.model]
        return Status(
            service=self.name,
            state=self.state,
            model=model.name,
            revision=self.record.revision,
            capabilities=model.capabilities,
            embedded=model.embedded,
            device=model.device,
            loading=self.loading,
            in_flight=self.in_flight,
        )

    async def drain(self, seconds: float) -> None:
        self.state = State.DRAINING

    async def close(self) -> None:
        self.state = State.CLOSED
