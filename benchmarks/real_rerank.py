"""
Our engines of real rerank models beside the libraries' own way, in one interleaved run.

    python -m benchmarks.real_rerank                    what this machine can carry
    python -m benchmarks.real_rerank --layers 28        all of Lychee's seven billion: a GPU's work

Lychee: its width with random weights, and as many of its layers as asked for, all of them on a GPU.
MiniLM: its whole size with random weights. Beside ours stands transformers as its model cards use
it: batches in the order of arrival, padded by the processor. With sentence-transformers installed,
its CrossEncoder stands beside MiniLM too. Ratios of pairs a second, CPU time on a CPU and time on
the clock on a GPU; above 1 ours is faster. A round runs everybody once, and one warms up. Scores
are compared, so that nobody is fast by answering something else.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen2_5_VLForConditionalGeneration,
)

from backends.engines.picture import Picture
from backends.engines.rerank import DEFAULT_INSTRUCTION, MODELS, Pair, picture_of, text_of
from backends.engines.rerank.qwen_prompt import ImageTextProcessor
from backends.engines.rerank.qwen_vl import LYCHEE
from backends.serving.grouping import Cost, group_of_oldest
from backends.settings import Batching, Models, Settings
from tests.tiny import cross_encoder, lychee

Scores = list[float]
Way = Callable[[Sequence[Pair]], Scores]

WIDTH = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}
TOWER = {"hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
MINILM = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
}
BATCH = 8  # the model cards' own
WORDS = lychee.CORPUS[0].split() + lychee.CORPUS[3].split()


def ours(engine: Any, batching: Batching) -> Way:
    """In the batches that our queue would make of these pairs."""

    def run(pairs: Sequence[Pair]) -> Scores:
        left = list(range(len(pairs)))
        lengths = [engine.tokens(pair) for pair in pairs]
        scores = [0.0] * len(pairs)
        while left:
            cuts = group_of_oldest(
                [lengths[n] for n in left], Cost(), batching.max_batch, batching.max_tokens
            )
            chosen = [left[at] for at in cuts]
            found = engine.run([pairs[n] for n in chosen], lambda index, part: True)
            for n, relevance in zip(chosen, found, strict=True):
                scores[n] = relevance.score
            left = [n for n in left if n not in set(chosen)]
        return scores

    return run


def plain_lychee(folder: Path, engine: Any) -> Way:
    """
    transformers and the checkpoint's own processor, as the card shows. The weights are the
    engine's: two times seven billion would fit on fewer machines.
    """
    processor = ImageTextProcessor.from_pretrained(folder, padding_side="left")
    processor.image_processor.size = {
        "shortest_edge": LYCHEE.min_pixels,
        "longest_edge": LYCHEE.max_pixels,
    }
    with torch.device("meta"):
        network = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(folder)).eval()
    network.model = inside = engine._scorer._network
    network.lm_head = output_layer(folder).to(inside.device, inside.dtype)
    words = [processor.tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]

    def run(pairs: Sequence[Pair]) -> Scores:
        scores: Scores = []
        for start in range(0, len(pairs), BATCH):
            some = pairs[start : start + BATCH]
            texts = processor.apply_chat_template(
                [messages(pair) for pair in some], tokenize=False, add_generation_prompt=True
            )
            images = [p.image() for pair in some for p in pictures(pair)]
            batch = processor(text=texts, images=images or None, padding=True, return_tensors="pt")
            with torch.inference_mode():
                logits = network(**batch.to(inside.device), logits_to_keep=1).logits[:, -1, words]
            scores += torch.softmax(logits.float(), -1)[:, 1].tolist()
        return scores

    return run


def output_layer(folder: Path) -> torch.nn.Linear:
    """Of the checkpoint; the engine keeps two of its rows."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            if "lm_head.weight" in opened.keys():  # noqa: SIM118  it is no dictionary
                rows = opened.get_tensor("lm_head.weight")
    layer = torch.nn.Linear(rows.shape[1], rows.shape[0], bias=False, device="meta")
    layer.weight = torch.nn.Parameter(rows, requires_grad=False)
    return layer


def pictures(pair: Pair) -> list[Picture]:
    return [p for p in (picture_of(pair.query), picture_of(pair.document)) if p is not None]


def messages(pair: Pair) -> list[dict[str, Any]]:
    content: list[dict[str, str]] = [{"type": "text", "text": f"<Instruct>: {DEFAULT_INSTRUCTION}"}]
    for before, side in (("<Query>:", pair.query), ("\n<Document>:", pair.document)):
        content.append({"type": "text", "text": before})
        content += [{"type": "image"}] if picture_of(side) else []
        content += [{"type": "text", "text": text}] if (text := text_of(side)) else []
    system = [{"type": "text", "text": LYCHEE.system}]
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def plain_minilm(folder: Path, device: str, dtype: Any) -> Way:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    network = network.to(device).eval()

    def run(pairs: Sequence[Pair]) -> Scores:
        scores: Scores = []
        for start in range(0, len(pairs), BATCH):
            some = pairs[start : start + BATCH]
            sides = [pair.query for pair in some], [pair.document for pair in some]
            batch = tokenizer(
                *sides, padding=True, truncation=True, max_length=512, return_tensors="pt"
            )
            with torch.inference_mode():
                logits = network(**batch.to(device)).logits.view(-1).float()
            scores += torch.sigmoid(logits).tolist()
        return scores

    return run


