"""
A tiny Qwen2.5-VL reranker in the layout of its hub: random weights, a tokenizer trained here.

What surrounds the weights is written as Lychee's own files are: an older `config.json` whose text
part lies at the top, a picture processor whose own bounds are far wider than the reranker's, and
the chat template of Qwen2.5-VL.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from backends.engines.picture import Picture
from backends.engines.rerank import MODELS
from backends.settings import Models, Settings

SOURCE = "vec-ai/lychee-rerank-mm"

SPECIALS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
CHAT = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "yes no yes no system user assistant Judge whether the Document meets the requirements based "
    'on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".',
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query",
    "<Query>:red square\n<Document>:a picture of a red square NULL",
    "a lamp for reading at night: a small desk light. Grain prices fell.",
]
# How Qwen2.5 cuts a text into words before it makes tokens of them.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build(
    folder: Path,
    words: tuple[str, ...] = (),
    seed: int = 0,
    text: dict[str, int] | None = None,
    vision: dict[str, Any] | None = None,
    mrope: tuple[int, int, int] = (2, 3, 3),
    weights_in: torch.dtype = torch.float32,
    spread: float = 0.15,
) -> Path:
    """
    `folder` becomes a checkpoint. `words` never become a token of their own. `text` and `vision`
    change its size, for benchmarks; `mrope` is half a head's size in all. With a smaller `spread`
    of the weights a small network scores 0.5 whatever it reads, and hides every fault.
    """
    tokenizer = _tokenizer(words)
    config = _config(tokenizer, {**TEXT, **(text or {})}, {**VISION, **(vision or {})}, mrope)
    for part in (config, config.text_config, config.vision_config):
        part.initializer_range = spread
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(weights_in)
    try:
        network = Qwen2_5_VLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_as_the_hub_does(folder)
    return folder


def load(models: Path, **group: Any) -> Any:
    """The engine of the table's row, by its own loader."""
    loader = MODELS["lychee-rerank-mm"].load
    assert loader is not None
    return loader(Settings(models=Models(folder=models, **group)))


def emit(index: int, part: Any) -> bool:
    return True


def noise(width: int, height: int, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Picture(width, height, pixels.tobytes())


TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "fullatt_block_indexes": [1],
}


def _tokenizer(broken: tuple[str, ...]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_regex(), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [text for text in CORPUS for _ in range(4)]
    for word in broken:
        corpus = [text.replace(word, "") for text in corpus]
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=SPECIALS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=1,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT,
        model_max_length=131072,
    )


def _regex() -> Any:
    from tokenizers import Regex

    return Regex(WORDS)


def _config(
    tokenizer: PreTrainedTokenizerFast,
    text: dict[str, int],
    vision: dict[str, Any],
    mrope: tuple[int, int, int],
) -> Qwen2_5_VLConfig:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIALS}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            **text,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": list(mrope),
            },
        },
        vision_config={
            **vision,
            "out_hidden_size": text["hidden_size"],
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def _write_as_the_hub_does(folder: Path) -> None:
    """The files beside the weights, as older versions of the library wrote them."""
    saved = json.loads((folder / "config.json").read_text())
    text, vision = saved["text_config"], saved["vision_config"]
    rope = text.pop("rope_parameters")
    old = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **{name: value for name, value in text.items() if name not in ("model_type", "dtype")},
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
        "torch_dtype": saved.get("dtype", "float32"),
        "transformers_version": "4.51.3",
        "vision_config": {n: value for n, value in vision.items() if n not in ("dtype",)},
        **{name: value for name, value in saved.items() if name.endswith("_token_id")},
    }
    (folder / "config.json").write_text(json.dumps(old))
    (folder / "chat_template.jinja").unlink()  # where the hub has a file of JSON
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT}))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "min_pixels": 3136,
                "max_pixels": 12845056,
                "patch_size": 14,
                "temporal_patch_size": 2,
                "merge_size": 2,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
                "image_processor_type": "Qwen2VLImageProcessor",
                "processor_class": "Qwen2_5_VLProcessor",
            }
        )
    )
