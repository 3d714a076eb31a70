"""
HY-MT's engine beside plain transformers, on the geometry of the 1.8B with random weights.

    python -m benchmarks.real_translate                                  what any machine can carry
    python -m benchmarks.real_translate --layers 32 --dtype bfloat16     the whole 1.8B: 8 GB

Three ways to the same number of tokens, interleaved in each round: our engine with all passages at
once, plain `generate` on a padded batch, and plain `generate` one by one. Prints the ratios of each
round's speeds, and of the waits for the first token; never seconds to quote. Time is the clock's on
a GPU, where it takes the whole model in bfloat16; on a CPU it is CPU time of one thread, and two of
the 32 layers in float32 unless told otherwise. Random weights cost what real ones do; only answers
that end early are missing, so every answer has the same length.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)

from backends.engines.translate import MODELS, Passage
from backends.engines.translate.prompts import HYMT15, render
from backends.settings import Models, Settings
from tests.tiny import hymt

ROW = MODELS["hy-mt1.5-1.8b"]
GEOMETRY = {  # config.json of the 1.8B; the size of the inner layer is a sibling's
    "vocab_size": 120_818,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "initializer_range": 0.02,
}
SENTENCE = "The library in the old town opens at nine and closes at five. "


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds until the first token of any passage, and until all have ended."""

    first: float
    whole: float


def clock() -> float:
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


class Note(StoppingCriteria):
    def __init__(self) -> None:
        self.first = 0.0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        self.first = self.first or clock()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


class Plain:
    """What one would write first: a batch padded on the left, settings as recommended."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype, tokens: int) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        self.config = GenerationConfig(
            do_sample=True, top_k=20, top_p=0.6, temperature=0.7, repetition_penalty=1.05,
            max_new_tokens=tokens, min_new_tokens=tokens, pad_token_id=self.tokenizer.pad_token_id,
        )  # fmt: skip
        self.model.generation_config = GenerationConfig()

    def run(self, passages: Sequence[Passage]) -> Timed:
        prompts = [render(HYMT15, "", each, each.text) for each in passages]
        chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
        began, note = clock(), Note()
        given = self.tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        ).to(self.model.device)
        with torch.inference_mode():
            out = self.model.generate(
                **given,
                generation_config=self.config,
                stopping_criteria=StoppingCriteriaList([note]),
            )
        self.tokenizer.batch_decode(out[:, given["input_ids"].shape[1] :])
        return Timed(note.first - began, clock() - began)

    def one_by_one(self, passages: Sequence[Passage]) -> Timed:
        each = [self.run([passage]) for passage in passages]
        return Timed(each[0].first, sum(timed.whole for timed in each))


def ours(engine: Any, passages: Sequence[Passage], tokens: int) -> Timed:
    """Each passage stops after so many tokens, as a reader does who leaves."""
    asked = [0] * len(passages)  # how often each was: once before the model runs, then every token
    times: list[float] = []

    def emit(index: int, _part: Any) -> bool:
        asked[index] += 1
        times.append(clock())
        return asked[index] <= tokens

    began = clock()
    engine.run(passages, emit)
    whole = clock() - began
    assert asked == [tokens + 1] * len(passages), f"not {tokens} tokens each: {asked}"
    return Timed(times[len(passages)] - began, whole)


def ratios(
    ways: dict[str, Callable[[], Timed]], rounds: int
) -> Iterator[tuple[str, list[float], list[float]]]:
    """For each other way: how many times faster ours is, whole and to the first token."""
    for way in ways.values():
        way()  # warm
    taken = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    for name in list(ways)[1:]:
        whole = [each[name].whole / each["ours"].whole for each in taken]
        first = [each[name].first / each["ours"].first for each in taken]
        yield name, whole, first


def shown(values: Sequence[float]) -> str:
    return f"{statistics.median(values):5.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    on_gpu = torch.cuda.is_available()
    read = argparse.ArgumentParser()
    read.add_argument("--layers", type=int, default=32 if on_gpu else 2)
    read.add_argument("--passages", type=int, default=16 if on_gpu else 4)
    read.add_argument("--tokens", type=int, default=128 if on_gpu else 16)
    read.add_argument("--rounds", type=int, default=5)
    read.add_argument("--dtype", default="bfloat16" if on_gpu else "float32")
    asked = read.parse_args()
    device, dtype = ("cuda" if on_gpu else "cpu"), getattr(torch, asked.dtype)
    torch.set_num_threads(torch.get_num_threads() if on_gpu else 1)
    passages = [Passage(SENTENCE * (1 + n % 4), "en", "fr") for n in range(asked.passages)]
    with tempfile.TemporaryDirectory() as folder:
        layers = {**GEOMETRY, "num_hidden_layers": asked.layers}
        at = hymt.build(Path(folder) / ROW.source, "1.8B", **layers)
        assert ROW.load is not None
        engine: Any = ROW.load(
            Settings(models=Models(folder=Path(folder), device=device, dtype=asked.dtype))
        )
        plain = Plain(at, device, dtype, asked.tokens)
    print(
        f"{asked.layers} layers, {device}, {dtype}, {torch.get_num_threads()} threads; "
        f"{asked.passages} passages, {asked.tokens} tokens each, {asked.rounds} rounds"
    )
    ways = {
        "ours": lambda: ours(engine, passages, asked.tokens),
        "plain, a padded batch": lambda: plain.run(passages),
        "plain, one by one": lambda: plain.one_by_one(passages),
    }
    print(f"{'ours, compared with':26} {'tokens a second, times':28} first token, times sooner")
    for name, whole, first in ratios(ways, asked.rounds):
        print(f"{name:26} {shown(whole):28} {shown(first)}")


if __name__ == "__main__":
    main()
