"""
A document of a rerank request: a text, an object, a picture, in all the shapes in which clients
send one.
"""

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
    if isinstance(document, bytes):
        return _picture(document, where, terms)
    if isinstance(document, str):
        return document
    if rank_fields:
        return _ranked_fields(document, where, rank_fields)
    return _object(document, where, terms)


def _ranked_fields(document: dict[str, Any], where: str, rank_fields: list[str]) -> str:
    parts = [str(document[field]) for field in rank_fields if field in document]
    if not parts:
        raise BadInput(f"{where} has none of the rank_fields {listed(rank_fields)}.", field=where)
    return "\n".join(parts)


def _object(document: dict[str, Any], where: str, terms: Terms) -> Document:
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
        raise BadInput(f"{where} holds {len(pictures)} pictures; send one a document.", field=where)
    if not pictures:
        return "\n".join(texts)
    picture = _picture(pictures[0], where, terms)
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


def _picture(value: str | bytes, where: str, terms: Terms) -> Picture:
    able = terms.family.able("picture_documents")
    if terms.loaded not in [model.name for model in able]:
        names = listed([model.name for model in able])
        raise BadInput(
            f"{where} is a picture, and {terms.loaded} reads texts only; {names} reads pictures.",
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
