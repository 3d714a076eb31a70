"""
Every sentence on screen, English and Chinese, side by side.

Three ways to say one: `label` for Gradio's own components (the browser picks the language),
`say` for our HTML (both are there, CSS shows one), `plain` for toasts and field messages, which
leave Python without knowing the reader ("Enter a query / 请输入查询").

A value put into a sentence is escaped by `say`, and only by `say`.
"""

from html import escape
from typing import Any

import gradio as gr

from backends.families import FAMILIES

TEXTS: dict[str, tuple[str, str]] = {
    **{f"tab.{family.name}": family.title for family in FAMILIES.values()},
    # the shell
    "shell.purpose": ("{verbs} on your own hardware", "在自己的硬件上{verbs}"),
    "shell.ready": ("Ready", "就绪"),
    "shell.loading": ("Loading", "加载中"),
    "shell.failed": ("Not serving", "未提供服务"),
    "shell.draining": ("Shutting down", "正在关闭"),
    "shell.partly": ("Partly ready", "部分就绪"),
    "shell.pages": ("Pages", "页面"),
    "shell.admin": ("Admin", "运维"),
    "shell.dark": ("Dark theme", "深色主题"),
    "shell.api": ("API reference", "API 文档"),
    "shell.metrics": ("Metrics", "指标"),
    "shell.runs": ("runs this tab", "运行当前标签页"),
    "shell.options": ("Options", "选项"),
    "shell.code": ("Call this from code", "代码调用"),
    "shell.copy": ("Copy", "复制"),
    "shell.copied": ("Copied", "已复制"),
    # the guard
    "guard.title": ("Not done", "未完成"),
    "guard.bug": (
        "Something went wrong on our side. Try again; if it stays, give the operator this number: "
        "{request_id}",
        "程序内部出错。请重试；如仍失败，请将此编号告知管理员：{request_id}",
    ),
    "guard.sign_in": ("Sign in first.", "请先登录。"),
    "guard.denied": (
        "Your sign-in lacks the role {role}, which this needs.",
        "此操作需要 {role} 角色，您的账号没有该角色。",
    ),
}


def _read(key: str, values: dict[str, Any]) -> tuple[str, str]:
    english, chinese = TEXTS[key]
    return english.format_map(values), chinese.format_map(values)


I18N = gr.I18n(
    # Namespaced: Gradio also translates any plain value that happens to equal a key.
    en={f"q.{key}": english for key, (english, _) in TEXTS.items()},
    **{"zh-CN": {f"q.{key}": chinese for key, (_, chinese) in TEXTS.items()}},
)


def label(key: str) -> Any:
    """For a label, placeholder or button of Gradio's; translated in the browser, no values."""
    if key not in TEXTS:
        raise KeyError(key)
    return I18N(f"q.{key}")


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


def beside(english: str, chinese: str) -> str:
    return f"{english} / {chinese}" if chinese else english
