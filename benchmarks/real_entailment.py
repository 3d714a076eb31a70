"""
What a statement costs OFA-large, alone and among others about the same picture.

    OMP_NUM_THREADS=1 python -m benchmarks.real_entailment [FOLDER]

Without FOLDER (a checkpoint as its hub publishes it) it makes one of OFA-large's geometry with
random weights, 1.9 GB in a temporary folder: its answers mean nothing, its cost is the real one's.
CPU time of this process where the model runs on the CPU. The ratios are what may be compared.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor

from backends.engines.entailment import Claim
from backends.engines.entailment.ofa import Ofa
from backends.engines.entailment.ofa_files import Geometry
from backends.engines.entailment.ofa_network import Network
from backends.engines.picture import Picture
from backends.settings import Models

LARGE = {
    "model_type": "ofa",
    "vocab_size": 59457,
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "resnet_type": "resnet152",
}
ASKED = {"type": "ofa", "answer2label": "ans2label.json", "prompt_type": "prev_output"}
STATEMENTS = (
    "there are two birds",
    "a man rides a horse along the beach",
    "somebody is outside",
    "a cat is sitting on a sofa next to a window",
    "the red square is left of the blue circle",
    "children play in the snow",
    "it is night",
    "a woman in a yellow coat is waiting for the bus with her dog",
)


def make_large(folder: Path) -> None:
    sentences = [*STATEMENTS, "yes no maybe", 'does the image describe " "?'] * 50
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        sentences, 500, min_frequency=1, special_tokens=special, show_progress=False
    )
    tokenizer.save_model(str(folder))
    task = {"task": "visual-entailment", "model": ASKED}
    answers = {"no": 0, "yes": 1, "maybe": 2}
    for name, value in (("config", LARGE), ("configuration", task), ("ans2label", answers)):
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    weights = random_weights()
    print(f"parameters {sum(map(torch.numel, weights.values())) / 1e6:.1f} M")
    save_file(weights, folder / "model.safetensors")


def random_weights() -> dict[str, Tensor]:
    """Small enough that nothing overflows."""
    with torch.device("meta"):
        shapes = Network(Geometry(**LARGE)).state_dict()
    random = torch.Generator().manual_seed(0)
    made = {}
    for key, shape in shapes.items():
        is_gain = key.endswith(("running_var", "c_attn")) or (
            key.endswith("weight") and shape.dim() == 1
        )
        drawn = torch.empty(shape.shape).normal_(0, 0.02, generator=random)
        made[key] = 1 + drawn if is_gain else drawn
    return made


def noise(seed: int) -> Picture:
    pixels = torch.randint(
        0, 256, (480, 480, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    return Picture(480, 480, pixels.numpy().tobytes())


def cost(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began


def measure(engine: Ofa) -> None:
    on_cpu = engine.device == "CPU"
    clock = time.process_time if on_cpu else time.perf_counter

    def ask(claims: Sequence[Claim]) -> Sequence[Any]:
        return engine.run(claims, lambda index, part: True)  # its figures are read: it has ended

    known = noise(1)
    claims = [Claim(known, statement) for statement in STATEMENTS]
    ask(claims[:1])  # warms up
    new = cost(lambda: ask([Claim(noise(2), STATEMENTS[1])]), clock)
    alone = [cost(lambda one=one: ask([one]), clock) for one in claims[1:4]]
    one = sum(alone) / len(alone)
    many = cost(lambda: ask(claims), clock) / len(claims)
    kind = "CPU s" if on_cpu else "s"
    print(f"one statement, new picture    {new:7.2f} {kind}   1")
    print(f"one statement, known picture  {one:7.2f} {kind}   {one / new:.2f}")
    print(f"of eight, known picture       {many:7.2f} {kind}   {many / new:.2f}")
    print(f"statements a {kind}: alone {1 / new:.3f}, of eight about one picture {1 / many:.3f}")
    print(
        f"eight about a new picture, of eight times one: {(new - one + 8 * many) / (8 * new):.2f}"
    )


def main() -> None:
    if sys.argv[1:]:
        measure(Ofa(Path(sys.argv[1]), Models()))
        return
    with tempfile.TemporaryDirectory() as made:
        make_large(Path(made))
        engine = Ofa(Path(made), Models())
    measure(engine)


if __name__ == "__main__":
    main()
