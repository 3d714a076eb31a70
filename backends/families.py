"""
The table of families: title, models, sample.

An argument of everything that needs it, so that a test can pass a family whose engine is slow,
fails, or never gets ready.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends.engines import Model, entailment, fusion, rerank, translate
from backends.settings import Settings


@dataclass(frozen=True, slots=True)
class Family:
    """
    One of the tasks. `title` is the tab's label, (English, Chinese). `sample` makes the
    items that a model must answer before it may serve. `default` reads the model to start with.
    """

    name: str
    title: tuple[str, str]
    item: type
    models: Mapping[str, Model]
    sample: Callable[[], tuple[Any, ...]]
    default: Callable[[Settings], str]

    def able(self, capability: str) -> tuple[Model, ...]:
        """The models that have the capability, such as "instruction"."""
        return tuple(m for m in self.models.values() if getattr(m.capabilities, capability))


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="rerank",
            title=("Rerank", "重排序"),
            item=rerank.Pair,
            models=rerank.MODELS,
            sample=lambda: rerank.SAMPLE,
            default=lambda settings: settings.rerank.model,
        ),
        Family(
            name="entailment",
            title=("Entail", "视觉蕴含"),
            item=entailment.Claim,
            models=entailment.MODELS,
            sample=lambda: entailment.SAMPLE,
            default=lambda settings: settings.entailment.model,
        ),
        Family(
            name="fusion",
            title=("Fuse", "人脸融合"),
            item=fusion.Blend,
            models=fusion.MODELS,
            sample=fusion.sample,
            default=lambda settings: settings.fusion.model,
        ),
        Family(
            name="translate",
            title=("Translate", "翻译"),
            item=translate.Passage,
            models=translate.MODELS,
            sample=lambda: translate.SAMPLE,
            default=lambda settings: settings.translate.model,
        ),
    )
}


def configured(families: Mapping[str, Family], settings: Settings) -> dict[str, Family]:
    """The families with the rows that these settings make, and without those they do not."""
    return {
        name: replace(family, models=dict(_rows(family, settings)))
        for name, family in families.items()
    }


def _rows(family: Family, settings: Settings) -> Iterator[tuple[str, Model]]:
    for name, model in family.models.items():
        made = model.configure(model, settings) if model.configure else model
        if made is not None:
            yield name, made
