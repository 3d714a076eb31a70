"""
HY-MT1.5 and Hy-MT2: Tencent's translating language models, one engine for all sizes.

Prompts run in waves of rows, padded on the left. After every token of a wave each row is asked
whether its reader still listens, so a stream works for every row and a caller who left stops
after one token. One wave at a time has the device.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from backends.engines import Emit, Model
from backends.engines.memory import enough_memory, give_back
from backends.engines.translate import Passage, Translation, chat, checkpoint, drawing
from backends.engines.translate.chat import Hear, Prompt, Spoken
from backends.engines.translate.prompts import Book
from backends.settings import Settings

ROWS = 32  # of a wave
WAVE_TOKENS = 16_384  # of a wave, padded, answers not counted


class Hunyuan:
    """`Engine` and `Voice`."""

    def __init__(
        self, row: Model, book: Book, loaded: checkpoint.Checkpoint, *, draws: bool
    ) -> None:
        self.model = row.name
        self.title = row.title
        self.capabilities = row.capabilities
        self.book = book
        self._words = loaded.words
        self._network: Any = loaded.model
        self._draws = draws
        self.device = "CPU" if loaded.model.device.type == "cpu" else "GPU"
        self._turn = threading.Lock()

    def tokens(self, item: Passage) -> int:
        return chat.tokens(self, item)

    def run(self, batch: Sequence[Passage], emit: Emit) -> list[Translation]:
        return chat.translate(self, batch, emit)

    def close(self) -> None:
        self._network = None
        give_back()

    def length(self, text: str) -> int:
        return self._words.length(text)

    def say(self, asked: Sequence[Prompt], hear: Hear) -> list[Spoken]:
        rows = [
            _Row(n, prompt, self._words, chat.longest(self.book, prompt), hear)
            for n, prompt in enumerate(asked)
        ]
        for number, wave in enumerate(_waves(rows)):
            here = [row for row in wave if number == 0 or row.is_heard()]
            if here:
                self._generate(here)
        return [Spoken(row.said, row.is_cut) for row in rows]

    def _generate(self, wave: Sequence["_Row"]) -> None:
        longest = max(len(row.prompt) for row in wave)
        padded = [[self._words.pad] * (longest - len(row.prompt)) + row.prompt for row in wave]
        ids = torch.tensor(padded)
        mask = torch.tensor(
            [[n >= longest - len(row.prompt) for n in range(longest)] for row in wave]
        )
        draw = [drawing.Draw([row.seed for row in wave])] if self._draws else []
        with self._turn, enough_memory(), torch.inference_mode():
            self._network.generate(
                input_ids=ids.to(self._network.device),
                attention_mask=mask.long().to(self._network.device),
                generation_config=self._config(max(row.most for row in wave)),
                logits_processor=LogitsProcessorList(draw),
                stopping_criteria=StoppingCriteriaList([_Listening(wave)]),
            )

    def _config(self, most: int) -> GenerationConfig:
        """All that is set: the checkpoint's own settings were taken off at load."""
        return GenerationConfig(
            do_sample=False,  # Draw leaves one token to take
            max_new_tokens=most,
            repetition_penalty=drawing.PENALTY,
            eos_token_id=list(self._words.ends),
            pad_token_id=self._words.pad,
            # penalised as padding in a batch and not alone, so it may not be an answer at all
            suppress_tokens=[n for n in (self._words.pad,) if n not in self._words.ends] or None,
        )


class _Row:
    """One prompt on its way to an answer. Text is passed on when its characters are whole."""

    def __init__(
        self, number: int, asked: Prompt, words: checkpoint.Words, most: int, hear: Hear
    ) -> None:
        self.prompt = words.prompt(asked.text)
        self.seed = asked.seed
        self.most = most
        self.said = ""
        self.is_cut = False
        self.has_ended = False
        self._number = number
        self._words = words
        self._hear = hear
        self._ids: list[int] = []
        self._start = 0  # of the tokens that are decoded again, for what stands before the new one
        self._told = 0

    def is_heard(self) -> bool:
        """Asked before it begins, when time has passed."""
        return self._hear(self._number, "", False)

    def take(self, token: int) -> bool:
        """One more token; True when nothing more is wanted."""
        if self.has_ended:
            return True
        ends = token in self._words.ends
        if not ends:
            self._ids.append(token)
            self.is_cut = ends = len(self._ids) >= self.most
        added = self._new_text(ends)
        self.said += added
        self.has_ended = not self._hear(self._number, added, ends) or ends
        return self.has_ended

    def _new_text(self, is_last: bool) -> str:
        """What the latest tokens add, once no character of it is in halves."""
        before = self._words.text(self._ids[self._start : self._told])
        whole = self._words.text(self._ids[self._start :])
        if is_last:  # an answer that was cut off may end in half a character
            whole = whole.rstrip("\ufffd")
        if len(whole) <= len(before) or whole.endswith("\ufffd"):
            return ""
        self._start, self._told = self._told, len(self._ids)
        return whole[len(before) :]


class _Listening(StoppingCriteria):  # type: ignore[misc]  # the library's own is untyped here
    """Called after each token of a wave: passes it on, and stops the rows that are done."""

    def __init__(self, wave: Sequence[_Row]) -> None:
        self._wave = wave

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        newest = input_ids[:, -1].tolist()
        done = [row.take(token) for row, token in zip(self._wave, newest, strict=True)]
        return torch.tensor(done, device=input_ids.device)


def _waves(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Rows in their order, as many as fit: a reader waits for the first, not for the longest."""
    wave: list[_Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(row.prompt))
        if wave and (len(wave) == ROWS or longest * (len(wave) + 1) > WAVE_TOKENS):
            yield wave
            wave, longest = [], len(row.prompt)
        wave.append(row)
    if wave:
        yield wave


def load(row: Model, book: Book, folder: Path, settings: Settings) -> Hunyuan:
    """The engine of one row of the table, from a checkpoint's folder."""
    loaded = checkpoint.load(folder, settings.models)
    return Hunyuan(row, book, loaded, draws=settings.translate.sampling == "recommended")
