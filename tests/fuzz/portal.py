"""
The whole portal as a process of its own, with engines that cost nothing:

    QUARTET_STATE_DIR=… python -m tests.fuzz.portal

Everything but the models is the product's: routes, pages, queue, jobs. Here for volume, and because
what is mounted in a test's own process stays there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import app
from backends.engines import Emit
from backends.engines.entailment import Verdict
from backends.engines.fusion import Blend, Check, Fused, Look, Seen
from backends.engines.rerank import Relevance
from backends.engines.translate import Translation
from backends.families import FAMILIES, Family
from backends.settings import Server, read_settings
from backends.telemetry import set_up_logging


class Plain:
    """Answers every item of every family at once, in the family's own words."""

    def __init__(self, model: str) -> None:
        self.model = model

    def tokens(self, item: Any) -> int:
        return 1

    def run(self, batch: Sequence[Any], emit: Emit) -> Sequence[Any]:
        return [_answer(item) for item in batch]

    def close(self) -> None:
        pass


def _answer(item: Any) -> Any:
    match type(item).__name__:
        case "Pair":
            return Relevance(0.5)
        case "Claim":
            return Verdict("maybe", (0.2, 0.6, 0.2))
        case "Passage":
            source = "en" if item.source == "auto" else item.source
            return Translation(item.text, source, item.target, ("neural",))
        case _:
            return _of_fusion(item)


def _of_fusion(item: Blend | Look | Check) -> Fused | Seen | None:
    if isinstance(item, Blend):
        return Fused(item.target)
    return Seen() if isinstance(item, Look) else None


def stubbed(family: Family) -> Family:
    """The family with its own table of models, of which those that can be loaded are `Plain`."""
    models = {
        name: replace(model, load=lambda settings, name=name: Plain(name)) if model.load else model
        for name, model in family.models.items()
    }
    return replace(family, models=models)


def main() -> None:
    settings = read_settings(server=Server(port=0, log_format="json"))
    set_up_logging(settings.server.log_format)
    listening = app.listen(settings.server)
    families = {name: stubbed(family) for name, family in FAMILIES.items()}
    application, lifecycle, portal = app.build_portal(settings, families)
    address = app.address_of(listening, settings.server)
    ready = f"Quartet is at {address}/ {address}/admin/?token={portal.identity.token}"
    app.serve(application, lifecycle, settings.server, listening, ready)


if __name__ == "__main__":
    main()
