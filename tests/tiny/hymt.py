"""
Tiny HY-MT checkpoints in the layout of the hub, with random weights: both sizes' chat templates.

`build(folder, size)` takes a fraction of a second. The answers mean nothing; that they are fluent
nonsense of many scripts is what makes half characters and lost tokens visible.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM, PreTrainedTokenizerFast

from backends.engines.translate import MODELS, Passage, Translation
from backends.engines.translate.languages import LANGUAGES
from backends.engines.translate.prompts import BOOKS
from backends.settings import Models, Settings, Translate

# The layout of each row of the table that can be loaded.
SIZES = {"hy-mt1.5-1.8b": "1.8B", "hy-mt1.5-7b": "7B", "hy-mt2-1.8b": "1.8B", "hy-mt2-7b": "7B"}
BOTH = ("hy-mt1.5-1.8b", "hy-mt2-7b")  # layouts, and both books of prompts

SMALL = {
    "bos": "<｜hy_begin▁of▁sentence｜>",
    "eos": "<｜hy_place▁holder▁no▁2｜>",
    "pad": "<｜hy_▁pad▁｜>",
    "system": "<｜hy_place▁holder▁no▁3｜>",
    "other": "<｜hy_place▁holder▁no▁8｜>",
    "user": "<｜hy_User｜>",
    "assistant": "<｜hy_Assistant｜>",
}
LARGE = {
    "bos": "<|startoftext|>",
    "eos": "<|eos|>",
    "pad": "<|pad|>",
    "system": "<|extra_4|>",
    "assistant": "<|extra_0|>",
}
TEMPLATES = {
    "1.8B": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "<｜hy_begin▁of▁sentence｜>{{ messages[0]['content'] }}<｜hy_place▁holder▁no▁3｜>"
        "{% else %}{% set loop_messages = messages %}<｜hy_begin▁of▁sentence｜>{% endif %}"
        "{% for message in loop_messages %}{% if message['role'] == 'user' %}"
        "<｜hy_User｜>{{ message['content'] }}{% elif message['role'] == 'assistant' %}"
        "<｜hy_Assistant｜>{{ message['content'] }}<｜hy_place▁holder▁no▁2｜>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<｜hy_Assistant｜>"
        "{% else %}<｜hy_place▁holder▁no▁8｜>{% endif %}"
    ),
    "7B": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "<|startoftext|>{{ messages[0]['content'] }}<|extra_4|>"
        "{% else %}{% set loop_messages = messages %}<|startoftext|>{% endif %}"
        "{% for message in loop_messages %}{% if message['role'] == 'user' %}"
        "{{ message['content'] }}<|extra_0|>{% elif message['role'] == 'assistant' %}"
        "{{ message['content'] }}<|eos|>{% endif %}{% endfor %}"
    ),
}
ENDINGS = {"1.8B": SMALL["assistant"], "7B": LARGE["assistant"]}
MARKS = {"1.8B": SMALL, "7B": LARGE}


def build(folder: Path, size: str = "1.8B", *, seed: int = 0, **config: Any) -> Path:
    """A checkpoint of that size's layout; `config` goes before the tiny geometry."""
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(size)
    tokenizer.save_pretrained(folder)
    marks = {key: tokenizer.convert_tokens_to_ids(mark) for key, mark in MARKS[size].items()}
    geometry = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 262_144,
        "initializer_range": 0.2,  # less, and every token is as likely as another
        "tie_word_embeddings": size == "1.8B",
        **config,
    }
    special = {f"{name}_token_id": marks[name] for name in ("bos", "eos", "pad")}
    rope = {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0, "rope_theta": 10_000.0}
    torch.manual_seed(seed)
    made = HunYuanDenseV1Config(**geometry, **special, rope_parameters=rope)
    model = HunYuanDenseV1ForCausalLM(made).to(torch.bfloat16).eval()
    model.save_pretrained(folder)
    _as_published(folder, size, marks)
    return folder


def build_all(folder: Path) -> Path:
    """Each row's checkpoint where its loader looks for it, with weights of its own."""
    for seed, (name, size) in enumerate(SIZES.items()):
        build(folder / MODELS[name].source, size, seed=seed)
    return folder


def load(name: str, folder: Path, sampling: str = "recommended", **models: Any) -> Any:
    """The engine of a row, by its own loader."""
    row = MODELS[name]
    assert row.load is not None
    group = Models(folder=folder, device="cpu", **models)
    return row.load(Settings(models=group, translate=Translate(sampling=sampling)))


def run(engine: Any, *passages: Passage) -> list[Translation]:
    made: list[Translation] = engine.run(passages, lambda index, part: True)
    return made


def _tokenizer(size: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of its own, trained on the prompts and the names of languages."""
    marks = list(MARKS[size].values())
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    forms = [form for book in BOOKS.values() for form in (*book.forms.values(), book.chinese)]
    own = [language.own for language in LANGUAGES.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator([*forms, *own] * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token=MARKS[size]["bos"],
        eos_token=MARKS[size]["eos"],
        pad_token=MARKS[size]["pad"],
        extra_special_tokens=marks,
        chat_template=TEMPLATES[size],
        padding_side="right",  # what hubs say is often not what generating needs
    )


def _as_published(folder: Path, size: str, marks: dict[str, int]) -> None:
    """config.json as transformers 4 wrote it, and the settings that must not leak."""
    config = json.loads((folder / "config.json").read_text())
    for name in ("rope_parameters", "dtype"):
        config.pop(name, None)
    config |= {
        "torch_dtype": "bfloat16",
        "rope_theta": 10_000.0,
        "rope_scaling": {
            "alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
            "mscale_all_dim": 1.0, "type": "dynamic",
        },
        "use_qk_norm": True,
        "use_cla": False,
        "transformers_version": "4.56.0",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    generation = {
        "do_sample": True, "eos_token_id": [marks["eos"]], "pad_token_id": marks["pad"],
        "top_k": 20, "top_p": 0.6 if size == "1.8B" else 0.8, "temperature": 0.7,
        "repetition_penalty": 1.05, "max_new_tokens": 7, "transformers_version": "4.56.0",
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(generation))
