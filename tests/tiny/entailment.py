"""
A small OFA of visual entailment as its hub publishes it, made on the spot: random seeded weights,
every term of the architecture switched on. Its arithmetic is the real one's; its answers mean
nothing.

The keys are written down here, from the published checkpoints, and not asked of our network. The
files are the same each time, and `tests/data/ofa_golden.json` is what the stock pipeline makes of
them.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor

from backends.engines.picture import Picture

NAME = "iic/ofa_visual-entailment_snli-ve_large_en"
SIDE = 96
WIDTH, INNER, HEADS, LAYERS, BUCKET, SQUARE, POSITIONS = 32, 64, 4, 2, 256, 8, 1024
DEPTHS = (2, 2, 2)
SENTENCES = [
    'does the image describe " there are two birds. "?',
    'can image and text1 " a man rides a horse " imply text2 " a person is outside "?',
    "yes no maybe yes no maybe yes no maybe yes yes no no maybe maybe",
    "a cat is sitting on a sofa. an animal is on furniture. the red square is left of the blue "
    "circle.",
] * 50
CONFIG = {
    "model_type": "ofa",
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER,
    "max_position_embeddings": POSITIONS,
    "resnet_type": "resnet18",
    "image_bucket_size": SQUARE,
    "normformer": True,
    "share_decoder_input_output_embed": True,
    "use_cache": False,
}
OPTIONS = {
    "type": "ofa",
    "beam_search": {"beam_size": 3, "max_len_b": 16, "min_len": 1, "no_repeat_ngram_size": 0},
    "seed": 7,
    "max_src_length": 80,
    "language": "en",
    "gen_type": "traverse",
    "patch_image_size": SIDE,
    "max_image_size": 480,
    "imagenet_default_mean_and_std": False,
    "answer2label": "ans2label.json",
    "prompt_type": "prev_output",
}
ANSWERS = {"no": 0, "yes": 1, "maybe": 2}

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def build(
    models: Path,
    *,
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    answers: Any = None,
    change: Change = lambda state: state,
    safe: bool = False,
) -> Path:
    """
    The checkpoint's folder below `models`. `config` and `options` change its files' values,
    `change` its weights; `safe` writes safetensors.
    """
    folder = models / NAME
    folder.mkdir(parents=True)
    words = _vocabulary(folder)
    wide = {**CONFIG, "vocab_size": words + 8192 + 1000, **(config or {})}
    task = {"framework": "pytorch", "task": "visual-entailment"}
    _write(folder / "config.json", wide)
    _write(folder / "configuration.json", {**task, "model": {**OPTIONS, **(options or {})}})
    _write(folder / "ans2label.json", ANSWERS if answers is None else answers)
    state = change(weights(words + 8192 + 1000))
    if safe:
        from safetensors.torch import save_file

        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    return folder


def noise(seed: int, side: int = SIDE) -> Picture:
    """As large as the network looks at it, so that nothing is resampled."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (side, side, 3), generator=random, dtype=torch.uint8)
    image = Image.fromarray(pixels.numpy())
    return Picture(side, side, image.tobytes())


def _vocabulary(folder: Path) -> int:
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        SENTENCES, vocab_size=400, min_frequency=1, special_tokens=special, show_progress=False
    )
    tokenizer.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["<mask>"] = len(vocabulary)
    _write(folder / "vocab.json", vocabulary)
    return len(vocabulary)


