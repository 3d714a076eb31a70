"""
The rerank tab's inputs as one request: what is wrong with them, what they hold, what to remark.

Between the screen and the pure readers: here, and only here, uploaded files are opened.
"""

import contextlib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from backends.engines import Model
from backends.engines.rerank import picture_of
from backends.errors import BadInput
from backends.serving.wire.text import clean
from backends.settings import Limits
from ui.tabs.documents import Asked, Named, faults, read_file, read_lines, read_pairs
from ui.tabs.pictures import read_upload
from ui.texts import both, refusal, say

Uploaded = list[tuple[str, str | None]] | None

# The inputs in the order in which every handler takes them; a BadInput blames one by its name.
ORDER = (
    *("query", "pictures", "documents", "file", "instruction", "top_n", "threshold"),
    "query_picture",
)


def wrong(
    query: str,
    pictures: Uploaded,
    documents: str,
    file: str | None,
    instruction: str,
    top_n: int | None,
    threshold: float,
    query_picture: Uploaded = None,
    *,
    limits: Limits,
) -> Iterator[BadInput]:
    """What is wrong with the inputs; each fault names one of ORDER."""
    if top_n is not None and top_n < 1:
        yield refusal("rerank.bad_top_n", "top_n")
    if len(query_picture or []) > 1:
        yield refusal("rerank.one_query_picture", "query_picture", found=len(query_picture or []))
    texts = [*read_lines(documents)]
    try:
        texts += file_documents(file)
    except BadInput as fault:
        yield fault
    yield from faults(query, texts, instruction, limits, len(pictures or []), bool(query_picture))


def read(
    query: str,
    pictures: Uploaded,
    documents: str,
    file: str | None,
    instruction: str,
    top_n: int | None,
    threshold: float,
    query_picture: Uploaded = None,
    *,
    limits: Limits,
) -> Asked:
    """The inputs as pairs; raises the first thing that is wrong."""
    values = (query, pictures, documents, file, instruction, top_n, threshold, query_picture)
    for fault in wrong(*values, limits=limits):
        raise fault
    texts = [*read_lines(documents), *file_documents(file)]
    seen = [
        Named(Path(path).name, read_upload(path, "pictures", limits)) for path, _ in pictures or []
    ]
    asked = read_upload(query_picture[0][0], "query_picture", limits) if query_picture else None
    return read_pairs(query, texts, instruction, limits, seen, asked)


def file_documents(path: str | None) -> tuple[str, ...]:
    """None at all without a file. Raises BadInput for: file."""
    if path is None:
        return ()
    try:
        return read_file(Path(path).name, Path(path).read_bytes())
    except OSError as error:  # Gradio empties its cache of uploads after an hour
        raise refusal("rerank.file_gone", "file") from error


def all_documents(documents: str, file: str | None) -> Sequence[str]:
    """For the code: what is there already, even if a field is still to be fixed."""
    texts = [*read_lines(documents)]
    with contextlib.suppress(BadInput):  # the field says so
        texts += file_documents(file)
    return [clean(text)[0] for text in texts]


def notes(asked: Asked, model: Model) -> list[str]:
    """What must be said beside the result, as HTML."""
    told = []
    if asked.cleaned:
        told.append(say("rerank.cleaned"))
    sides = [("", asked.pairs[0].query)]
    sides += zip(asked.names, (pair.document for pair in asked.pairs), strict=False)
    for name, side in sides:
        picture = picture_of(side)
        of = escape(name) or say("rerank.query_picture")
        told += [f"{of}: {both(each.en, each.zh)}" for each in (picture.notes if picture else ())]
    if asked.pairs[0].instruction and not model.capabilities.instruction:
        told.append(say("rerank.ignored", model=model.title))
    return told
