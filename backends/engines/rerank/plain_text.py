"""
Text of strangers, made harmless for one tokenizer.

What they write can neither end a turn, part a pair, nor stand for a picture: the tokenizer's own
special tokens get a space behind their first character.
"""

import re
from typing import Any


class PlainText:
    def __init__(self, tokenizer: Any) -> None:
        special = [re.escape(each.content) for each in tokenizer.added_tokens_decoder.values()]
        self._special = re.compile("|".join(sorted(special, key=len, reverse=True)) or r"(?!)")

    def __call__(self, text: str) -> str:
        text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate becomes "?"
        return self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
