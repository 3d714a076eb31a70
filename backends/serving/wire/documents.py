"""
A document, or a query, of a rerank request: a text, an object, a picture, in all the shapes in
which clients send one.
"""

from dataclasses import dataclass
from typing import Any

from backends.engines.picture import Picture
from backends.engines.rerank import Document, Illustrated, picture_of, text_of
from backends.errors import BadInput
from backends.serving.wire.pictures import picture_as_sent, picture_from, url_of
from backends.serving.wire.question import Terms
from backends.serving.wire.text import listed


def read_document(
    document: str | bytes | dict[str, Any], where: str, rank_fields: list[str] | None, terms: Terms
) -> Document:
    if rank_fields and isinstance(document, dict):
        return _ranked_fields(document, where, rank_fields)
    return _read(document, where, terms, DOCUMENT)


def read_query(query: str | bytes | dict[str, Any], where: str, terms: Terms) -> Document:
    """A query, in any shape that a document may have. BadInput if there is nothing in it."""
    read = _read(query, where, terms, QUERY)
    text = text_of(read) or ""
    check_length(text, where, terms)
    if not text.strip() and picture_of(read) is None:
        raise BadInput(f"{where} is empty; write what you are looking for.", field=where)
    return read


def check_length(text: str, field: str, terms: Terms) -> None:
    most = terms.limits.query_chars
    if len(text) > most:
        raise BadInput(f"{field} has {len(text)} characters; send at most {most}.", field=field)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair: what a model must be capable of to see a picture there."""

    capability: str
    lacks: str
    can: str


DOCUMENT = Side("picture_documents", "reads texts only", "reads pictures")
QUERY = Side("picture_query", "takes no picture as a query", "does")


def _read(document: str | bytes | dict[str, Any], where: str, terms: Terms, side: Side) -> Document:
    if isinstance(document, bytes):
        return _picture(document, where, terms, side)
    if isinstance(document, str):
        return document
    return _object(document, where, terms, side)


def _ranked_fields(document: dict[str, Any], where: str, rank_fields: list[str]) -> str:
    parts = [str(document[field]) for field in rank_fields if field in document]
    if not parts:
        raise BadInput(f"{where} has none of the rank_fields {listed(rank_fields)}.", field=where)
    return "\n".join(parts)


def _object(document: dict[str, Any], where: str, terms: Terms, side: Side) -> Document:
    if isinstance(document.get("content"), list):
        texts, pictures = _content(document["content"], where)
    else:
        texts = [document["text"]] if "text" in document else []
        pictures = [document["image"]] if "image" in document else []
    if not all(isinstance(each, str) for each in [*texts, *pictures]) or not [*texts, *pictures]:
        raise BadInput(
            f'{where} must be text or an object with a "text" or an "image".', field=where
        )
    if len(pictures) > 1:
        raise BadInput(f"{where} holds {len(pictures)} pictures; send one.", field=where)
    if not pictures:
        return "\n".join(texts)
    picture = _picture(pictures[0], where, terms, side)
    return Illustrated("\n".join(texts), picture) if texts else picture


def _content(parts: list[Any], where: str) -> tuple[list[Any], list[Any]]:
    """Texts and pictures of vLLM's multi-modal document."""
    texts, pictures = [], []
    for n, part in enumerate(parts):
        if isinstance(part, dict) and "text" in part:
            texts.append(part["text"])
        elif isinstance(part, dict) and "image_url" in part:
            pictures.append(url_of(part))
        else:
            field = f"{where}.content[{n}]"
            raise BadInput(
                f'{field} must be an object with a "text" or an "image_url".', field=field
            )
    return texts, pictures


def _picture(value: str | bytes, where: str, terms: Terms, side: Side) -> Picture:
    able = terms.family.able(side.capability)
    if terms.loaded not in [model.name for model in able]:
        names = listed([model.name for model in able])
        raise BadInput(
            f"{where} is a picture, and {terms.loaded} {side.lacks}; {names} {side.can}.",
            field=where,
        )
    return picture_from(value, where, terms.limits)


def sent_back(document: Document) -> dict[str, Any]:
    """A picture goes back as what it was: its size; its bytes are the caller's already."""
    text, picture = text_of(document), picture_of(document)
    said: dict[str, Any] = {} if text is None else {"text": text}
    if picture is not None:
        said["image"] = {"width": picture.width, "height": picture.height}
    return said


def as_sent(document: Document) -> str | dict[str, str]:
    """What `read_document` makes this document of."""
    if isinstance(document, str):
        return document
    text, picture = text_of(document), picture_of(document)
    sent = {} if text is None else {"text": text}
    return sent if picture is None else {**sent, "image": picture_as_sent(picture)}
