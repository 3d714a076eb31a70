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

from backends.errors import BadInput
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
    # the rerank tab: what one fills in
    "rerank.query": ("Query", "查询"),
    "rerank.query_hint": ("What are you looking for?", "想找什么？"),
    "rerank.documents": ("Documents, one a line", "文档（每行一篇）"),
    "rerank.documents_hint": ("Paste texts here, one a line", "在此粘贴文本，每行一篇"),
    "rerank.file": ("Or a file: .txt, .csv or .jsonl", "或上传文件：.txt、.csv 或 .jsonl"),
    "rerank.from_file": (
        "{count} documents from {name}, ranked together with the lines above.",
        "已从 {name} 读取 {count} 篇文档，将与上方各行一起排序。",
    ),
    "rerank.top_n": ("Show top", "显示前几篇"),
    "rerank.threshold": ("Lowest score to show", "最低显示得分"),
    "rerank.instruction": ("Instruction", "任务指令"),
    "rerank.instruction_hint": (
        "What counts as a good match, in a sentence",
        "用一句话说明怎样才算匹配",
    ),
    "rerank.go": ("Rank documents", "开始排序"),
    "rerank.examples": ("Try", "试试"),
    "rerank.example_meaning": ("Meaning over words", "重含义，轻字面"),
    "rerank.example_chinese": ("In Chinese", "中文"),
    "rerank.example_across": ("Across languages", "跨语言"),
    "rerank.example_hard": ("A hard one", "有难度的"),
    # the rerank tab: what it answers
    "rerank.nothing_yet": ("No ranking yet", "尚未排序"),
    "rerank.start": (
        "An example is filled in: press Rank documents, or put in your own texts.",
        "示例已填好：点击“开始排序”，或换成您自己的文本。",
    ),
    "rerank.none_above": ("Nothing scored {threshold} or more", "没有文档的得分达到 {threshold}"),
    "rerank.lower_it": (
        "{count} documents are hidden. Lower “Lowest score to show” in Options.",
        "已隐藏 {count} 篇文档。请在选项中调低“最低显示得分”。",
    ),
    "rerank.shown": ("{shown} of {total} documents", "共 {total} 篇文档，显示 {shown} 篇"),
    "rerank.marks": ("underlined: words of the query", "下划线：查询中的词"),
    "rerank.rose": ("up {count} from where you put it", "比原位置上升 {count} 位"),
    "rerank.fell": ("down {count} from where you put it", "比原位置下降 {count} 位"),
    "rerank.stayed": ("where you put it", "位置未变"),
    "rerank.were_cut": (
        "{count} of these are longer than the model reads; their ends did not count.",
        "其中 {count} 篇超出模型可读长度，末尾部分未参与评分。",
    ),
    "rerank.cut": ("end not read", "末尾未读"),
    "rerank.below": (
        "{count} more scored below {threshold} and are hidden.",
        "另有 {count} 篇得分低于 {threshold}，已隐藏。",
    ),
    "rerank.cleaned": (
        "Characters that no model can read (NUL, broken surrogates) were replaced by �.",
        "无法读取的字符（NUL、残缺的代理字符）已替换为 �。",
    ),
    "rerank.ignored": (
        "The instruction was ignored: {model} does not follow one.",
        "任务指令未生效：{model} 不支持指令。",
    ),
    # the loaded model
    "model.runs_on": ("{model} on {device}", "{model}，运行于 {device}"),
    "model.none": ("No model is loaded.", "当前没有已加载的模型。"),
    "model.still_loading": ("One is on its way.", "正在加载。"),
    "model.can_load": (
        "Also here: {model} ({about}). Admin can swap to it.",
        "还可使用：{model}（{about}），可在运维页切换。",
    ),
    "model.cannot_load": (
        "Not in this version: {model} ({about}). It needs a {device} and a loader, which a coming "
        "version brings.",
        "此版本尚不支持：{model}（{about}）。它需要 {device}，其加载器将在后续版本中提供。",
    ),
    "model.lacks.instruction": (
        "{model} does not follow instructions. {others} does.",
        "{model} 不支持指令，{others} 支持。",
    ),
    "model.nobody.instruction": (
        "{model} does not follow instructions, nor does any other model here.",
        "{model} 不支持指令，此处其他模型也不支持。",
    ),
    # the rerank tab: code
    "rerank.code_left_out": (
        "{count} documents are left out here to keep this short; put them in.",
        "为保持简短，此处省略了 {count} 篇文档，请自行补上。",
    ),
    "rerank.python": ("Python, standard library only", "Python，仅用标准库"),
    # the rerank tab: what to fix
    "rerank.no_query": ("Enter a query", "请输入查询"),
    "rerank.no_documents": ("Enter at least one document", "请至少输入一篇文档"),
    "rerank.too_long": (
        "{found} characters; at most {most} are read. Shorten it.",
        "共 {found} 个字符，最多 {most} 个，请缩短。",
    ),
    "rerank.too_many": (
        "{found} documents; at most {most} are ranked at once. Remove some.",
        "共 {found} 篇文档，一次最多 {most} 篇，请减少。",
    ),
    "rerank.bad_top_n": ("Enter a whole number, 1 or more", "请输入不小于 1 的整数"),
    "rerank.file_kind": (
        "{name} is no .txt, .csv or .jsonl file",
        "{name} 不是 .txt、.csv 或 .jsonl 文件",
    ),
    "rerank.not_utf8": (
        "{name} is not UTF-8 text; save it as UTF-8 and drop it again",
        "{name} 不是 UTF-8 文本，请另存为 UTF-8 后重新上传",
    ),
    "rerank.empty_file": ("{name} holds no documents", "{name} 中没有文档"),
    "rerank.bad_line": (
        "Line {line} of {name} cannot be read as a document",
        "{name} 第 {line} 行无法读取为文档",
    ),
    "rerank.file_gone": (
        "The file is no longer here; drop it again",
        "文件已失效，请重新上传",
    ),
}


def _read(key: str, values: dict[str, Any]) -> tuple[str, str]:
    """A value may itself be (English, Chinese)."""
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


def refusal(key: str, field: str, **values: Any) -> BadInput:
    """What is wrong with a field, ready to raise."""
    english, chinese = _read(key, values)
    return BadInput(english, zh=chinese, field=field)
