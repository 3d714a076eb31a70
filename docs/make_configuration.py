"""Writes docs/configuration.md from `Settings`: `make docs`. A test compares the two."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

PAGE = Path(__file__).parent / "configuration.md"
sys.path.insert(0, str(PAGE.parents[1]))

from backends.settings import PREFIX, Group, Settings  # noqa: E402

HEAD = """\
# Configuration

Every setting is an environment variable, read once at the start. The name is prefix, group, field:
`QUARTET_BATCHING__MAX_BATCH=4`. An empty value counts as not set. A name that is not listed here
is refused at the start, so that a typo is not silence. `--host` and `--port` go before the
environment.

This page is written by `make docs` from `backends/settings.py`.
"""


def page() -> str:
    parts = [HEAD, *_table("The portal", PREFIX, Settings)]
    for name, field in Settings.model_fields.items():
        if _is_group(field):
            parts += _table(name.capitalize(), f"{PREFIX}{name.upper()}__", field.annotation)
    return "\n".join(parts)


def _table(title: str, prefix: str, group: Any) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| setting | default | allowed | meaning |"
    yield "| --- | --- | --- | --- |"
    yield from (
        f"| `{prefix}{name.upper()}` | {_default(field)} | {_allowed(field)} "
        f"| {field.description} |"
        for name, field in group.model_fields.items()
        if not _is_group(field)
    )
    yield ""


def _is_group(field: FieldInfo) -> bool:
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, BaseModel) and issubclass(kind, Group)


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple | bool):
        value = json.dumps(value)
    return f"`{value}`" if value != "" else "empty"


def _allowed(field: FieldInfo) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    said = [
        f"{word} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, word in words.items()
        if getattr(rule, name, None) is not None
    ]
    pattern = next((rule.pattern for rule in field.metadata if hasattr(rule, "pattern")), None)
    if pattern:
        said.append(pattern.strip("^$()").replace("|", ", "))
    return ", ".join(said)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
