"""
Every sentence on screen, English and Chinese, side by side.

Three ways to say one: `label` for Gradio's own components (the browser picks the language),
`say` for our HTML (both are there, CSS shows one), `plain` for toasts and field messages, which
leave Python without knowing the reader ("Enter a query / 请输入查询").

A value put into a sentence is escaped by `say`, and only by `say`.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from backends.engines.translate.languages import LANGUAGES
from backends.errors import BadInput
from backends.families import FAMILIES

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
    "guard.senseless": (
        "The page sent something that cannot be used. Reload it and try again.",
        "页面发送的内容无法使用，请刷新页面后重试。",
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
    "rerank.pictures": ("Pictures to rank", "待排序的图片"),
    "rerank.query_picture": ("Picture as query", "以图片作为查询"),
    "rerank.file": ("Or a file: .txt, .csv or .jsonl", "或上传文件：.txt、.csv 或 .jsonl"),
    "rerank.from_file": (
        "{count} documents from {name}, ranked together with the lines above.",
        "已从 {name} 读取 {count} 篇文档，将与上方各行一起排序。",
    ),
    "rerank.from_file.one": (
        "{count} document from {name}, ranked together with the lines above.",
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
    "rerank.example_meaning": ("Beyond words", "重含义，轻字面"),
    "rerank.example_chinese": ("Chinese", "中文示例"),
    "rerank.example_across": ("Cross-language", "跨语言"),
    "rerank.example_pictures": ("Pictures", "含图片"),
    "rerank.example_hard": ("Hard case", "有难度的"),
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
    "rerank.lower_it.one": (
        "{count} document is hidden. Lower “Lowest score to show” in Options.",
        "已隐藏 {count} 篇文档。请在选项中调低“最低显示得分”。",
    ),
    "rerank.shown": ("{shown} of {count} documents", "共 {count} 篇文档，显示 {shown} 篇"),
    "rerank.shown.one": ("{shown} of {count} document", "共 {count} 篇文档，显示 {shown} 篇"),
    "rerank.marks": ("underlined: words of the query", "下划线：查询中的词"),
    "rerank.rose": ("up {count} from where you put it", "比原位置上升 {count} 位"),
    "rerank.fell": ("down {count} from where you put it", "比原位置下降 {count} 位"),
    "rerank.stayed": ("where you put it", "位置未变"),
    "rerank.were_cut": (
        "{count} of these are longer than the model reads; their ends did not count.",
        "其中 {count} 篇超出模型可读长度，末尾部分未参与评分。",
    ),
    "rerank.were_cut.one": (
        "{count} of these is longer than the model reads; its end did not count.",
        "其中 {count} 篇超出模型可读长度，末尾部分未参与评分。",
    ),
    "rerank.cut": ("end not read", "末尾未读"),
    "rerank.below.one": (
        "{count} more scored below {threshold} and is hidden.",
        "另有 {count} 篇得分低于 {threshold}，已隐藏。",
    ),
    "rerank.below": (
        "{count} more scored below {threshold} and are hidden.",
        "另有 {count} 篇得分低于 {threshold}，已隐藏。",
    ),
    "rerank.cleaned": (
        "Characters that are not text (NUL, halves of surrogate pairs) were removed.",
        "已移除不属于文本的字符（NUL、残缺的代理字符）。",
    ),
    "rerank.ignored": (
        "The instruction was ignored: {model} does not follow one.",
        "任务指令未生效：{model} 不支持指令。",
    ),
    # pictures
    "picture.too_heavy": (
        "The picture is larger than {most} MB; send a smaller one",
        "图片超过 {most} MB，请换一张较小的",
    ),
    "picture.gone": (
        "The picture is no longer here; add it again",
        "图片已失效，请重新添加",
    ),
    # the entailment tab
    "entailment.image": ("Picture", "图片"),
    "entailment.statements": ("Statements to check, one a line", "待判断的陈述（每行一条）"),
    "entailment.statements_hint": ("There is a cat.", "There is a cat."),
    "entailment.premise": ("Premise", "前提"),
    "entailment.premise_hint": (
        "A sentence taken to be true beside the picture",
        "与图片一同视为真的一句话",
    ),
    "entailment.go": ("Check statements", "开始判断"),
    "entailment.example_cat": ("A cat", "一只猫"),
    "entailment.example_coffee": ("A cup of coffee", "一杯咖啡"),
    "entailment.example_person": ("A portrait", "一幅肖像"),
    "entailment.nothing_yet": ("No verdicts yet", "尚无结论"),
    "entailment.start": (
        "An example is filled in: press Check statements, or put in your own picture.",
        "示例已填好：点击“开始判断”，或换成您自己的图片。",
    ),
    "entailment.count": ("{count} statements", "{count} 条陈述"),
    "entailment.count.one": ("{count} statement", "{count} 条陈述"),
    "entailment.yes": ("Yes", "是"),
    "entailment.maybe": ("Maybe", "可能"),
    "entailment.no": ("No", "否"),
    "entailment.found": ("Found", "找到"),
    "entailment.checked": ("Checked", "检查"),
    "entailment.unchecked": ("Not checked", "未检查"),
    "entailment.note": ("Note", "说明"),
    "entailment.measured_before": (
        "Measured before on our own statements, the same for every picture.",
        "以下比例事先在我们自己的陈述上测得，对每张图片都相同。",
    ),
    "entailment.measured": (
        "Of 100 answers {label}, the truth was Yes {yes}, Maybe {maybe}, No {no} times.",
        "每 100 次回答“{label}”，实际为“是”{yes} 次、“可能”{maybe} 次、“否”{no} 次。",
    ),
    "entailment.own": (
        "Yes {yes}%, Maybe {maybe}%, No {no}%",
        "是 {yes}%，可能 {maybe}%，否 {no}%",
    ),
    "entailment.code_picture": (
        "Save your picture as photo.jpg beside it; the name does not matter.",
        "请将图片保存为同一目录下的 photo.jpg，文件名无关紧要。",
    ),
    "entailment.no_image": ("Add a picture", "请添加图片"),
    "entailment.no_statements": ("Write at least one statement", "请至少写一条陈述"),
    "entailment.too_many": (
        "{found} statements; at most {most} are checked at once. Remove some.",
        "共 {found} 条陈述，一次最多 {most} 条，请减少。",
    ),
    "entailment.too_long": (
        "A text of {found} characters; at most {most} are read. Shorten it.",
        "有一段文本包含 {found} 个字符，最多读取 {most} 个，请缩短。",
    ),
    # the fusion tab
    "fusion.source": ("Source face", "来源人脸"),
    "fusion.target": ("Target photo", "目标照片"),
    "fusion.face": ("Which face", "选择人脸"),
    "fusion.faces": (
        "{count} faces were found: click one in the picture, or choose it here.",
        "找到 {count} 张人脸：点击图中的一张，或在此选择。",
    ),
    "fusion.one_face": ("One face was found.", "找到一张人脸。"),
    "fusion.no_face": (
        "No face was found; use a picture where one looks towards the camera.",
        "未找到人脸，请使用人脸朝向镜头的图片。",
    ),
    "fusion.face_number": ("Face {number}", "人脸 {number}"),
    "fusion.blend": ("Blend strength", "融合强度"),
    "fusion.shape": ("Shape of the source", "来源脸型"),
    "fusion.consent": (
        "Everyone pictured has agreed to this edit",
        "照片中的所有人均已同意此编辑",
    ),
    "fusion.go": ("Fuse faces", "融合人脸"),
    "fusion.cancel": ("Cancel", "取消"),
    "fusion.example_there": ("Two portraits", "两幅肖像"),
    "fusion.example_back": ("The other way round", "反过来"),
    "fusion.nothing_yet": ("No result yet", "尚无结果"),
    "fusion.start": (
        "Two public-domain portraits are filled in. Confirm the consent, then press Fuse faces. "
        "Pictures stay on this server and are deleted after {minutes} minutes.",
        "已填入两幅公有领域肖像。请确认同意后点击“融合人脸”。"
        "图片仅保存在本服务器，{minutes} 分钟后删除。",
    ),
    "fusion.waiting": ("Waiting, number {position} in the queue", "排队中，第 {position} 位"),
    "fusion.running": ("Working", "处理中"),
    "fusion.checking": ("Checking the pictures", "检查图片"),
    "fusion.finding": ("Finding the faces", "查找人脸"),
    "fusion.fusing": ("Fusing", "融合中"),
    "fusion.cancelled": ("Cancelled. Nothing was kept.", "已取消，未保留任何内容。"),
    "fusion.done": ("{model} · {milliseconds} ms", "{model} · {milliseconds} 毫秒"),
    "fusion.marked": (
        "Marked as AI-edited, in the picture and in the file. Deleted after {minutes} minutes.",
        "已在画面和文件中标注“AI-edited”，{minutes} 分钟后删除。",
    ),
    "fusion.slide": ("Before and after: slide to compare", "前后对比：拖动滑块"),
    "fusion.before": ("Before", "之前"),
    "fusion.after": ("After", "之后"),
    "fusion.download": ("Download PNG", "下载 PNG"),
    "fusion.code_pictures": (
        "Save the pictures as source.jpg and target.jpg beside it. consent says that everyone "
        "pictured has agreed.",
        "请将图片保存为同一目录下的 source.jpg 和 target.jpg。consent 表示照片中的所有人均已同意。",
    ),
    "fusion.no_source": ("Add a source picture", "请添加来源图片"),
    "fusion.no_target": ("Add a target picture", "请添加目标图片"),
    "fusion.no_consent": (
        "Confirm that everyone pictured has agreed",
        "请确认照片中的所有人均已同意",
    ),
    # the translate tab
    "translate.source": ("From", "源语言"),
    "translate.target": ("To", "目标语言"),
    "translate.detect": ("Detect language", "自动检测"),
    "translate.text": ("Text", "原文"),
    "translate.text_hint": ("Type or paste text", "输入或粘贴文本"),
    "translate.result": ("Translation", "译文"),
    "translate.go": ("Translate", "翻译"),
    "translate.swap": ("Swap sides", "互换"),
    "translate.example_story": ("A story", "一段往事"),
    "translate.example_back": ("From Portuguese", "葡萄牙语原文"),
    "translate.example_kept": ("Placeholders and links", "占位符与链接"),
    "translate.start": (
        "The translation appears here sentence by sentence.",
        "译文会逐句显示在这里。",
    ),
    "translate.done": (
        "{count} characters · {model} · {milliseconds} ms",
        "{count} 个字符 · {model} · {milliseconds} 毫秒",
    ),
    "translate.found": ("found: {language}", "检测到：{language}"),
    "translate.neural": ("neural", "神经网络"),
    "translate.rules": ("rules", "规则"),
    "translate.needs": (
        "{language} needs {models}. An operator can swap to one of them in Admin.",
        "{language}需要 {models}。运维人员可在运维页切换。",
    ),
    "translate.needs_pair": (
        "{model} has no way from {source} to {target} here. {models} would.",
        "{model} 在此无法从{source}译为{target}，{models} 可以。",
    ),
    "translate.code_left_out": (
        "{count} characters are left out here to keep this short; put them in.",
        "为保持简短，此处省略了 {count} 个字符，请自行补上。",
    ),
    # the loaded model
    "model.runs_on": ("{model} on {device}", "{model}，运行于 {device}"),
    "translate.terms": (
        "Translated by a machine: {model}, under the {licence}; {territory}. Its authors do not "
        "endorse this service.",
        "机器翻译：{model}，依据 {licence}；适用地区：{territory}。模型作者不为本服务背书。",
    ),
    "fusion.terms": (
        "A face changed by a machine: {model}, whose weights are for non-commercial research only.",
        "由机器更换的人脸：{model}，其权重仅限用于非商业研究。",
    ),
    "model.provider": (
        "This service is provided by {provider}, not by the model's authors.",
        "本服务由 {provider} 提供，而非模型作者。",
    ),
    "model.more_terms": ("More terms", "更多条款"),
    "model.none": ("No model is loaded.", "当前没有已加载的模型。"),
    "model.gone": (
        "Nobody serves this tab now: its service runs elsewhere. It is looked for again every "
        "few seconds, and the tab works as soon as it is back. The other tabs do not need it.",
        "此标签页目前无法使用：它的服务在别处运行，现在不可用。系统每隔几秒会重试，恢复后即可使用；"
        "其他标签页不受影响。",
    ),
    "model.off": ("Off until a model serves this tab.", "需等待此标签页有模型提供服务。"),
    "model.still_loading": ("One is on its way.", "正在加载。"),
    # where the models of a family stand
    "shelf.all": ("Models and their terms ({count})", "模型与许可条款（{count}）"),
    "shelf.loaded": ("Loaded", "已加载"),
    "shelf.loading": ("Loading", "加载中"),
    "shelf.embedded": ("Comes with the portal", "内置"),
    "shelf.ready": ("Elsewhere", "位于其他服务器"),
    "shelf.on_disk": ("On disk", "已在磁盘上"),
    "shelf.in_pods": ("Loads in its pods", "在其 Pod 中加载"),
    "shelf.fetch": ("Can be fetched from {hub}", "可从 {hub} 下载"),
    "shelf.files": ("Needs files", "需要文件"),
    "shelf.unknown": ("Not in this version", "此版本尚不支持"),
    "shelf.notice": ("Notice", "声明"),
    "shelf.memory": ("Memory for the weights", "权重所需内存"),
    "shelf.sizes": (
        "{bf16} at bf16, {small} at fp8 or int8; {full} at float32, as on a CPU (computed)",
        "bf16 为 {bf16}，fp8 或 int8 为 {small}；float32（在 CPU 上）为 {full}（按参数量计算）",
    ),
    "shelf.one_size": (
        "Small, and only as it comes: there is no bf16, fp8 or int8 of it.",
        "很小，仅有随附的这一种形式，没有 bf16、fp8 或 int8 版本。",
    ),
    "shelf.files_are": ("Files", "文件"),
    "shelf.how": ("How to get it", "如何获取"),
    "shelf.how_swap": ("Admin can swap to it.", "可在运维页切换。"),
    "shelf.how_fetch": (
        "Swap to it in Admin: it is fetched from {hub} then. Or put {files} into {folder}.",
        "在运维页切换到它，届时将从 {hub} 下载；或将 {files} 放入 {folder}。",
    ),
    "shelf.how_files": (
        "Put {files} into {folder}, then swap to it in Admin.",
        "将 {files} 放入 {folder}，然后在运维页切换。",
    ),
    "shelf.asking": ("Asking the hub for its files", "正在向模型库查询文件"),
    "shelf.downloading": ("Fetched {done} of {total}", "已下载 {done}，共 {total}"),
    "shelf.reading": ("Reading the weights", "正在读取权重"),
    "shelf.trying": ("Trying it out", "正在试运行"),
    "model.lacks.instruction": (
        "{model} does not follow instructions; {others} can.",
        "{model} 不支持指令，{others} 支持。",
    ),
    "model.lacks.premise": (
        "{model} goes by the picture alone; {others} can use a premise.",
        "{model} 只依据图片判断，{others} 支持前提。",
    ),
    "model.nobody.premise": (
        "{model} goes by the picture alone, as does every other model here.",
        "{model} 只依据图片判断，此处其他模型也是如此。",
    ),
    "model.lacks.picture_query": (
        "{model} takes no picture as a query; {others} can take one.",
        "{model} 不支持以图片作为查询，{others} 支持。",
    ),
    "model.nobody.picture_query": (
        "{model} takes no picture as a query, nor does any other model here.",
        "{model} 不支持以图片作为查询，此处其他模型也不支持。",
    ),
    "model.lacks.picture_documents": (
        "{model} reads texts only; {others} can read pictures.",
        "{model} 只读取文本，{others} 可读取图片。",
    ),
    "model.nobody.picture_documents": (
        "{model} reads texts only, as does every other model here.",
        "{model} 只读取文本，此处其他模型也是如此。",
    ),
    "model.nobody.instruction": (
        "{model} does not follow instructions, nor does any other model here.",
        "{model} 不支持指令，此处其他模型也不支持。",
    ),
    # the rerank tab: code
    "rerank.code_query_picture": (
        'The picture of your query is left out: send as "query" an object with an "image", base64.',
        '此处省略了查询图片：请将 "query" 设为带有 base64 编码 "image" 的对象。',
    ),
    "rerank.code_left_out.one": (
        "{count} document is left out here to keep this short; put it in.",
        "为保持简短，此处省略了 {count} 篇文档，请自行补上。",
    ),
    "rerank.code_left_out": (
        "{count} documents are left out here to keep this short; put them in.",
        "为保持简短，此处省略了 {count} 篇文档，请自行补上。",
    ),
    "rerank.python": ("Python, standard library only", "Python，仅用标准库"),
    # the rerank tab: what to fix
    "rerank.one_query_picture": (
        "Put in one picture as the query, not {found}",
        "请只放入一张图片作为查询，而不是 {found} 张",
    ),
    "rerank.no_query": ("Enter a query", "请输入查询"),
    "rerank.no_documents": (
        "Enter at least one document, or add a picture",
        "请至少输入一篇文档，或添加一张图片",
    ),
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
    # Admin
    "admin.signed_in": ("{name} · {roles}", "{name} · {roles}"),
    "admin.sign_out": ("Sign out", "退出登录"),
    "admin.every": ("Refresh", "刷新"),
    "admin.every_2": ("2 s", "2 秒"),
    "admin.every_5": ("5 s", "5 秒"),
    "admin.every_15": ("15 s", "15 秒"),
    "admin.every_0": ("Off", "关闭"),
    "admin.updated_1": ("Updated", "更新于"),
    "admin.updated_2": ("s ago", "秒前"),
    "admin.silent": (
        "The portal is silent. Nothing can be changed until it answers.",
        "服务器没有响应。恢复之前无法进行更改。",
    ),
    "admin.old_figures": ("The figures are {seconds} s old.", "指标是 {seconds} 秒前的数据。"),
    "admin.rps": ("Requests", "请求"),
    "admin.p95": ("p95 latency", "p95 延迟"),
    "admin.errors": ("Errors", "错误"),
    "admin.waiting": ("Waiting", "排队"),
    "admin.worst": ("(worst service)", "（最差的服务）"),
    "admin.ago": ("vs 5 min ago", "较 5 分钟前"),
    "admin.no_value": ("no requests in the last minute", "最近一分钟没有请求"),
    "admin.not_yet": ("no figure yet", "暂无数据"),
    "admin.no_change_known": ("no figure from 5 min ago", "5 分钟前没有数据"),
    "admin.running": ("Running", "运行中"),
    "admin.pending": ("Loading", "加载中"),
    "admin.failed": ("Failed", "失败"),
    "admin.terminating": ("Shutting down", "正在关闭"),
    "admin.revision": ("revision", "修订"),
    "admin.revision_label": ("Revision", "修订"),
    "admin.in_flight": ("In flight:", "处理中："),
    "admin.this_process": ("in this process", "在本进程中"),
    "admin.loads": (
        "Loading {model} beside the model that serves.",
        "正在加载 {model}，当前模型继续服务。",
    ),
    "admin.behind": (
        "The record names {wanted}; {model} still serves.",
        "记录中是 {wanted}，目前仍由 {model} 提供服务。",
    ),
    "admin.swap": ("Swap model", "更换模型"),
    "admin.swap_small": ("takes effect on live requests", "对线上请求立即生效"),
    "admin.service": ("Service", "服务"),
    "admin.model": ("Model", "模型"),
    "admin.runs_now": ("Runs now", "正在运行"),
    "admin.licence": ("Licence", "许可证"),
    "admin.source": ("Source", "来源"),
    "admin.runs_on": ("Meant to run on", "建议运行于"),
    "admin.territory": ("Territory", "适用地区"),
    "admin.known": (
        "Known, and not loadable in this version: {models}.",
        "本版本已收录但暂不能加载：{models}。",
    ),
    "admin.lacks": (
        "You may look and not swap: your sign-in lacks the role {role}.",
        "您可以查看但不能更换模型：您的账号没有 {role} 角色。",
    ),
    "admin.no_service": ("There is no service {name}.", "没有名为 {name} 的服务。"),
    "admin.agreed": (
        "I have read its licence and territory, and may use it here",
        "我已阅读其许可证与适用地区，并有权在此使用",
    ),
    "admin.agreed_needed": (
        "Confirm that you may use this model here",
        "请确认您有权在此使用该模型",
    ),
    "admin.stop": ("Stop the download", "停止下载"),
    "admin.review": ("Review change", "查看变更"),
    "admin.confirm": ("Confirm change to", "确认变更："),
    "admin.reason": ("Reason (kept in the audit)", "原因（保存在审计记录中）"),
    "admin.reason_needed": ("Give a reason", "请填写原因"),
    "admin.cancel": ("Cancel", "取消"),
    "admin.apply": ("Swap model", "更换模型"),
    "admin.undo": ("Undo the last swap", "撤销上次更换"),
    "admin.nothing_reviewed": ("Review the change first.", "请先查看变更。"),
    "admin.goes_on": (
        "You may leave this page while it loads: the swap goes on.",
        "加载期间可以离开此页面，更换会继续进行。",
    ),
    "admin.swapped": (
        "{service} now runs {model}, revision {revision}.",
        "{service} 现在运行 {model}，修订 {revision}。",
    ),
    "admin.was_undone": (
        "{service} was not swapped to {asked}; the record names {model} again, "
        "revision {revision}.",
        "{service} 未能更换为 {asked}；记录已恢复为 {model}，修订 {revision}。",
    ),
    "admin.meanwhile": (
        "It took {took}. Requests meanwhile: {answered}, of them failed: {failed}.",
        "用时 {took}。期间请求 {answered} 个，其中失败 {failed} 个。",
    ),
    "admin.never_swapped": ("Nobody has swapped this model yet.", "尚未更换过模型。"),
    "admin.last": (
        "Last change: {model}, revision {revision}, by {by}, {when}. Before it: {previous}.",
        "上次更改：{model}，修订 {revision}，操作人 {by}，{when}。之前：{previous}。",
    ),
    "admin.history": ("Audit", "审计记录"),
    "admin.download": ("Download", "下载"),
    "admin.chain_intact": ("Chain intact, {count} lines", "哈希链完整，共 {count} 行"),
    "admin.chain_intact.one": ("Chain intact, {count} line", "哈希链完整，共 {count} 行"),
    "admin.chain_broken": ("Broken at line {line}: {why}", "第 {line} 行处断裂：{why}"),
    "admin.no_history": ("Nothing was changed yet", "尚无更改"),
    "admin.no_history_hint": (
        "Every change is kept here: who, when, from what to what, and why.",
        "每次更改都会记录在此：操作人、时间、前后内容和原因。",
    ),
    "admin.time": ("Time (UTC)", "时间 (UTC)"),
    "admin.outcome": ("Outcome", "结果"),
    "admin.object": ("What", "对象"),
    "admin.change": ("Change and reason", "变更与原因"),
    "admin.by": ("by {user} ({role})", "操作人：{user}（{role}）"),
    "admin.done": ("Done", "已完成"),
    "admin.undone": ("Undone", "已恢复"),
    "admin.refused": ("Refused", "已拒绝"),
    "admin.failed_change": ("Failed", "失败"),
    "admin.interrupted": ("Interrupted", "已中断"),
    "admin.under_way": ("Under way", "进行中"),
    "admin.recovered": ("Recovered", "已修复"),
    # Admin: the panes
    "admin.needs": ("needs the role {role}", "需要 {role} 角色"),
    "admin.lacks_to": (
        "You may look and change nothing here: your sign-in lacks the role {role}.",
        "您可以查看但不能更改：您的账号没有 {role} 角色。",
    ),
    "admin.actions": ("Actions", "操作"),
    "admin.keep": ("Keep it", "保留"),
    "admin.go": ("Confirm", "确认"),
    "admin.more": (
        "The newest {shown} of {found}; /v1/admin lists them all.",
        "共 {found} 个，此处显示最新的 {shown} 个；/v1/admin 可列出全部。",
    ),
    "admin.tenant": ("Tenant", "租户"),
    "admin.jobs": ("Jobs", "任务"),
    "admin.jobs_small": (
        "fusion, of everybody; never their pictures",
        "所有人的融合任务；不显示图片",
    ),
    "admin.no_jobs": ("No jobs", "没有任务"),
    "admin.no_jobs_hint": (
        "A fusion job stands here from when it is sent until it expires.",
        "融合任务从提交到过期都会显示在这里。",
    ),
    "admin.job": ("Job", "任务"),
    "admin.state": ("State", "状态"),
    "admin.progress": ("Progress", "进度"),
    "admin.age": ("Age", "已提交"),
    "admin.duration": ("Ran for", "运行时长"),
    "admin.error": ("Error", "错误"),
    "admin.place": ("number {position}", "第 {position} 位"),
    "admin.job_waiting": ("Waiting", "等待中"),
    "admin.job_running": ("Running", "运行中"),
    "admin.job_done": ("Done", "已完成"),
    "admin.job_failed": ("Failed", "失败"),
    "admin.job_cancelled": ("Cancelled", "已取消"),
    "admin.job_gone": ("This job is no longer there.", "该任务已不存在。"),
    "admin.job_was_deleted": (
        "The job {job} and its pictures are gone.",
        "任务 {job} 及其图片已删除。",
    ),
    "admin.job_was_ended": ("The job {job} has ended:", "任务 {job} 已结束："),
    "admin.cancel_job_title": ("Cancel the job {job}?", "取消任务 {job}？"),
    "admin.cancel_job_sure": (
        "It stops at its next step. Its owner, of tenant {tenant}, sees it as cancelled.",
        "任务会在下一步停止；其所有者（租户 {tenant}）会看到已取消。",
    ),
    "admin.delete_job_title": ("Delete the job {job}?", "删除任务 {job}？"),
    "admin.delete_job_sure": (
        "Its pictures and its result are gone at once, for its owner, of tenant {tenant}, too.",
        "图片和结果会立即删除，其所有者（租户 {tenant}）也无法再获取。",
    ),
    "admin.delete": ("Delete", "删除"),
    "admin.keys": ("API keys", "API 密钥"),
    "admin.keys_small": ("for programs", "供程序使用"),
    "admin.no_keys": ("No keys", "没有密钥"),
    "admin.no_keys_hint": (
        "Make one for each program, with the scopes that it needs.",
        "请为每个程序创建一个密钥，只授予所需的权限范围。",
    ),
    "admin.make_key": ("Make a key", "创建密钥"),
    "admin.key": ("Key", "密钥"),
    "admin.key_name": ("What it is for", "用途"),
    "admin.scopes": ("Scopes", "权限范围"),
    "admin.scopes_info": (
        "Which services it may ask, and what it may do at /v1/admin",
        "可以调用哪些服务，以及在 /v1/admin 可以做什么",
    ),
    "admin.days": ("Days valid", "有效天数"),
    "admin.per_minute": ("Per minute", "每分钟"),
    "admin.per_day": ("Per day", "每天"),
    "admin.empty_is_none": (
        "Requests per minute and per day. An empty field: no end, no limit of its own.",
        "每分钟和每天的请求数。留空表示不过期、不单独限制。",
    ),
    "admin.no_number": (
        "{given} is no whole number; leave the field empty for none.",
        "{given} 不是整数；不限制请留空。",
    ),
    "admin.key_made": (
        "The key {name} is made. Copy its secret now: it is never shown again.",
        "密钥 {name} 已创建。请立即复制：此后不会再显示。",
    ),
    "admin.secret": ("Secret", "密钥内容"),
    "admin.made": ("Made", "创建于"),
    "admin.expires": ("Expires", "过期"),
    "admin.limits": ("Limits", "限额"),
    "admin.never": ("never", "永不"),
    "admin.a_minute": ("{count} a minute", "每分钟 {count} 次"),
    "admin.a_day": ("{count} a day", "每天 {count} 次"),
    "admin.revoke": ("Revoke", "吊销"),
    "admin.revoked": ("Revoked", "已吊销"),
    "admin.expired": ("Expired", "已过期"),
    "admin.revoke_title": ("Revoke the key {name} ({id})?", "吊销密钥 {name}（{id}）？"),
    "admin.revoke_sure": (
        "Programs that send it are refused from then on. A revoked key never comes back.",
        "使用它的程序会立即被拒绝。吊销后无法恢复。",
    ),
    "admin.was_revoked": ("The key {name} opens nothing any more.", "密钥 {name} 已失效。"),
    "admin.accounts": ("Accounts", "账号"),
    "admin.accounts_small": ("who may sign in to Admin", "可登录运维页面的人"),
    "admin.no_accounts": ("No accounts", "没有账号"),
    "admin.no_accounts_hint": (
        "Until there is one, the one-time token that is printed at the start signs in.",
        "在创建账号之前，使用启动时打印的一次性令牌登录。",
    ),
    "admin.account": ("Name", "用户名"),
    "admin.name": ("Name", "用户名"),
    "admin.password": ("Password, at least 12 characters", "密码（至少 12 个字符）"),
    "admin.roles": ("Roles", "角色"),
    "admin.roles_info": (
        "viewer looks; operator sees to jobs, keys and accounts; swapper exchanges models",
        "viewer 可查看；operator 管理任务、密钥和账号；swapper 可更换模型",
    ),
    "admin.add_account": ("Add an account", "添加账号"),
    "admin.was_added": ("{name} may sign in now.", "{name} 现在可以登录。"),
    "admin.token_ends": (
        "You are signed in by the one-time token, which ends with the first account: you will be "
        "asked to sign in with it. Make it an operator.",
        "您正使用一次性令牌登录；创建第一个账号后令牌即失效，需用该账号重新登录。"
        "请授予 operator 角色。",
    ),
    "admin.you": ("you", "您"),
    "admin.remove": ("Remove", "移除"),
    "admin.remove_title": ("Remove the account {name}?", "移除账号 {name}？"),
    "admin.remove_sure": (
        "{name} can no longer sign in, and what they have open ends at once.",
        "{name} 将无法登录，已打开的会话会立即结束。",
    ),
    "admin.was_removed": ("{name} can no longer sign in.", "{name} 已无法登录。"),
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
