"""
Writes docs/models.md from the families' tables: `make docs`. A test compares the two.

What was measured and what is doubtful is written by hand, in docs/models/, and included as it is.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGE = Path(__file__).parent / "models.md"
sys.path.insert(0, str(PAGE.parents[1]))

from backends.engines import Model  # noqa: E402
from backends.engines.hub import TITLES, amount  # noqa: E402
from backends.families import FAMILIES, Family  # noqa: E402
from backends.settings import Settings  # noqa: E402

HEAD = """\
# Models

What each family can run, under which licence, and what is doubtful about it. A model that this
version cannot load is listed with "no", so that the page can say which model would do what the
loaded one cannot.

Depend, never vendor: weights come inside a package that is pinned to an exact version, or as a
checkpoint below `QUARTET_MODELS__FOLDER`, put there by you or fetched once somebody loads it
([operating.md](operating.md#load-a-real-model)). Checkpoints need `make models`. Memory is
computed, parameters times bytes: the weights alone, without what a run needs beside them.

This page is written by `make docs` from the tables in `backends/engines/*/__init__.py` and from
`docs/models/`.
"""


def page() -> str:
    return "\n".join([HEAD, *(line for f in FAMILIES.values() for line in _family(f))])


def _family(family: Family) -> Iterator[str]:
    models = family.models.values()
    default = family.default(Settings())
    yield f"## {family.title[0]}\n"
    yield "| model | loads | licence | territory | runs on | what it is | source |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (_row(model, is_default=model.name == default) for model in models)
    yield ""
    checkpoints = [model for model in models if model.files]
    if checkpoints:
        yield "| checkpoint | bf16 | fp8, int8 | folder | files | fetched from |"
        yield "| --- | --- | --- | --- | --- | --- |"
        yield from map(_checkpoint, checkpoints)
        yield ""
        yield from _notices(checkpoints)
    yield (PAGE.parent / "models" / f"{family.name}.md").read_text(encoding="utf-8")


def _notices(checkpoints: Iterable[Model]) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for model in checkpoints:
        told.setdefault(model.notice[0], []).append(f"`{model.name}`")
    for notice, names in told.items():
        if notice:
            yield f"{', '.join(names)}: {notice}\n"


def _row(model: Model, *, is_default: bool) -> str:
    loads = ("yes" if model.load else "no") + (", the default" if is_default else "")
    cells = (loads, model.licence, model.territory, model.device, model.about[0], model.source)
    return f"| `{model.name}` | {' | '.join(cells)} |"


def _checkpoint(model: Model) -> str:
    bf16, small = amount(2 * model.parameters), amount(model.parameters)
    files = ", ".join(f"`{name}`" for name in model.files)
    hubs = "; ".join(f"{TITLES[hub]}: `{name}`" for hub, name in model.hubs)
    where = hubs if model.may_download else "nowhere: its licence forbids it"
    return f"| `{model.name}` | {bf16} | {small} | `{model.source}` | {files} | {where} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
