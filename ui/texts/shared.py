"""What the public page and Admin both say: the frame around everything, and the models."""

SHARED: dict[str, tuple[str, str]] = {
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
}
