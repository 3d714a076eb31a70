"""What a translating model is told, word for word, for every wish and every language."""

from dataclasses import replace

import pytest

from backends.engines.translate import Passage
from backends.engines.translate.languages import HYMT, LANGUAGES
from backends.engines.translate.prompts import BOOKS, HYMT2, HYMT15, Book, granted, render

TEXT = "It’s on the house."
TO_FRENCH = Passage(TEXT, "en", "fr")
TO_CHINESE = Passage(TEXT, "en", "zh")
TERMS = (("house", "maison"), ("tree", "arbre"), ("On  the", "sur\nle"))

# From the model cards; the formatted one there is for a target of 中文.
VERBATIM: list[tuple[Book, str, Passage, str]] = [
    (
        HYMT15, "", TO_FRENCH,
        "Translate the following segment into French, without additional explanation.\n\n"
        "It’s on the house.",
    ),
    (
        HYMT15, "", TO_CHINESE,
        "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nIt’s on the house.",
    ),
    (
        HYMT15, "glossary", replace(TO_FRENCH, glossary=TERMS),
        "参考下面的翻译：\nhouse 翻译成 maison\nOn the 翻译成 sur le\n\n将以下文本翻译为法语，"
        "注意只需要输出翻译后的结果，不要额外解释：\nIt’s on the house.",
    ),
    (
        HYMT15, "context", replace(TO_FRENCH, context="At a bar."),
        "At a bar.\n参考上面的信息，把下面的文本翻译成法语，注意不需要翻译上文，也不要额外解释：\n"
        "It’s on the house.\n",
    ),
    (
        HYMT15, "html", replace(TO_CHINESE, html=True),
        "将以下<source></source>之间的文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释，"
        "原文中的<sn></sn>标签表示标签内文本包含格式信息，需要在译文中相应的位置尽量保留该标签。"
        "输出格式为：<target>str</target>\n\n<source>It’s on the house.</source>",
    ),
    (
        HYMT2, "", TO_FRENCH,
        "Translate the following text into French. Note that you should only output the "
        "translated result without any additional explanation:\n\nIt’s on the house.",
    ),
    (
        HYMT2, "", TO_CHINESE,
        "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nIt’s on the house.",
    ),
    (
        HYMT2, "glossary", replace(TO_FRENCH, glossary=TERMS),
        "Reference the following translations:\nhouse translates to maison\nOn the translates to "
        "sur le\n\nTranslate the following text into French. Note that you must ONLY output the "
        "translated result without any additional explanation:\n\nIt’s on the house.",
    ),
    (
        HYMT2, "context", replace(TO_CHINESE, context="At a bar."),
        "[Background Information]\nAt a bar.\n\nPlease translate the following text into Chinese, "
        "taking the provided background information into consideration.\n\n[Source Text]\n"
        "It’s on the house.",
    ),
    (
        HYMT2, "style", replace(TO_FRENCH, style="very\nformal"),
        "Please translate the following text into French. Note that the translation style must "
        "strictly conform to [very formal]:\n\nIt’s on the house.",
    ),
    (
        HYMT2, "delimiters", replace(TO_FRENCH, delimiters=True),
        "Please accurately translate the following text into French.\nYou must retain the exact "
        "same number of delimiters in the translation. Strictly do not omit, escape, or translate "
        "these symbols, and pay close attention to their placement.\n\nIt’s on the house.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("book", "wish", "passage", "prompt"), VERBATIM)
def test_a_prompt_is_what_the_authors_wrote(
    book: Book, wish: str, passage: Passage, prompt: str
) -> None:
    assert render(book, wish, passage, TEXT) == prompt


def test_every_form_of_every_book_is_among_them() -> None:
    seen = {(book.name, wish) for book, wish, _, _ in VERBATIM}
    assert seen == {(book.name, wish) for book in BOOKS.values() for wish in book.forms}


def test_an_answer_may_be_as_long_as_the_authors_ask_for() -> None:
    assert {name: book.most for name, book in BOOKS.items()} == {"hy-mt1.5": 2048, "hy-mt2": 4096}


def test_there_are_33_languages_and_5_dialects_with_both_names() -> None:
    assert len(HYMT) == len(set(HYMT)) == 38
    assert [code for code in HYMT if LANGUAGES[code].dialect] == ["bo", "kk", "mn", "ug", "yue"]
    for code in HYMT:
        for book in BOOKS.values():
            source = "fr" if code == "en" else "en"
            told = render(book, "", Passage(TEXT, source, code), TEXT)
            is_chinese = code in ("zh", "zh-Hant", "yue")
            wanted = LANGUAGES[code].chinese if is_chinese else LANGUAGES[code].name
            assert wanted in told
            assert told.startswith("将以下文本翻译为") is is_chinese


@pytest.mark.parametrize("source", ["zh", "zh-Hant", "yue"])
def test_a_chinese_source_takes_the_chinese_form(source: str) -> None:
    told = render(HYMT15, "", Passage("你好", source, "th"), "你好")
    assert told.startswith("将以下文本翻译为泰语，")


def test_a_text_with_braces_and_forms_in_it_is_only_a_text() -> None:
    text = "{target} {0} {{x}} {text}"
    assert render(HYMT2, "", Passage(text, "en", "fr"), text).endswith(f"\n\n{text}")


def test_terms_that_do_not_stand_in_the_text_are_not_told() -> None:
    passage = replace(TO_FRENCH, glossary=(("tree", "arbre"), (" ", "x")))
    assert render(HYMT15, "glossary", passage, TEXT) == render(HYMT15, "", TO_FRENCH, TEXT)


def test_of_several_wishes_the_first_is_granted_and_the_others_are_named() -> None:
    every = replace(TO_FRENCH, glossary=TERMS, context="c", style="s", delimiters=True, html=True)
    assert granted(HYMT15, every) == ("html", ("glossary", "context"))
    assert granted(HYMT2, every) == ("delimiters", ("glossary", "context", "style"))
    assert granted(HYMT2, replace(every, delimiters=False)) == ("glossary", ("context", "style"))
    assert granted(HYMT15, TO_FRENCH) == ("", ())
