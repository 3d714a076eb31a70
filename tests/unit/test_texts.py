"""Every sentence on screen, in both languages."""

import re
import string
import tomllib
from pathlib import Path

import pytest

from backends.errors import BadInput
from backends.families import FAMILIES
from ui import shell, texts
from ui.texts import TEXTS, both, label, listed, plain, refusal, say, translations

UI = Path(texts.__file__).parents[1]
CHINESE = re.compile("[\u4e00-\u9fff]")


def places(sentence: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_names_are_listed_as_each_language_lists_them() -> None:
    assert listed(["a"], "or", "或") == ("a", "a")
    assert listed(["a", "b", "c"], "or", "或") == ("a, b or c", "a、b 或 c")


def test_every_models_terms_are_said_in_both_languages() -> None:
    models = [model for each in FAMILIES.values() for model in each.models.values()]
    assert len({model.territory for model in models}) > 1
    for model in models:
        chinese = [model.territory_zh, model.notice[1] or "无", model.licence_zh or "无"]
        assert all(CHINESE.search(text) for text in chinese), model.name
        assert bool(model.notice[0]) == bool(model.notice[1]), model.name
        a_name = re.fullmatch(r"[-.\w]+|Tencent HY Community License", model.licence)
        assert bool(a_name) != bool(model.licence_zh), model.name  # names stay as they are


@pytest.mark.parametrize("key", TEXTS)
def test_a_sentence_stands_in_both_languages_with_the_same_places(key: str) -> None:
    english, chinese = TEXTS[key]
    assert english.strip() == english != ""
    assert chinese.strip() == chinese != ""
    assert not CHINESE.search(english)
    assert CHINESE.search(chinese) or chinese == english  # a name or a figure is the same in both
    assert places(english) == places(chinese)


def test_every_key_that_the_pages_name_exists_and_none_is_idle() -> None:
    """A key stands in quotes; one made of parts begins with an f-string's first part."""
    tables = {UI / "texts" / f"{name}.py" for name in ("shared", "tabs", "admin")}
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in UI.rglob("*.py") if path not in tables
    )
    groups = "|".join(sorted({key.split(".")[0] for key in TEXTS}))
    named = set(re.findall(rf"""["']((?:{groups})\.[a-z0-9_.]+)["']""", source))
    begun = tuple(re.findall(rf"""f["']((?:{groups})\.[a-z0-9_.]*){{""", source))
    assert named - set(TEXTS) == set()
    idle = {key for key in TEXTS if key not in named and not key.startswith(begun)}
    assert {key for key in idle if key.removesuffix(".one") not in named} == set()


def test_a_key_for_gradio_has_a_prefix_so_that_no_value_is_translated_by_chance() -> None:
    told = translations(admin=True).translations
    assert set(told) == {"en", "zh-CN"}
    for table in told.values():
        assert set(table) == {f"q.{key}" for key in TEXTS}


def test_the_public_page_carries_no_sentence_of_admin() -> None:
    for table in translations(admin=False).translations.values():
        assert set(table) == {f"q.{key}" for key in TEXTS if not key.startswith("admin.")}


def test_a_label_nobody_wrote_is_refused() -> None:
    assert label("rerank.query").key == "q.rerank.query"
    with pytest.raises(KeyError):
        label("rerank.nonsense")


def test_every_family_has_its_title_among_the_texts() -> None:
    for family in FAMILIES.values():
        assert TEXTS[f"tab.{family.name}"] == family.title


def test_a_sentence_with_a_value_is_escaped_once_in_both_languages() -> None:
    said = say("model.runs_on", model="<b>&", device="CPU")
    assert said == (
        '<span class="l-en">&lt;b&gt;&amp; on CPU</span>'
        '<span class="l-zh" lang="zh-CN">&lt;b&gt;&amp;，运行于 CPU</span>'
    )


def test_a_value_may_have_its_own_two_languages() -> None:
    said = say("model.runs_on", model=("Words only", "仅按词匹配"), device="CPU")
    assert "Words only on CPU" in said
    assert "仅按词匹配，运行于 CPU" in said


def test_a_value_is_never_read_as_a_place() -> None:
    assert "{0.__class__}" in say("model.runs_on", model="{0.__class__}", device="CPU")


def test_one_is_said_in_the_singular() -> None:
    assert "1 of 1 document<" in say("rerank.shown", shown=1, count=1)
    assert "1 of 2 documents<" in say("rerank.shown", shown=1, count=2)


def test_plain_text_has_both_languages_in_a_line() -> None:
    assert plain("rerank.no_query") == "Enter a query / 请输入查询"
    assert "<" not in plain("guard.bug", request_id="x")


def test_a_refusal_carries_its_field_and_both_languages() -> None:
    refused = refusal("rerank.too_many", "documents", found=5, most=3)
    assert isinstance(refused, BadInput)
    assert (refused.field, refused.status) == ("documents", 422)
    assert refused.text.startswith("5 documents; at most 3")
    assert "共 5 篇文档" in refused.zh


def test_two_texts_side_by_side_are_escaped() -> None:
    assert both("<i>", "<u>").count("&lt;") == 2


def test_the_version_in_the_footer_is_the_project_s() -> None:
    project = tomllib.loads((UI.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == shell.VERSION
