"""
A HunYuan checkpoint, loaded and looked at: what it may not get wrong in silence is asked here.

A missing weight is filled with random numbers and a log line; a wrong RoPE buffer, another chat
template or a leaked setting gives fluent nonsense. Each of these is a ModelLoadError instead.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from backends import settings
from backends.engines.pretrained import read_network
from backends.errors import ModelLoadError

ARCHITECTURE = "hunyuan_v1_dense"

_PROBE = "Translate: 你好, world."


@dataclass(frozen=True, slots=True)
class Words:
    """
    The tokenizer without its settings. Padding and truncation are state inside a fast tokenizer
    that its threads share; nobody sets them on this copy, so it needs no lock. It reads the
    marks of the chat in a text as text: nobody can end their turn and speak as the model.
    `before` and `after` are what the chat template puts around a message.
    """

    tokenizer: Tokenizer
    before: tuple[int, ...]
    after: tuple[int, ...]
    ends: tuple[int, ...]
    pad: int

    def ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def length(self, text: str) -> int:
        return len(self.ids(text))

    def prompt(self, text: str) -> list[int]:
        return [*self.before, *self.ids(text), *self.after]

    def text(self, ids: list[int]) -> str:
        said: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return said


@dataclass(frozen=True, slots=True)
class Checkpoint:
    model: Any
    words: Words


def load(folder: Path, group: settings.Models) -> Checkpoint:
    """The weights on their device, the words beside them. Raises ModelLoadError."""
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.model_type != ARCHITECTURE:
        raise ModelLoadError(f"{folder} holds a {config.model_type} model, not {ARCHITECTURE}")
    words = _words(folder)
    model = _weights(folder, group)
    _check_frequencies(model, _rope(folder))
    if max(words.ends) >= model.config.vocab_size:
        raise ModelLoadError("the tokens that end an answer are outside the model's vocabulary")
    return Checkpoint(model, words)


def _weights(folder: Path, group: settings.Models) -> Any:
    model = read_network(AutoModelForCausalLM, folder, group)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    if bool(model.config.tie_word_embeddings) != tied:
        raise ModelLoadError("the embeddings are not tied as the checkpoint's config.json says")
    # An explicit GenerationConfig takes what it leaves unset from the model's: nothing may leak.
    model.generation_config = GenerationConfig()
    return model


def _words(folder: Path) -> Words:
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise ModelLoadError("the checkpoint has no fast tokenizer with a chat template")
    before, after = _frame(tokenizer)
    plain = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    plain.encode_special_tokens = True
    if tokenizer.pad_token_id is None:
        raise ModelLoadError("the tokenizer names no token to pad with")
    words = Words(plain, before, after, _ends(folder, tokenizer), int(tokenizer.pad_token_id))
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": _PROBE}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    if list(whole) != words.prompt(_PROBE):
        raise ModelLoadError("the chat template does more than frame a message")
    return words


def _frame(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """
    The tokens that the chat template puts before and after a message. The last must be a mark of
    the chat: a template that ends otherwise asks the model to go on with the text.
    """
    rendered: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": _PROBE}], tokenize=False, add_generation_prompt=True
    )
    before, found, after = rendered.partition(_PROBE)
    ids = [
        tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (before, after)
    ]
    marks = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    if not found or not after or ids[1][-1] not in marks:
        raise ModelLoadError(
            "the chat template does not end with a mark where the model is to speak; "
            "take the checkpoint's own chat_template.jinja"
        )
    return ids[0], ids[1]


def _ends(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """Every token that ends an answer: the tokenizer's, the checkpoint's, the template's."""
    found = {tokenizer.eos_token_id}
    if (folder / "generation_config.json").exists():
        given = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
        found |= set(given) if isinstance(given, list) else {given}
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _PROBE}]
    rendered: str = tokenizer.apply_chat_template(chat, tokenize=False)
    turn_end = tokenizer(rendered.rpartition(_PROBE)[2], add_special_tokens=False)["input_ids"]
    found |= set(turn_end[:1]) & set(tokenizer.added_tokens_decoder)
    ends = tuple(sorted(int(number) for number in found - {None}))
    if not ends:
        raise ModelLoadError("the checkpoint names no token that ends an answer")
    return ends


def _rope(folder: Path) -> dict[str, Any]:
    """What the file itself says, in the words of transformers 4 or 5: the library's may lack it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    older = {"rope_theta": config.get("rope_theta", 10_000.0), **(config.get("rope_scaling") or {})}
    return {**older, **(config.get("rope_parameters") or {})}


def _check_frequencies(model: Any, given: dict[str, Any]) -> None:
    """RoPE's buffer is no weight: it is computed at load, from a field that was renamed."""
    size = model.config.head_dim or model.config.hidden_size // model.config.num_attention_heads
    base = given["rope_theta"] * (given.get("alpha") or 1.0) ** (size / (size - 2))
    wanted = base ** -(torch.arange(0, size, 2, dtype=torch.float64) / size)
    found = model.get_decoder().rotary_emb.inv_freq.double().cpu()
    if not torch.allclose(found, wanted, rtol=1e-4, atol=0):
        raise ModelLoadError("the model's RoPE frequencies are not those of its config.json")
