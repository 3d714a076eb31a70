"""
Rerankers built on Qwen2.5-VL: Lychee-Rerank-MM and its kin.

Texts, pictures and both on either side, judged one pair at a time under an instruction. This is
the engine: what it loads and refuses to load, which rows share their query's part, what a pair
costs. The prompt is `qwen_prompt`, the looking `qwen_pictures`, the network `qwen_scoring`.
"""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging

from backends import settings
from backends.engines import Emit
from backends.engines.device import label
from backends.engines.memory import enough_memory, give_back
from backends.engines.pretrained import read_network
from backends.engines.rerank import DEFAULT_INSTRUCTION, Pair, Relevance
from backends.engines.rerank.qwen_pictures import Looks
from backends.engines.rerank.qwen_prompt import ImageTextProcessor, Prompt, Recipe, Row
from backends.engines.rerank.qwen_scoring import Scorer
from backends.errors import ModelLoadError

WORTH = 4  # the query's part is run apart when it is more than a fourth of a row

LYCHEE = Recipe(
    name="lychee-rerank-mm",
    title="Lychee-Rerank-MM",
    system="Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".',
    instruction=DEFAULT_INSTRUCTION,
    min_pixels=4 * 28 * 28,
    max_pixels=1280 * 28 * 28,
    max_length=3200,
)


class QwenVl:
    """One loaded checkpoint. Its tokenizer and its device are each one thread's at a time."""

    def __init__(self, recipe: Recipe, prompt: Prompt, scorer: Scorer) -> None:
        self.model = recipe.name
        self.device = label(scorer.device)
        self._prompt = prompt
        self._scorer: Scorer | None = scorer

    def tokens(self, item: Pair) -> int:
        """Of its row; of a query's part that is run once for all documents, its share."""
        row = self._prompt.row(item)
        if not _is_shared(item, row):
            return len(row.ids)
        return len(row.ids) - row.shared + ceil(row.shared / len(item.corpus))

    def run(self, batch: Sequence[Pair], emit: Emit) -> Sequence[Relevance]:
        scorer = self._scorer
        assert scorer is not None, "run after close"
        rows = [self._prompt.row(pair) for pair in batch]
        reuse = [_is_shared(pair, row) for pair, row in zip(batch, rows, strict=True)]
        with enough_memory():
            scores = scorer.score(rows, reuse)
        return [Relevance(score, row.cut) for score, row in zip(scores, rows, strict=True)]

    def close(self) -> None:
        """Give the weights back."""
        if self._scorer is not None:
            self._scorer.close()
        self._scorer = None
        give_back()


def _is_shared(pair: Pair, row: Row) -> bool:
    """
    Whether the query's part is run apart: for text documents of a request that has several, when
    the query shows a picture or its part is more than a fourth of the row.
    """
    if not isinstance(pair.document, str) or len(pair.corpus) < 2:
        return False
    return not isinstance(pair.query, str) or row.shared * WORTH > len(row.ids)


def load(folder: Path, group: settings.Models, recipe: Recipe = LYCHEE) -> QwenVl:
    """Raises ModelLoadError for a checkpoint that would answer nonsense."""
    logging.disable_progress_bar()
    processor = ImageTextProcessor.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    looks = Looks(processor.image_processor, recipe.min_pixels, recipe.max_pixels)
    prompt = Prompt(processor, recipe, looks)
    yes, no = prompt.answers()
    whole = read_network(
        Qwen2_5_VLForConditionalGeneration, folder, group, attn_implementation="sdpa"
    )
    check_rotation(whole.model)
    head = whole.get_output_embeddings().weight
    direction = (head[yes].float() - head[no].float()).detach().clone()
    network = whole.model  # the other 150,000 rows of the output layer are not needed
    pad = processor.tokenizer.pad_token_id
    return QwenVl(recipe, prompt, Scorer(network, direction, looks, 0 if pad is None else pad))


def check_rotation(network: Any) -> None:
    """
    The frequencies of both rotary embeddings are computed, not stored, so a loader that forgets
    them leaves what lay in memory, and scores that mean nothing.
    """
    config = network.config.get_text_config()
    text = network.language_model.rotary_emb.inv_freq
    size = config.hidden_size // config.num_attention_heads
    vision = network.visual.rotary_pos_emb.inv_freq
    tower = network.config.vision_config
    half = tower.hidden_size // tower.num_heads // 2
    theta = config.rope_parameters["rope_theta"]
    for name, found, base, length in (("text", text, theta, size), ("vision", vision, 1e4, half)):
        if not _matches(found, base, length):
            raise ModelLoadError(f"the rotary frequencies of its {name} part are not its own")


def _matches(found: Tensor, base: float, size: int) -> bool:
    expected = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    found = found.float().cpu()
    return bool(found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-2))
