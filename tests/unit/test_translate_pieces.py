"""A long text for a language model: where it is cut, in any script, and how it is joined."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engines.translate import pieces, text
from backends.engines.translate.languages import HYMT
from backends.engines.translate.text import Run

# Two sentences in every language of the table that has a mark of its own for a sentence's end.
TWO = {
    "zh": ("今天天气很好。", "我们去公园。"),
    "ja": ("図書館は九時に開きます。", "猫は寝ています。"),
    "hi": ("पुस्तकालय नौ बजे खुलता है।", "बिल्ली सो रही है।"),
    "bn": ("গ্রন্থাগার নয়টায় খোলে।", "বিড়াল ঘুমায়।"),
    "ur": ("کتب خانہ نو بجے کھلتا ہے۔", "بلی سو رہی ہے۔"),
    "ar": ("هل المكتبة مفتوحة؟", "القطة نائمة."),
    "fa": ("کتابخانه باز است؟", "گربه خوابیده است."),
    "my": ("စာကြည့်တိုက် ဖွင့်သည်။", "ကြောင် အိပ်နေသည်။"),
    "km": ("បណ្ណាល័យបើកម៉ោងប្រាំបួន។", "ឆ្មាកំពុងគេង។"),
    "bo": ("དཔེ་མཛོད་ཁང་ཕྱེ་སོང༌།", "ཞི་མི་གཉིད་འདུག"),
    "ko": ("도서관은 아홉 시에 엽니다.", "고양이가 잡니다."),
    "ru": ("Библиотека открывается в девять.", "Кошка спит."),
    "th": ("ห้องสมุดเปิดเก้าโมง", "แมวนอนหลับ"),
}
MARKED = sorted(TWO.keys() - {"th"})  # Thai parts sentences by a space
SPACED = {"ko", "ru", "ar", "fa", "ur"}  # a mark ends nothing there without a space behind it


def characters(piece: str) -> int:
    return len(piece)


def said(runs: list[Run]) -> list[str]:
    return [run.text for run in runs if run.is_said]


@pytest.mark.parametrize("code", MARKED)
def test_a_sentence_ends_where_its_script_ends_one(code: str) -> None:
    for gap in (" ",) if code in SPACED else (" ", ""):
        assert said(text.split(gap.join(TWO[code]))) == list(TWO[code])


@pytest.mark.parametrize("code", TWO)
def test_a_long_text_of_any_script_is_cut_between_sentences(code: str) -> None:
    first, second = TWO[code]
    gap = "" if code in pieces.SOLID else " "
    long = gap.join([first, second] * 100)
    cut = pieces.cut(long, 420, characters)
    assert text.join(cut) == long
    assert len(said(cut)) > 2
    for piece in said(cut):
        assert len(piece) <= 420
        assert piece.startswith((first, second))
        assert piece.endswith((first, second))


def test_a_sentence_that_fits_is_never_parted_however_long_it_is() -> None:
    sentence = f"The {'very ' * 100}long day, which is over, ends."
    assert len(sentence) > text.LIMIT
    cut = pieces.cut(" ".join([sentence] * 9), 1000, characters)
    assert said(cut) == [sentence] * 9


def test_a_sentence_that_does_not_fit_is_parted_at_clauses() -> None:
    clause = "the people at the table were talking about the weather"
    long = f"{', '.join([clause] * 30)}. The end."
    cut = pieces.cut(long, 500, characters)
    assert text.join(cut) == long
    assert all(len(piece) <= 500 for piece in said(cut))
    assert all(piece.endswith((",", ".")) for piece in said(cut))


@pytest.mark.parametrize("code", ["th", "hi", "km", "my", "bo"])
def test_where_nothing_tells_where_to_cut_no_letter_loses_its_marks(code: str) -> None:
    word = "".join(c for c in "".join(TWO[code]) if not c.isspace() and c not in "།།།༌")
    word = word.replace("།", "").replace("။", "").replace("।", "").replace("។", "")
    for shift in range(12):
        parts = said(text.split("a" * shift + word * 60))
        assert len(parts) > 1
        for before, part in pairwise(parts):
            assert not unicodedata.category(part[0]).startswith("M")
            assert unicodedata.combining(before[-1]) != 9  # it binds the next letter


@pytest.mark.parametrize("target", ["zh", "zh-Hant", "yue", "ja"])
def test_into_chinese_and_japanese_no_space_stands_between_sentences(target: str) -> None:
    runs = [Run("One.", True), Run(" ", False), Run("Two.", True), Run("\n ", False)]
    runs += [Run("Three.", True), Run("Four.", True), Run("  ", False)]
    joined = pieces.jointed(runs, target)
    assert text.join(joined) == "One.Two.\n Three.Four.  "


@pytest.mark.parametrize("target", sorted(set(HYMT) - pieces.SOLID))
def test_into_other_languages_a_space_stands_between_sentences(target: str) -> None:
    runs = [Run("一。", True), Run("二。", True), Run("\u3000", False), Run("三。", True)]
    runs += [Run("\n", False), Run("四。", True), Run("  ", False), Run("五。", True)]
    assert text.join(pieces.jointed(runs, target)) == "一。 二。 三。\n四。  五。"


@given(
    st.text(st.sampled_from("ab .\n,。你ก่।क्ष\u3000"), max_size=60), st.sampled_from(["zh", "en"])
)
def test_jointing_changes_nothing_but_spaces(passage: str, target: str) -> None:
    runs = pieces.cut(passage, 2, lambda each: len(each) // 3 + 1)
    joined = pieces.jointed(runs, target)
    assert said(joined) == said(runs)
    assert "".join(text.join(joined).split()) == "".join(passage.split())
    assert text.join(joined).count("\n") == passage.count("\n")
