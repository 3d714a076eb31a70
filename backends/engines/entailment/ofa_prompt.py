"""
A claim as the tokens that OFA was trained on: cleaned, put into a question, cut at its limits.

The tokenizer's settings are never changed after it is built, so any number of threads may use it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, ByteLevelBPETokenizer

from backends.engines.entailment import Claim
from backends.engines.entailment.ofa_files import Geometry, Options
from backends.errors import BadInput, ModelLoadError

_ALONE = ' does the image describe " {} "?'
_WITH_PREMISE = ' can image and text1 " {} " imply text2 " {} "?'
_GAP = "{}"
_CODES, _PLACES = 8192, 1000  # tokens for pictures and places, that its vocabulary ends with


@dataclass(frozen=True, slots=True)
class Question:
    """`ids` for the encoder; `lead` is what the decoder reads before it answers."""

    ids: tuple[int, ...]
    lead: tuple[int, ...]
    cut: bool  # the end was not read


class Questions:
    def __init__(self, folder: Path, options: Options, geometry: Geometry) -> None:
        self._limit = options.max_src_length
        self._begin, self._end = geometry.bos_token_id, geometry.eos_token_id
        self._rereads = options.prompt_type == "prev_output"
        self._alone, self._both = _prompts(options.prompt)
        self._tokenizer = _tokenizer(folder)
        if self._tokenizer.get_vocab_size() > geometry.vocab_size:
            raise ModelLoadError(
                f"vocab.json has {self._tokenizer.get_vocab_size()} tokens with those for pictures "
                f"and places; config.json has room for {geometry.vocab_size}"
            )

    @property
    def takes_premise(self) -> bool:
        return self._both is not None

    def ask(self, claim: Claim) -> Question:
        """Raises BadInput for a statement without words."""
        hypothesis, is_cut = self._cleaned(claim.hypothesis)
        if not hypothesis:
            raise BadInput(
                "A statement is empty; write what the picture may show.",
                zh="有一条语句为空；请写下图片可能显示的内容。",
                field="statements",
            )
        premise, premise_is_cut = self._cleaned(claim.premise)
        if premise and self._both:
            text = _filled(self._both, premise, hypothesis)
            is_cut = is_cut or premise_is_cut
        else:
            text = _filled(self._alone, hypothesis)
        tokens = self._tokens(text)
        ids = (self._begin, *tokens[: self._limit], self._end)
        lead = ids[:-1] if self._rereads else ids[:1]
        return Question(ids, lead, is_cut or len(tokens) > self._limit)

    def answer(self, text: str) -> tuple[int, ...]:
        """An answer's tokens, as they follow a question."""
        return self._tokens(f" {text}")

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text).ids)

    def _cleaned(self, text: str) -> tuple[str, bool]:
        """As the training texts were, and whether words are left out. Surrogates become "?"."""
        text = text.encode("utf-8", "replace").decode("utf-8").lower().lstrip(",.!?*#:;~")
        text = text.replace("-", " ").replace("/", " ").replace("<person>", "person")
        text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
        words = text.split(" ")
        return " ".join(words[: self._limit]), len(words) > self._limit


def _prompts(given: str) -> tuple[str, str | None]:
    """
    For a statement alone, and beside a premise. A checkpoint's own prompt replaces the one that
    it has gaps for; with one gap it leaves no place for a premise.
    """
    gaps = given.count(_GAP)
    if not given:
        return _ALONE, _WITH_PREMISE
    if gaps not in (1, 2):
        raise ModelLoadError(f"configuration.json: prompt has {gaps} gaps {_GAP} instead of 1 or 2")
    return (given, None) if gaps == 1 else (_ALONE, given)


def _filled(prompt: str, *texts: str) -> str:
    """Not `str.format`: a checkpoint's prompt is not code."""
    pieces = prompt.split(_GAP)
    return pieces[0] + "".join(t + p for t, p in zip(texts, pieces[1:], strict=True))


def _tokenizer(folder: Path) -> ByteLevelBPETokenizer:
    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    mask = AddedToken("<mask>", lstrip=True)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", mask])
    codes = [f"<code_{n}>" for n in range(_CODES)]
    tokenizer.add_tokens([*codes, *(f"<bin_{n}>" for n in range(_PLACES))])
    return tokenizer
