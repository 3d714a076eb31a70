"""
JSON bodies and the texts in them: what is refused, what is mended and said.

NUL and lone surrogates are not text: NUL ends a string in many a library and a lone surrogate
cannot be encoded. They are removed, and the caller is told where.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from backends.errors import BadInput

M = TypeVar("M", bound=BaseModel)

_Place: TypeAlias = "tuple[_Place, str | int] | None"
"""Where a value stands: its parent's place, and its name or number there."""

_TOLD = 100  # paths
_NAME = 200  # characters of one

_SAID = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def clean(text: str) -> tuple[str, bool]:
    """The text without NUL and lone surrogates, and whether any was there."""
    kept = text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
    return kept, len(kept) != len(text)


@dataclass(frozen=True, slots=True)
class Sent:
    """
    A request's fields, and the paths of the texts that had to be cleaned. In a form every value
    is a list of what was sent under its name: texts, and files as bytes.
    """

    value: dict[str, Any]
    cleaned: list[str]
    is_form: bool = False

    def warnings(self) -> list[str]:
        """A fresh list that a shape adds to."""
        where = listed(self.cleaned)
        return [f"Characters that are not text were removed from {where}."] if where else []


def read_object(body: bytes) -> Sent:
    """A JSON object. BadInput if it is not one."""
    try:
        value = orjson.loads(body)
        suspect = b"\\u0000" in body
    except orjson.JSONDecodeError as error:
        value, suspect = _read_leniently(body, error), True
    if not isinstance(value, dict):
        raise BadInput("The body must be a JSON object, such as {}.", field="body")
    return Sent(value, _scrub(value) if suspect else [])


def read_fields(fields: Iterable[tuple[str, str | bytes]]) -> Sent:
    """A form's fields, in the order in which they were sent."""
    value: dict[str, Any] = {}
    for name, content in fields:
        value.setdefault(name, []).append(content)
    return Sent(value, _scrub(value), is_form=True)


def _read_leniently(body: bytes, error: ValueError) -> Any:
    """orjson refuses lone surrogates, which we mend; the standard library reads them."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadInput(f"The body is not JSON: {error}.", field="body") from error


def _scrub(value: dict[str, Any]) -> list[str]:
    """
    Clean every text inside, names too, in place and without recursion; the paths that changed.
    Past the first hundred they are counted only: a body of millions must not fill the memory.
    """
    touched: list[str] = []
    more = 0
    stack: list[tuple[_Place, Any]] = [(None, value)]
    while stack:
        place, node = stack.pop()
        for key, member, changed in _cleaned(node):
            if changed and len(touched) < _TOLD:
                touched.append(_path((place, key)))
            else:
                more += changed
            if isinstance(member, dict | list):
                stack.append(((place, key), member))
    return sorted(touched) + ["another"] * more


def _cleaned(node: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any, bool]]:
    """Each member's key and value, cleaned in place, and whether either had to be."""
    if isinstance(node, list):
        for index, given in enumerate(node):
            node[index], changed = clean(given) if isinstance(given, str) else (given, False)
            yield index, node[index], changed
        return
    for name in list(node):
        key, renamed = clean(name)
        given = node.pop(name) if renamed else node[name]
        node[key], changed = clean(given) if isinstance(given, str) else (given, False)
        yield key, node[key], renamed or changed


def _path(place: "_Place") -> str:
    """documents[3].text; cut, because a name may be as long as a body."""
    parts: list[str] = []
    while place is not None:
        place, key = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key[:_NAME]}")
    return "".join(reversed(parts)).lstrip(".")[:_NAME]


def validated(model: type[M], sent: Sent) -> M:
    """What was sent as the model, or BadInput with one sentence that names the first fault."""
    try:
        if sent.is_form:  # a form knows texts only: "3" is a number there
            return model.model_validate(_unlisted(model, sent.value), strict=False)
        return model.model_validate(sent.value)
    except ValidationError as error:
        raise said(error) from error


def _unlisted(model: type[BaseModel], value: dict[str, list[Any]]) -> dict[str, Any]:
    """Fields that are no lists hold what was sent last, as in an HTML form."""
    lists = {n for n, f in model.model_fields.items() if "list" in str(f.annotation)}
    return {name: given if name in lists else given[-1] for name, given in value.items()}


def said(error: ValidationError) -> BadInput:
    first = error.errors(include_url=False, include_context=True)[0]
    field = path_of(first["loc"])
    context = first.get("ctx", {})
    match first["type"]:
        case "greater_than_equal":
            fault = f"must be at least {context['ge']}"
        case "greater_than":
            fault = f"must be more than {context['gt']}"
        case kind:
            fault = _SAID.get(kind, f"is wrong: {first['msg']}")
    return BadInput(f"{field} {fault}.", field=field)


def path_of(loc: tuple[int | str, ...]) -> str:
    """("documents", 3, "str") as documents[3]: a union's member is not the caller's business."""
    path = str(loc[0]) if loc else "body"
    for part in loc[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _names_a_type(part):
            path += f".{part}"
    return path


def _names_a_type(part: str) -> bool:
    """pydantic puts the member of a union that it tried into the path: str, dict[str,any]."""
    return part in ("str", "int", "bool", "float") or "[" in part


def listed(paths: list[str], most: int = 3) -> str:
    """ "a, b, c and 4 more" """
    text = ", ".join(paths[:most])
    return f"{text} and {len(paths) - most} more" if len(paths) > most else text
