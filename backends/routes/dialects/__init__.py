"""
The dialects: every program that people already use asks in its own words and is answered in them.

Each goes the way of `/v1/<family>` (`backends.routes.models`); here is only what differs: paths,
shapes, and how errors are told.
"""

from collections.abc import Mapping

from backends.routes.answers import PLAIN, Wording
from backends.routes.dialects import deepl, libretranslate, ofa, rerank
from backends.routes.dialects.dialect import Dialect, Lookup, Reading
from backends.serving.wire import SHAPES
from backends.serving.wire.faces import FacesShape

_OURS: Mapping[str, Wording] = {"rerank": rerank.OURS}
_OTHERS: Mapping[str, tuple[Dialect, ...]] = {
    "rerank": rerank.OTHERS,
    "entailment": (ofa.DIALECT,),
    "fusion": (Dialect("Faces", ("/v1/fusion/faces",), FacesShape()),),
    "translate": (libretranslate.DIALECT, deepl.DIALECT),
}

READINGS: Mapping[str, tuple[Reading, ...]] = {"translate": (libretranslate.READING,)}

LOOKUPS: Mapping[str, tuple[Lookup, ...]] = {
    "rerank": rerank.LOOKUPS,
    "translate": (libretranslate.LOOKUP, *deepl.LOOKUPS),
}

DIALECTS: Mapping[str, tuple[Dialect, ...]] = {
    name: (
        Dialect(name.title(), (f"/v1/{name}",), shape, _OURS.get(name, PLAIN)),
        *_OTHERS.get(name, ()),
    )
    for name, shape in SHAPES.items()
}
"""By family; its own `/v1/<family>` is the first."""
