"""
The prompt of a Qwen-VL reranker: one pair as the row of tokens that the model was trained on.

The checkpoint's own chat template frames it; text of strangers can neither end a turn nor stand
for a picture. Only a document's text is ever cut, by the tokenizer's offsets, and the row says so.
Stops at tokens: pixels are `qwen_pictures`, the network is `qwen_scoring`.
"""

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

from transformers import ProcessorMixin, Qwen2_5_VLProcessor

from backends.engines.picture import Picture
from backends.engines.rerank import Document, Pair, picture_of, text_of
from backends.engines.rerank.plain_text import PlainText
from backends.engines.rerank.qwen_pictures import Looks, check_shape
from backends.errors import BadInput, ModelLoadError

_MOST_CHARS = 24  # to a token: what lies beyond that many of the longest row is never looked at
_MARK = "\ue000"
_PICTURE = "<|image_pad|>"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What tells one model of this architecture from another. Pixels and tokens are the most."""

    name: str
    title: str
    system: str
    instruction: str
    min_pixels: int
    max_pixels: int
    max_length: int
    yes: str = "yes"
    no: str = "no"
    empty: str = "NULL"


@dataclass(frozen=True, slots=True)
class Row:
    """
    A pair in tokens: `kinds` is 1 where a picture stands. The first `shared` tokens are the same
    for every document of this query. `pictures` in the order in which they stand.
    """

    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    pictures: tuple[Picture, ...]
    shared: int
    cut: bool


class ImageTextProcessor(Qwen2_5_VLProcessor):  # type: ignore[misc]
    """
    Without a video processor, which would need torchvision. The library reads the parts to load
    from this signature, so leaving one out here is what leaves it unloaded.
    """

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None
    ) -> None:
        for kind in ("image", "video"):
            token = f"<|{kind}_pad|>"
            setattr(self, f"{kind}_token", token)
            setattr(self, f"{kind}_token_id", tokenizer.convert_tokens_to_ids(token))
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class Prompt:
    """Rows of one loaded checkpoint. Safe from any thread: the tokenizer is used under a lock."""

    def __init__(self, processor: Any, recipe: Recipe, looks: Looks) -> None:
        self._recipe = recipe
        self._looks = looks
        self._processor = processor
        self._tokenizer = processor.tokenizer
        # Padding and truncation are state inside a fast tokenizer, so even its readers queue.
        self._lock = threading.Lock()
        self._template = processor.chat_template or self._tokenizer.chat_template
        if not self._template:
            raise ModelLoadError("the checkpoint has no chat template")
        self._plain = PlainText(self._tokenizer)
        self._head, self._tail = self._frame()
        self._vision = self._picture_frame()

    def answers(self) -> tuple[int, int]:
        """The tokens of yes and of no. ModelLoadError unless each is exactly one."""
        found = []
        for word in (self._recipe.yes, self._recipe.no):
            ids = self._tokenizer.encode(word, add_special_tokens=False)
            if len(ids) != 1:
                raise ModelLoadError(f"its tokenizer makes {len(ids)} tokens of {word!r}, not one")
            found.append(int(ids[0]))
        return found[0], found[1]

    def row(self, pair: Pair) -> Row:
        """BadInput if a picture is too narrow, or the query leaves no room for the document."""
        for side, field in ((pair.query, "query"), (pair.document, "documents")):
            if (picture := picture_of(side)) is not None:
                check_shape(picture, field)
        instruction = self._plain(pair.instruction or self._recipe.instruction)
        query = f"<Instruct>: {instruction}<Query>:{self._side(pair.query)}\n"
        front = f"{self._head}{query}<Document>:{self._shown(picture_of(pair.document))}"
        pictures = tuple(p for p in (picture_of(pair.query), picture_of(pair.document)) if p)
        text = self._plain(text_of(pair.document) or "")
        if not text and picture_of(pair.document) is None:
            text = self._recipe.empty
        ids, offsets, cut = self._fitted(front, text)
        kinds = self._processor.create_mm_token_type_ids([ids])[0]
        expected = sum(self._looks.tokens(each) for each in pictures)
        assert sum(kinds) == expected, "a picture's tokens are not where it stands"
        begun = len(self._head) + len(query) + 1  # up to "<" of "<Document>": the same in each row
        shared = bisect_right(offsets, begun, key=lambda span: span[1])
        return Row(tuple(ids), tuple(kinds), pictures, shared, cut)

    def _side(self, side: Document) -> str:
        """A picture, then a text, or the word for neither."""
        text = self._plain(text_of(side) or "")
        return self._shown(picture_of(side)) + text or self._recipe.empty

    def _shown(self, picture: Picture | None) -> str:
        if picture is None:
            return ""
        before, after = self._vision
        return before + _PICTURE * self._looks.tokens(picture) + after

    def _fitted(self, front: str, text: str) -> tuple[list[int], list[tuple[int, int]], bool]:
        """Tokens and offsets of the whole row, the end of `text` left out until it fits."""
        most = self._recipe.max_length
        size = min(len(text), most * _MOST_CHARS)
        while True:
            ids, offsets = self._encode(front + text[:size] + self._tail)
            if len(ids) <= most:
                return ids, offsets, size < len(text)
            ends = bisect_left(offsets, len(front) + size, key=lambda span: span[0])
            size = offsets[max(0, ends - (len(ids) - most))][0] - len(front)
            if size <= 0:
                raise self._no_room(len(self._encode(front + self._tail)[0]))

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        with self._lock:
            found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return found["input_ids"], found["offset_mapping"]

    def _frame(self) -> tuple[str, str]:
        """What the template puts before and behind the user's words."""
        before, mark, after = self._rendered([{"type": "text", "text": _MARK}]).partition(_MARK)
        if not mark or _MARK in after:
            raise ModelLoadError("its chat template does not show the user's words once")
        return before, after

    def _picture_frame(self) -> tuple[str, str]:
        """What the template puts around a picture, between two words of the user."""
        word = {"type": "text", "text": _MARK}
        if self._rendered([word, word]) != f"{self._head}{_MARK}{_MARK}{self._tail}":
            raise ModelLoadError("its chat template does not join what the user says plainly")
        shown = self._rendered([word, {"type": "image"}, word]).split(_MARK)[1]
        if shown.count(_PICTURE) != 1:
            raise ModelLoadError(f"its chat template does not write {_PICTURE} for a picture")
        before, _, after = shown.partition(_PICTURE)
        return before, after

    def _rendered(self, content: list[dict[str, str]]) -> str:
        system = {"role": "system", "content": [{"type": "text", "text": self._recipe.system}]}
        said: str = self._tokenizer.apply_chat_template(
            [system, {"role": "user", "content": content}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
        )
        return said

    def _no_room(self, taken: int) -> BadInput:
        most, name = self._recipe.max_length, self._recipe.name
        return BadInput(
            f"The query, its instruction and the pictures have {taken} tokens; {name} reads {most} "
            "with the document. Shorten the query or the instruction.",
            zh=f"查询、指令和图片共有 {taken} 个词元，{name} 连同文档最多读取 {most} 个。"
            "请缩短查询或指令。",
            field="query",
        )
