"""What a translation says of itself, in English and Chinese. Pure; every sentence is here."""

from collections.abc import Sequence

from backends.engines import Model
from backends.engines.translate.languages import chinese, name

Said = tuple[str, str]  # (English, Chinese), as a Model's `about`

OPTIONS: dict[str, Said] = {
    "glossary": ("the glossary", "术语表"),
    "context": ("the context", "上下文"),
    "style": ("the style", "文风"),
    "delimiters": ("the rule on delimiters", "分隔符要求"),
}

_WISHES: dict[str, Said] = {"html": ("the tags of HTML", "HTML 标签"), **OPTIONS}


def ignored(options: Sequence[str], title: str) -> Said:
    english = " and ".join(OPTIONS[option][0] for option in options)
    return (
        f"{title} cannot use {english}: it was ignored.",
        f"{title} 不支持{'、'.join(OPTIONS[option][1] for option in options)}，已忽略。",
    )


def one_wish(used: str, left_out: Sequence[str], title: str) -> Said:
    english = " and ".join(_WISHES[option][0] for option in left_out)
    return (
        f"{title} follows one wish at a time: it used {_WISHES[used][0]}, and not {english}.",
        f"{title} 一次只能采用一种要求：采用了{_WISHES[used][1]}，"
        f"未采用{'、'.join(_WISHES[option][1] for option in left_out)}。",
    )


def context_cut(characters: int) -> Said:
    return (
        f"Of the context only the last {characters:,} characters were used.",
        f"上下文仅采用了最后 {characters:,} 个字符。",
    )


def html_as_text(title: str) -> Said:
    return (
        f"{title} reads HTML as text: tags stay where they are, and entities as they are.",
        f"{title} 把 HTML 当作文本：标签与实体原样保留。",
    )


def guessed(code: str, confidence: float) -> Said:
    return (
        f"The language is a guess: {name(code)}, with a confidence of {confidence:.2f}.",
        f"源语言是猜测的：{chinese(code)}，置信度 {confidence:.2f}。",
    )


def looks_like(found: str, given: str) -> Said:
    return (
        f"The text looks like {name(found)}, not {name(given)}.",
        f"文本看起来是{chinese(found)}，而不是{chinese(given)}。",
    )


def already(code: str) -> Said:
    return (
        f"The text seems to be in {name(code)} already; it was left as it is.",
        f"文本似乎已经是{chinese(code)}，未作改动。",
    )


def apart(count: int) -> Said:
    return (
        f"{_sentences(count)} translated in parts, to keep all of it: read that again.",
        f"为保留全部内容，有 {count} 个句子是分段翻译的，请再核对。",
    )


def kept(count: int) -> Said:
    return (
        f"{_sentences(count)} not translated, and stands as it was.",
        f"有 {count} 个句子未能翻译，保留原文。",
    )


def too_long(count: int) -> Said:
    return (
        f"The answer was cut off at its longest length {_times(count)}: the end may be missing.",
        f"译文有 {count} 处达到最大长度而被截断，结尾可能缺失。",
    )


def marked(count: int) -> Said:
    return (
        f"Words that the rules do not know are marked with *: {count}.",
        f"规则不认识 {count} 个词，已用 * 标出。",
    )


def terms(model: Model, provider: str) -> str:
    """
    What the licence of a model wants said with each of its translations; "" where it wants none.
    `provider` is the legal entity behind this service, "" where nobody has named it.
    """
    if not model.terms_with_results:
        return ""
    who = (
        f" This service is provided by {provider}, not by the model's authors." if provider else ""
    )
    return (
        f"Translated by a machine: {model.title}, under the {model.licence}; {model.territory}. "
        f"Its authors do not endorse this service.{who} {model.notice[0]}"
    )


def _sentences(count: int) -> str:
    return "1 sentence was" if count == 1 else f"{count} sentences were"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
