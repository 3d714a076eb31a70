"""What the four tabs say."""

TABS: dict[str, tuple[str, str]] = {
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
}
