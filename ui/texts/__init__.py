"""
Every sentence on screen, English and Chinese, side by side.

Three ways to say one: `label` for Gradio's own components (the browser picks the language),
`say` for our HTML (both are there, CSS shows one), `plain` for toasts and field messages, which
leave Python without knowing the reader ("Enter a query / 请输入查询").

A value put into a sentence is escaped by `say`, and only by `say`. The sentences are in `shared`,
`tabs` and `admin`.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from backends.engines.translate.languages import LANGUAGES
from backends.errors import BadInput
from backends.families import FAMILIES
from ui.texts.admin import ADMIN
from ui.texts.shared import SHARED
from ui.texts.tabs import TABS

NEEDS = " · "  # stands in the label of a language that the loaded model does not know


TEXTS: dict[str, tuple[str, str]] = {
    **{f"tab.{family.name}": family.title for family in FAMILIES.values()},
    **{f"language.{each.code}": (each.name, each.chinese) for each in LANGUAGES.values()},
    **{
        f"language.{each.code}.needs": (
            f"{each.name}{NEEDS}needs another model",
            f"{each.chinese}{NEEDS}需要其他模型",
        )
        for each in LANGUAGES.values()
    },
    **SHARED,
    **TABS,
    **ADMIN,
}


def _read(key: str, values: dict[str, Any]) -> tuple[str, str]:
    """A value may itself be (English, Chinese); `key.one` is said instead when `count` is 1."""
    if values.get("count") == 1 and f"{key}.one" in TEXTS:
        key = f"{key}.one"
    english, chinese = (
        sentence.format_map(
            {
                name: value[at] if isinstance(value, tuple) else value
                for name, value in values.items()
            }
        )
        for at, sentence in enumerate(TEXTS[key])
    )
    return english, chinese


def translations(*, admin: bool) -> gr.I18n:
    """
    Every sentence for the browser, for Gradio's own components; Admin's for Admin's page alone.
    Namespaced: Gradio also translates any plain value that happens to equal a key.
    """
    told = {key: both for key, both in TEXTS.items() if admin or not key.startswith("admin.")}
    english, chinese = ({f"q.{key}": both[at] for key, both in told.items()} for at in (0, 1))
    return gr.I18n(en=english, **{"zh-CN": chinese})


def label(key: str) -> Any:
    """For a label, placeholder or button of Gradio's; translated in the browser, no values."""
    if key not in TEXTS:
        raise KeyError(key)
    return I18nData(f"q.{key}")


def both(english: str, chinese: str) -> str:
    """Two plain texts as one piece of HTML; CSS shows the reader's language."""
    return (
        f'<span class="l-en">{escape(english)}</span>'
        f'<span class="l-zh" lang="zh-CN">{escape(chinese)}</span>'
    )


def say(key: str, **values: Any) -> str:
    """The sentence as HTML in both languages, everything escaped."""
    return both(*_read(key, values))


def plain(key: str, **values: Any) -> str:
    """Both languages in one plain line, for where neither HTML nor the reader is known."""
    return beside(*_read(key, values))


def listed(names: Sequence[str], english: str, chinese: str) -> tuple[str, str]:
    """Names in a sentence, "a, b or c" and "a、b 或 c", with the last word of each language."""
    *most, last = names
    if not most:
        return last, last
    return f"{', '.join(most)} {english} {last}", f"{'、'.join(most)} {chinese} {last}"


def beside(english: str, chinese: str) -> str:
    return f"{english} / {chinese}" if chinese else english


def refusal(key: str, field: str, **values: Any) -> BadInput:
    """What is wrong with a field, ready to raise."""
    english, chinese = _read(key, values)
    return BadInput(english, zh=chinese, field=field)
