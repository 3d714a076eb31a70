"""
What a translating language model is told, word for word as its authors wrote it.

Pure tables. A book holds one form for each wish it can grant, and one for none. Every form grants
one wish only, so where a passage has several the first of ORDER is granted: what breaks a text
when it is lost goes before what colours it. The source language is never named: models detect it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from backends.engines.translate import Passage
from backends.engines.translate.languages import chinese, name

PLAIN = ""
ORDER: tuple[str, ...] = ("html", "delimiters", "glossary", "context", "style")
CHINESE = frozenset({"zh", "zh-Hant", "yue"})


@dataclass(frozen=True, slots=True)
class Book:
    """
    `forms` by wish; `chinese` is the plain form where Chinese stands on either side. The forms of
    the wishes in `speaks_chinese` take the language's Chinese name. `most` is the longest answer
    in tokens that its authors ask for.
    """

    name: str
    forms: Mapping[str, str]
    chinese: str
    term: str
    speaks_chinese: frozenset[str]
    most: int

    def grants(self) -> tuple[str, ...]:
        return tuple(wish for wish in ORDER if wish in self.forms)


_CHINESE_PLAIN = "将以下文本翻译为{target}，注意只需要输出翻译后的结果，不要额外解释：\n\n{text}"

HYMT15 = Book(
    name="hy-mt1.5",
    forms={
        PLAIN: "Translate the following segment into {target}, without additional explanation."
        "\n\n{text}",
        "glossary": "参考下面的翻译：\n{terms}\n\n将以下文本翻译为{target}，"
        "注意只需要输出翻译后的结果，不要额外解释：\n{text}",
        "context": "{context}\n参考上面的信息，把下面的文本翻译成{target}，"
        "注意不需要翻译上文，也不要额外解释：\n{text}\n",
        "html": "将以下<source></source>之间的文本翻译为{target}，"
        "注意只需要输出翻译后的结果，不要额外解释，"
        "原文中的<sn></sn>标签表示标签内文本包含格式信息，需要在译文中相应的位置尽量保留该标签。"
        "输出格式为：<target>str</target>\n\n<source>{text}</source>",
    },
    chinese=_CHINESE_PLAIN,
    term="{term} 翻译成 {translation}",
    speaks_chinese=frozenset({"glossary", "context", "html"}),
    most=2048,
)

HYMT2 = Book(
    name="hy-mt2",
    forms={
        PLAIN: "Translate the following text into {target}. Note that you should only output the "
        "translated result without any additional explanation:\n\n{text}",
        "delimiters": "Please accurately translate the following text into {target}.\nYou must "
        "retain the exact same number of delimiters in the translation. Strictly do not omit, "
        "escape, or translate these symbols, and pay close attention to their placement."
        "\n\n{text}",
        "glossary": "Reference the following translations:\n{terms}\n\nTranslate the following "
        "text into {target}. Note that you must ONLY output the translated result without any "
        "additional explanation:\n\n{text}",
        "context": "[Background Information]\n{context}\n\nPlease translate the following text "
        "into {target}, taking the provided background information into consideration.\n\n"
        "[Source Text]\n{text}",
        "style": "Please translate the following text into {target}. Note that the translation "
        "style must strictly conform to [{style}]:\n\n{text}",
    },
    chinese=_CHINESE_PLAIN,
    term="{term} translates to {translation}",
    speaks_chinese=frozenset(),
    most=4096,
)

BOOKS: Mapping[str, Book] = {book.name: book for book in (HYMT15, HYMT2)}


def granted(book: Book, passage: Passage) -> tuple[str, tuple[str, ...]]:
    """The wish that the book grants, PLAIN for none, and those that it could have granted alone."""
    wished = [wish for wish in book.grants() if getattr(passage, wish)]
    return (wished[0], tuple(wished[1:])) if wished else (PLAIN, ())


def render(book: Book, wish: str, passage: Passage, text: str) -> str:
    """The prompt for a text of the passage. Only terms that stand in the text are told."""
    terms = [book.term.format(term=t, translation=w) for t, w in _told(passage.glossary, text)]
    if wish == "glossary" and not terms:
        wish = PLAIN
    is_chinese = wish == PLAIN and bool(CHINESE & {passage.source, passage.target})
    form = book.chinese if is_chinese else book.forms[wish]
    in_chinese = is_chinese or wish in book.speaks_chinese
    return form.format(
        target=chinese(passage.target) if in_chinese else name(passage.target),
        text=text,
        terms="\n".join(terms),
        context=passage.context,
        style=_on_one_line(passage.style),
    )


def _told(glossary: Collection[tuple[str, str]], text: str) -> Iterator[tuple[str, str]]:
    lower = _on_one_line(text).lower()
    for term, translation in ((_on_one_line(t), _on_one_line(w)) for t, w in glossary):
        if term and term.lower() in lower:
            yield term, translation


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