def weights(vocabulary: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = dict(_shapes(vocabulary))
    return {key: _drawn(key, shapes[key], random) for key in sorted(shapes)}


def _drawn(key: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Gains and variances near 1; tables that are large enough to matter."""
    drawn = torch.randn(shape, generator=random)
    is_gain = key.endswith("weight") and len(shape) == 1
    if key.endswith("running_var") or "c_attn" in key or is_gain:
        return 1 + drawn.clamp(-2, 2) * 0.2
    if len(shape) == 4:
        return drawn * (2 / drawn[0].numel()) ** 0.5
    return drawn * (0.3 if "rel_pos_table" in key else 0.2 if key.endswith("weight") else 0.1)


Shaped = Iterator[tuple[str, tuple[int, ...]]]


def _shapes(vocabulary: int) -> Shaped:
    yield "encoder.embed_tokens.weight", (vocabulary, WIDTH)
    yield "encoder.type_embedding.weight", (2, WIDTH)
    yield "encoder.embed_image_positions.weight", (SQUARE**2 + 1, WIDTH)
    yield from _stem("encoder.embed_images.")
    yield from _linear("encoder.image_proj", 1024, WIDTH)
    for norm in ("patch_layernorm_embedding", "image_pos_ln"):
        yield from _pair(f"encoder.{norm}", WIDTH)
    for n in range(LAYERS):
        yield f"encoder.image_rel_pos_table_list.{n}.weight", ((2 * SQUARE - 1) ** 2 + 3, HEADS)
    for part, kinds in (("encoder", ("pos",)), ("decoder", ("self_pos", "cross_pos"))):
        yield f"{part}.embed_positions.weight", (POSITIONS + 2, WIDTH)
        for norm in ("layernorm_embedding", "pos_ln", "layer_norm"):
            yield from _pair(f"{part}.{norm}", WIDTH)
        for kind in kinds:
            yield from _linear(f"{part}.{kind}_q_linear", WIDTH, WIDTH)
            yield from _linear(f"{part}.{kind}_k_linear", WIDTH, WIDTH)
        for n in range(LAYERS):
            yield f"{part}.token_rel_pos_table_list.{n}.weight", (2 * BUCKET - 1, HEADS)
            yield from _layer(f"{part}.layers.{n}.", part == "decoder")


def _layer(key: str, looks_back: bool) -> Shaped:
    for kind in ("self_attn", "cross_attn") if looks_back else ("self_attn",):
        for matrix in "qkv":
            yield from _linear(f"{key}{kind}.{matrix}_proj", WIDTH, WIDTH)
        yield from _linear(f"{key}{kind}.out_proj", WIDTH, WIDTH)
        yield f"{key}{kind}.c_attn", (HEADS,)
        yield from _pair(f"{key}{kind}_layer_norm", WIDTH)
        yield from _pair(f"{key}{kind}_mid_layer_norm", WIDTH)
    yield from _linear(f"{key}fc1", WIDTH, INNER)
    yield from _linear(f"{key}fc2", INNER, WIDTH)
    yield from _pair(f"{key}ffn_layer_norm", INNER)
    yield from _pair(f"{key}final_layer_norm", WIDTH)


def _stem(key: str) -> Shaped:
    yield f"{key}conv1.weight", (64, 3, 7, 7)
    yield from _batch_norm(f"{key}bn1", 64)
    channels = 64
    for stage, (depth, width) in enumerate(zip(DEPTHS, (64, 128, 256), strict=True), 1):
        for n in range(depth):
            block = f"{key}layer{stage}.{n}."
            kernels = ((1, width, channels), (3, width, width), (1, 4 * width, width))
            for at, (kernel, out, into) in enumerate(kernels, 1):
                yield f"{block}conv{at}.weight", (out, into, kernel, kernel)
                yield from _batch_norm(f"{block}bn{at}", out)
            if n == 0:
                yield f"{block}downsample.0.weight", (4 * width, channels, 1, 1)
                yield from _batch_norm(f"{block}downsample.1", 4 * width)
            channels = 4 * width


def _batch_norm(key: str, channels: int) -> Shaped:
    yield from _pair(key, channels)
    yield f"{key}.running_mean", (channels,)
    yield f"{key}.running_var", (channels,)


def _pair(key: str, width: int) -> Shaped:
    yield f"{key}.weight", (width,)
    yield f"{key}.bias", (width,)


def _linear(key: str, into: int, out: int) -> Shaped:
    yield f"{key}.weight", (out, into)
    yield f"{key}.bias", (out,)


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