def sentence_transformers(folder: Path, device: str, dtype: Any) -> Way | None:
    """Its CrossEncoder, with its own defaults; it sorts by length, 32 at a time."""
    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        print("sentence-transformers is not installed, so it is left out: pip install it to see it")
        return None
    model = CrossEncoder(str(folder), device=device, model_kwargs={"dtype": dtype})

    def run(pairs: Sequence[Pair]) -> Scores:
        sides = [(pair.query, pair.document) for pair in pairs]
        scores: Scores = model.predict(
            sides, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
        ).tolist()
        return scores

    return run


def compare(
    name: str,
    ways: dict[str, Way],
    pairs: Sequence[Pair],
    args: Any,
    forget: Callable[[], None] = lambda: None,
) -> None:
    """Interleaved rounds; the first way is ours."""
    spent: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, Scores] = {}
    for turn in range(args.rounds + 1):
        for way, run in ways.items():
            forget()  # what is remembered of the last round is not speed
            began = clock(args.device)
            answers[way] = run(pairs)
            if turn:
                spent[way].append(clock(args.device) - began)
    first, *others = ways
    for other in others:
        ratios = [b / a for a, b in zip(spent[first], spent[other], strict=True)]
        apart = max(abs(a - b) for a, b in zip(answers[first], answers[other], strict=True))
        print(
            f"{name}: {len(pairs)} pairs, {first} / {other}: {median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}), scores at most {apart:.0e} apart",
            flush=True,
        )


def clock(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def noise(width: int, height: int, seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Picture(width, height, pixels.tobytes())


def texts(count: int, shortest: int, longest: int) -> list[str]:
    chance = random.Random(7)
    return [
        " ".join(chance.choices(WORDS, k=chance.randint(shortest, longest))) for _ in range(count)
    ]


def asked(query: Any, documents: Sequence[Any]) -> list[Pair]:
    corpus = tuple(each for each in documents if isinstance(each, str))
    return [Pair(query, document, corpus) for document in documents]


def lychees(folder: Path, args: Any, settings: Settings) -> None:
    lychee.build(
        folder / lychee.SOURCE,
        text={**WIDTH, "num_hidden_layers": args.layers},
        vision={
            **TOWER,
            "depth": args.tower,
            "fullatt_block_indexes": [n for n in (7, 15, 23, 31) if n < args.tower] or [0],
        },
        mrope=(16, 24, 24),
        weights_in=getattr(torch, args.dtype),
        spread=0.02,
    )
    load = MODELS["lychee-rerank-mm"].load
    assert load is not None
    engine: Any = load(settings)
    forget = engine._scorer.close
    ways = {
        "ours": ours(engine, settings.batching),
        "transformers": plain_lychee(folder / lychee.SOURCE, engine),
    }
    picture = noise(args.side, args.side, 0)
    words = texts(args.documents, 8, 60)
    shown = [noise(args.side - 28 * (n % 3), args.side, n + 1) for n in range(args.documents // 2)]
    size = f"Lychee's width, {args.layers} of 28 layers, {args.tower} of 32 of its eyes"
    print(f"{size}, {args.dtype}, pictures of {args.side} x {args.side}")
    compare("text query, texts", ways, asked("a red square on a desk", words), args, forget)
    compare("picture query, texts", ways, asked(picture, words), args, forget)
    compare("text query, pictures", ways, asked("a red square on a desk", shown), args, forget)
    compare("picture query, pictures", ways, asked(picture, shown), args, forget)
    engine.close()


def minilms(folder: Path, args: Any, settings: Settings) -> None:
    own = cross_encoder.build_bert(folder / cross_encoder.MINILM, size=MINILM)
    load = MODELS["ms-marco-minilm-l6-v2"].load
    assert load is not None
    dtype = getattr(torch, args.dtype)
    ways: dict[str, Way] = {
        "ours": ours(load(settings), settings.batching),
        "transformers": plain_minilm(own, args.device, dtype),
    }
    if (peer := sentence_transformers(own, args.device, dtype)) is not None:
        ways["sentence-transformers"] = peer
    print(f"MiniLM-L6's size, {args.dtype}")
    compare("texts", ways, asked("what causes the seasons", texts(4 * args.documents, 4, 90)), args)


def parser() -> argparse.ArgumentParser:
    gpu = torch.cuda.is_available()
    made = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    made.add_argument("--device", default="cuda" if gpu else "cpu")
    made.add_argument("--dtype", default="bfloat16" if gpu else "float32")
    made.add_argument("--layers", type=int, default=28 if gpu else 1)
    made.add_argument("--tower", type=int, default=32 if gpu else 1, help="layers of its eyes")
    made.add_argument("--side", type=int, default=980 if gpu else 224, help="pixels of a picture")
    made.add_argument("--documents", type=int, default=96 if gpu else 12)
    made.add_argument("--rounds", type=int, default=5 if gpu else 3)
    made.add_argument("--tokens", type=int, default=16384 if gpu else 2048, help="of a batch")
    return made


def main() -> None:
    args = parser().parse_args()
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            models=Models(folder=folder, device=args.device, dtype=args.dtype),
            batching=Batching(max_tokens=args.tokens),
        )
        minilms(folder, args, settings)
        lychees(folder, args, settings)


if __name__ == "__main__":
    main()
