"""
Text cross-encoders: BERT and XLM-RoBERTa with one number as output, such as bge and MiniLM.

Query and document go through the network as one pair; the relevance is the sigmoid of its number.
Only the document is ever cut, by the tokenizer's offsets, and the answer says so. Texts only.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from backends import settings
from backends.engines import Emit
from backends.engines.device import label
from backends.engines.memory import enough_memory, give_back
from backends.engines.pretrained import read_network
from backends.engines.rerank import Pair, Relevance, text_document, text_query
from backends.engines.rerank.plain_text import PlainText
from backends.errors import BadInput, ModelLoadError

LONGEST = {"bge-reranker-v2-m3": 1024, "ms-marco-minilm-l6-v2": 512}  # tokens of a pair
_MOST_CHARS = 24  # to a token: what lies beyond that many of the longest pair is never looked at


@dataclass(frozen=True, slots=True)
class _Row:
    """A pair in tokens; `kinds` is 1 for the document's, empty for a model that has no kinds."""

    ids: list[int]
    kinds: list[int]
    cut: bool


class CrossEncoder:
    """One loaded checkpoint. The tokenizer is used under a lock, and never pads nor cuts."""

    def __init__(self, name: str, tokenizer: Any, network: Any) -> None:
        self.model = name
        self.longest = _longest(name, tokenizer, network.config)
        self.device = label(network.device)
        self._tokenizer = tokenizer
        self._network: Any = network
        self._plain = PlainText(tokenizer)
        self._kinds = "token_type_ids" in tokenizer.model_input_names
        self._lock = threading.Lock()

    def tokens(self, item: Pair) -> int:
        return len(self._row(item).ids)

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        assert self._network is not None, "run after close"
        rows = [self._row(pair) for pair in batch]
        with enough_memory(), torch.inference_mode():
            logits = self._network(**self._padded(rows)).logits[:, 0].float()
            scores = torch.sigmoid(logits).tolist()
        return [Relevance(score, row.cut) for score, row in zip(scores, rows, strict=True)]

    def close(self) -> None:
        """Give the weights back."""
        self._network = None
        give_back()

    def _row(self, pair: Pair) -> _Row:
        """BadInput if there is a picture, or if the query leaves no room for a document."""
        query = self._plain(text_query(pair, self.model))
        text = self._plain(text_document(pair, self.model))
        size = min(len(text), self.longest * _MOST_CHARS)
        while True:
            found = self._encode(query, text[:size])
            excess = len(found.ids) - self.longest
            if excess <= 0:
                return _Row(found.ids, found.type_ids if self._kinds else [], size < len(text))
            places = [at for at, side in enumerate(found.sequence_ids) if side == 1]
            if len(places) <= excess:
                raise self._no_room(len(found.ids) - len(places))
            size = found.offsets[places[-excess]][0]

    def _encode(self, query: str, document: str) -> Any:
        with self._lock:
            # as lists: alone, an empty document would make it a row without a second side
            return self._tokenizer([query], [document], verbose=False).encodings[0]

    def _padded(self, rows: list[_Row]) -> dict[str, torch.Tensor]:
        """On the right: these models read their first position."""
        longest = max(len(row.ids) for row in rows)
        shape, device = (len(rows), longest), self._network.device
        ids = torch.full(shape, self._tokenizer.pad_token_id)
        mask, kinds = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        for n, row in enumerate(rows):
            ids[n, : len(row.ids)] = torch.tensor(row.ids)
            mask[n, : len(row.ids)] = 1
            kinds[n, : len(row.kinds)] = torch.tensor(row.kinds, dtype=torch.long)
        padded = {"input_ids": ids, "attention_mask": mask}
        if rows[0].kinds:
            padded["token_type_ids"] = kinds
        return {name: each.to(device) for name, each in padded.items()}

    def _no_room(self, taken: int) -> BadInput:
        return BadInput(
            f"The query has {taken} tokens; {self.model} reads {self.longest} with the document. "
            "Shorten the query.",
            zh=f"查询有 {taken} 个词元，{self.model} 连同文档最多读取 {self.longest} 个。"
            "请缩短查询。",
            field="query",
        )


def load(folder: Path, group: settings.Models, name: str) -> CrossEncoder:
    """Raises ModelLoadError for a checkpoint that would answer nonsense."""
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    network = read_network(
        AutoModelForSequenceClassification, folder, group, attn_implementation="sdpa"
    )
    if network.config.num_labels != 1:
        raise ModelLoadError(f"it answers {network.config.num_labels} numbers for a pair, not one")
    if tokenizer.pad_token_id is None or not tokenizer.is_fast:
        raise ModelLoadError("its tokenizer has no padding token, or no offsets")
    two_kinds = getattr(network.config, "type_vocab_size", 1) > 1
    if two_kinds and "token_type_ids" not in tokenizer.model_input_names:
        raise ModelLoadError("its tokenizer does not tell the query's tokens from the document's")
    return CrossEncoder(name, tokenizer, network)


def _longest(name: str, tokenizer: Any, config: Any) -> int:
    """What the recipe says, unless the checkpoint has room for less."""
    room = int(config.max_position_embeddings)
    if config.model_type in ("xlm-roberta", "roberta"):
        room -= config.pad_token_id + 1  # their positions begin behind the padding token's number
    return min(LONGEST[name], room, int(tokenizer.model_max_length))
