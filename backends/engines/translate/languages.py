"""
Languages: codes, names, scripts, and which of them HY-MT speaks.

Pure. What a loaded model can do on this machine is in its `Capabilities`; here is only what a
code means and how it is called.
"""

import re
from dataclasses import dataclass

from backends.errors import BadInput


@dataclass(frozen=True, slots=True)
class Language:
    """
    `name` and `chinese` are also the words HY-MT's prompts take; `own` is what its speakers call
    it. `script` is the first word of its letters' Unicode names; `dialect` marks the five
    that HY-MT lists apart from its 33 languages.
    """

    code: str
    name: str
    chinese: str
    own: str
    script: str
    dialect: bool = False


LANGUAGES: dict[str, Language] = {
    language.code: language
    for language in (
        Language("zh", "Chinese", "中文", "中文", "CJK"),
        Language("en", "English", "英语", "English", "LATIN"),
        Language("fr", "French", "法语", "Français", "LATIN"),
        Language("pt", "Portuguese", "葡萄牙语", "Português", "LATIN"),
        Language("es", "Spanish", "西班牙语", "Español", "LATIN"),
        Language("ja", "Japanese", "日语", "日本語", "CJK"),
        Language("tr", "Turkish", "土耳其语", "Türkçe", "LATIN"),
        Language("ru", "Russian", "俄语", "Русский", "CYRILLIC"),
        Language("ar", "Arabic", "阿拉伯语", "العربية", "ARABIC"),
        Language("ko", "Korean", "韩语", "한국어", "HANGUL"),
        Language("th", "Thai", "泰语", "ไทย", "THAI"),
        Language("it", "Italian", "意大利语", "Italiano", "LATIN"),
        Language("de", "German", "德语", "Deutsch", "LATIN"),
        Language("vi", "Vietnamese", "越南语", "Tiếng Việt", "LATIN"),
        Language("ms", "Malay", "马来语", "Bahasa Melayu", "LATIN"),
        Language("id", "Indonesian", "印尼语", "Bahasa Indonesia", "LATIN"),
        Language("tl", "Filipino", "菲律宾语", "Filipino", "LATIN"),
        Language("hi", "Hindi", "印地语", "हिन्दी", "DEVANAGARI"),
        Language("zh-Hant", "Traditional Chinese", "繁体中文", "繁體中文", "CJK"),
        Language("pl", "Polish", "波兰语", "Polski", "LATIN"),
        Language("cs", "Czech", "捷克语", "Čeština", "LATIN"),
        Language("nl", "Dutch", "荷兰语", "Nederlands", "LATIN"),
        Language("km", "Khmer", "高棉语", "ខ្មែរ", "KHMER"),
        Language("my", "Burmese", "缅甸语", "မြန်မာ", "MYANMAR"),
        Language("fa", "Persian", "波斯语", "فارسی", "ARABIC"),
        Language("gu", "Gujarati", "古吉拉特语", "ગુજરાતી", "GUJARATI"),
        Language("ur", "Urdu", "乌尔都语", "اردو", "ARABIC"),
        Language("te", "Telugu", "泰卢固语", "తెలుగు", "TELUGU"),
        Language("mr", "Marathi", "马拉地语", "मराठी", "DEVANAGARI"),
        Language("he", "Hebrew", "希伯来语", "עברית", "HEBREW"),
        Language("bn", "Bengali", "孟加拉语", "বাংলা", "BENGALI"),
        Language("ta", "Tamil", "泰米尔语", "தமிழ்", "TAMIL"),
        Language("uk", "Ukrainian", "乌克兰语", "Українська", "CYRILLIC"),
        Language("bo", "Tibetan", "藏语", "བོད་སྐད་", "TIBETAN", dialect=True),
        Language("kk", "Kazakh", "哈萨克语", "Қазақша", "CYRILLIC", dialect=True),
        Language("mn", "Mongolian", "蒙古语", "Монгол", "CYRILLIC", dialect=True),
        Language("ug", "Uyghur", "维吾尔语", "ئۇيغۇرچە", "ARABIC", dialect=True),
        Language("yue", "Cantonese", "粤语", "粵語", "CJK", dialect=True),
        # Not one of HY-MT's: Apertium's, in the embedded translator.
        Language("ca", "Catalan", "加泰罗尼亚语", "Català", "LATIN"),
    )
}

HYMT: tuple[str, ...] = tuple(code for code in LANGUAGES if code != "ca")
NEURAL: tuple[str, ...] = ("en", "pt")
WITH_RULES: tuple[str, ...] = ("en", "pt", "es", "ca", "fr", "it")

# Codes in use for a language above, in lower case. A region that says nothing more falls away
# by itself (pt-BR is pt).
ALIASES: dict[str, str] = {
    "zh-tw": "zh-Hant",
    "zh-hk": "zh-Hant",
    "zh-mo": "zh-Hant",
    "zh-hant": "zh-Hant",
    "zh-yue": "yue",
    "zht": "zh-Hant",
    "cmn": "zh",
    "fil": "tl",
    "iw": "he",
    "in": "id",
    "eng": "en",
    "por": "pt",
    "spa": "es",
    "cat": "ca",
    "fra": "fr",
    "ita": "it",
}

_CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


def resolve(code: str, *, field: str) -> str:
    """
    The code of LANGUAGES that is meant by `code`, such as "zh" by "zh_CN".
    Raises BadInput, naming the field, when none is.
    """
    lower = code.strip().lower().replace("_", "-")
    if _CODE.fullmatch(lower):
        parts = lower.split("-")
        for length in range(len(parts), 0, -1):  # zh-hant-hk, zh-hant, zh
            start = "-".join(parts[:length])
            if known := ALIASES.get(start) or (start if start in LANGUAGES else None):
                return known
    raise BadInput(
        f'"{code[:20]}" is no language of this service; it knows {", ".join(LANGUAGES)}.',
        zh=f"本服务没有语言“{code[:20]}”；可用的语言代码：{'、'.join(LANGUAGES)}。",
        field=field,
    )


def name(code: str) -> str:
    """The English name; a code that we have no name for names itself."""
    return LANGUAGES[code].name if code in LANGUAGES else f'the language "{code}"'


def chinese(code: str) -> str:
    return LANGUAGES[code].chinese if code in LANGUAGES else f"语言“{code}”"
