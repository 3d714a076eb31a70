"""
What a visitor typed, pasted or dropped becomes pairs to rank; or one sentence on what to fix.

Pure: text and bytes in, frozen values out. Every BadInput here names the field it is about.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from backends.engines.picture import Picture
from backends.engines.rerank import Document, Illustrated, Pair
from backends.errors import BadInput
from backends.serving.wire.text import clean
from backends.settings import Limits
from ui.texts import refusal

_LINES = re.compile(r"\r\n|\r|\n")  # str.splitlines would cut at characters that text may hold


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The pairs of one request: its pictures, then its texts; `names` are the pictures' file names.
    `cleaned` says that unreadable characters were removed.
    """

    pairs: tuple[Pair, ...]
    cleaned: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """A picture and the name of its file."""

    name: str
    picture: Picture


def read_lines(text: str) -> tuple[str, ...]:
    """One document a line; blank lines are not documents."""
    return tuple(line.strip() for line in _LINES.split(text) if line.strip())


def read_pairs(
    query: str,
    documents: Sequence[str],
    instruction: str,
    limits: Limits,
    pictures: Sequence[Named] = (),
    query_picture: Picture | None = None,
) -> Asked:
    """Raises the first of the `faults`."""
    shown = query_picture is not None
    for fault in faults(query, documents, instruction, limits, len(pictures), shown):
        raise fault
    texts = [clean(text.strip()) for text in (query, instruction, *documents)]
    (query, _), (instruction, _), *rest = texts
    kept = tuple(text for text, _ in rest if text)
    asked: list[Document] = [*(each.picture for each in pictures), *kept]
    side = _query(query, query_picture)
    return Asked(
        tuple(Pair(side, document, kept, instruction) for document in asked),
        cleaned=any(changed for _, changed in texts),
        names=tuple(each.name for each in pictures),
    )


def _query(text: str, picture: Picture | None) -> Document:
    if picture is None:
        return text
    return Illustrated(text, picture) if text else picture


def faults(
    query: str,
    documents: Sequence[str],
    instruction: str,
    limits: Limits,
    pictures: int = 0,
    query_picture: bool = False,
) -> Iterator[BadInput]:
    """
    All that must be fixed first: each names one of query, documents, instruction. `pictures` are
    documents; with `query_picture` a query needs no words.
    """
    count = pictures + sum(bool(clean(text)[0].strip()) for text in documents)
    if not query_picture and not clean(query)[0].strip():
        yield refusal("rerank.no_query", "query")
    if not count:
        yield refusal("rerank.no_documents", "documents")
    if count > limits.documents:
        yield refusal("rerank.too_many", "documents", found=count, most=limits.documents)
    for text, name in ((query, "query"), (instruction, "instruction")):
        if len(text.strip()) > limits.query_chars:
            yield refusal("rerank.too_long", name, found=len(text), most=limits.query_chars)


def read_file(name: str, data: bytes) -> tuple[str, ...]:
    """
    The documents in a dropped file: .txt lines; .csv the column `text`, or the first; .jsonl a
    string or an object with `text`. Raises BadInput for: file.
    """
    short = clean(name)[0][-80:]
    read = READERS.get(PurePath(name).suffix.lower())
    if read is None:
        raise refusal("rerank.file_kind", "file", name=short)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal("rerank.not_utf8", "file", name=short) from error
    documents = tuple(document for document in read(short, text) if document.strip())
    if not documents:
        raise refusal("rerank.empty_file", "file", name=short)
    return documents


def _read_text(name: str, text: str) -> Sequence[str]:
    return read_lines(text)


def _read_table(name: str, text: str) -> Sequence[str]:
    rows = csv.reader(io.StringIO(clean(text)[0], newline=""))  # a cell may hold lines
    try:
        filled = [row for row in rows if row]
    except csv.Error as error:  # such as a field beyond the module's limit
        raise refusal("rerank.bad_line", "file", name=name, line=rows.line_num) from error
    head = [cell.strip().lower() for cell in filled[0]] if filled else []
    if "text" in head:
        column = head.index("text")
        return [row[column] for row in filled[1:] if len(row) > column]
    return [row[0] for row in filled]


def _read_objects(name: str, text: str) -> Sequence[str]:
    return [
        _read_object(name, number, line)
        for number, line in enumerate(_LINES.split(text), 1)
        if line.strip()
    ]


def _read_object(name: str, number: int, line: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise refusal("rerank.bad_line", "file", name=name, line=number) from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise refusal("rerank.bad_line", "file", name=name, line=number)
    return text


READERS: dict[str, Callable[[str, str], Sequence[str]]] = {
    ".txt": _read_text,
    ".csv": _read_table,
    ".jsonl": _read_objects,
}
