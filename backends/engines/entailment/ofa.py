"""
OFA, trained on SNLI-VE: does a picture entail a statement, with or without a premise?

A picture is looked at once for all its statements, and remembered. Statements of like length are
asked together, a few at a time; each step's cost is fixed, and between steps those who left are
dropped. The three probabilities are this picture's own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from backends import settings
from backends.engines import Capabilities, Emit
from backends.engines.device import choose_device, choose_dtype
from backends.engines.entailment import LABELS, PREMISE_UNUSED, Claim, Evidence, Label, Verdict
from backends.engines.entailment.ofa_answers import AnswerTrie
from backends.engines.entailment.ofa_files import (
    WORDS,
    Geometry,
    Options,
    fit,
    read_answers,
    read_geometry,
    read_options,
    read_weights,
)
from backends.engines.entailment.ofa_network import Network
from backends.engines.entailment.ofa_prompt import Question, Questions
from backends.engines.entailment.sentence import is_english
from backends.engines.memory import enough_memory, give_back
from backends.engines.picture import Picture
from backends.engines.recent import Recent
from backends.errors import ModelLoadError

Floats: TypeAlias = NDArray[np.float32]

NAME = "ofa-large-snli-ve"
TOGETHER = 8  # statements in one step, so that a step's memory and time are bounded
_PICTURES = 8  # looks remembered, 4 MB each in float32
_PATCH = 16  # pixels
_CPU_THREADS = 4  # a GPU is asked by one at a time

_CUT = Evidence(
    "note",
    "The text is longer than this model reads; its end was not read.",
    "文本超出该模型可读取的长度，末尾部分未读取。",
)
_NOT_ENGLISH = Evidence(
    "note",
    "This model was trained on English; what it says to other languages means little.",
    "该模型只用英语训练；它对其他语言的判断没有多大意义。",
)


def load(folder: Path, group: settings.Models) -> "Ofa":
    return Ofa(folder, group)


class Ofa:
    """Everything loaded, from the folder of a checkpoint. Any number of threads may ask."""

    model = NAME

    def __init__(self, folder: Path, group: settings.Models) -> None:
        geometry = read_geometry(folder)
        options = read_options(folder, geometry)
        self._questions = Questions(folder, options, geometry)
        answers = read_answers(folder, options)
        tokens = [self._questions.answer(answer) for answer in answers]
        self._trie = AnswerTrie(tokens, geometry.eos_token_id)
        _check_room(options, geometry, self._trie)
        self._labels = tuple(_label(answer) for answer in answers)
        self._side, self._pad = options.patch_image_size, geometry.pad_token_id
        self._mean, self._deviation = _statistics(options)
        self._device = choose_device(group)
        self._network: Network | None = _network(folder, geometry, self._device, group)
        self._dtype = self._network.words.dtype
        self._seen: Recent[bytes, Tensor] = Recent(_PICTURES)
        self.capabilities = Capabilities(premise=self._questions.takes_premise, languages=("en",))
        is_gpu = self._device.type == "cuda"
        self.device, self.threads = ("GPU", 1) if is_gpu else ("CPU", _CPU_THREADS)

    def tokens(self, item: Claim) -> int:
        """The picture's patches count for each statement: each is read together with them all."""
        return (self._side // _PATCH) ** 2 + len(self._questions.ask(item).ids)

    def run(self, batch: Sequence[Claim], emit: Emit) -> Sequence[Verdict | None]:
        """None for a caller who left."""
        questions = [self._questions.ask(claim) for claim in batch]
        verdicts: list[Verdict | None] = [None] * len(batch)
        order = sorted(range(len(batch)), key=lambda n: len(questions[n].ids))
        with enough_memory(), torch.inference_mode():
            for first in range(0, len(order), TOGETHER):
                looks = self._looks(batch, order[first : first + TOGETHER], emit)
                here = [n for n in looks if emit(n, None)]
                if not here:
                    continue
                patches = torch.stack([looks[n] for n in here])
                scores = self._scores([questions[n] for n in here], patches)
                for n, shares in zip(here, scores, strict=True):
                    verdicts[n] = self._verdict(batch[n], questions[n], shares)
        return verdicts

    def close(self) -> None:
        self._network = None
        self._seen.clear()
        give_back()

    def _looks(self, batch: Sequence[Claim], group: Sequence[int], emit: Emit) -> dict[int, Tensor]:
        """The patches of each picture whose caller is still here when its turn comes."""
        return {n: self._look(batch[n].picture) for n in group if emit(n, None)}

    def _look(self, picture: Picture) -> Tensor:
        """P·d. One picture at a time: it must come out the same whatever stands beside it."""
        seen = self._seen.get(picture.digest)
        if seen is None:
            pixels = self._pixels(picture).to(self._device, self._dtype)
            seen = self._loaded.see(pixels[None])[0]
            self._seen.put(picture.digest, seen)
        return seen

    def _pixels(self, picture: Picture) -> Tensor:
        """3·side·side. Squashed: it was trained on pictures that lost their proportions."""
        small = picture.image().resize((self._side, self._side), Image.Resampling.BICUBIC)
        shares = np.asarray(small, dtype=np.float32) / 255
        return torch.from_numpy((shares - self._mean) / self._deviation).permute(2, 0, 1)

    def _scores(self, questions: Sequence[Question], patches: Tensor) -> list[list[float]]:
        """The answers' probabilities for each question."""
        network = self._loaded
        memory = network.read(self._padded([question.ids for question in questions]), patches)
        texts = [(*q.lead, *row) for q in questions for row in self._trie.rows]
        rows = self._padded(texts).unflatten(0, (len(questions), -1))
        hidden = network.follow(rows, memory)
        last = torch.tensor([len(q.lead) - 1 for q in questions], device=self._device)
        scores = self._trie.log_probabilities(hidden, last, network.words)
        return list(scores.softmax(-1).tolist())

    def _padded(self, texts: Sequence[Sequence[int]]) -> Tensor:
        width = max(map(len, texts))
        rows = [[*text, *[self._pad] * (width - len(text))] for text in texts]
        return torch.tensor(rows, device=self._device)

    def _verdict(self, claim: Claim, question: Question, shares: Sequence[float]) -> Verdict:
        chances = dict.fromkeys(LABELS, 0.0)
        for label, share in zip(self._labels, shares, strict=True):
            chances[label] += share
        yes, maybe, no = chances.values()
        label = max(LABELS, key=lambda each: chances[each])
        return Verdict(label, (yes, maybe, no), tuple(self._notes(claim, question)))

    def _notes(self, claim: Claim, question: Question) -> Iterator[Evidence]:
        if question.cut:
            yield _CUT
        if claim.premise.strip() and not self.capabilities.premise:
            yield PREMISE_UNUSED
        if not (is_english(claim.hypothesis) and is_english(claim.premise)):
            yield _NOT_ENGLISH

    @property
    def _loaded(self) -> Network:
        assert self._network is not None, "run after close"
        return self._network


def _network(
    folder: Path, geometry: Geometry, device: torch.device, group: settings.Models
) -> Network:
    """Built without memory, then filled with copies: the files may change or go away."""
    with torch.device("meta"):
        network = Network(geometry)
    found = fit(read_weights(folder), network.state_dict())
    chosen = choose_dtype(group, device)
    dtype = found[WORDS].dtype if chosen == "auto" else chosen
    own = {key: tensor.to(device, dtype, copy=True) for key, tensor in found.items()}
    network.load_state_dict(own, assign=True)
    network.requires_grad_(False)
    return network


def _check_room(options: Options, geometry: Geometry, trie: AnswerTrie) -> None:
    """Positions for the longest question with the longest answer."""
    longest = options.max_src_length + 2 + max(len(row) for row in trie.rows)
    if longest > geometry.max_position_embeddings:
        raise ModelLoadError(
            f"configuration.json: max_src_length {options.max_src_length} leaves no room among "
            f"{geometry.max_position_embeddings} positions"
        )


def _statistics(options: Options) -> tuple[Floats, Floats]:
    """The mean and deviation of each colour that pictures are set to."""
    if options.imagenet_default_mean_and_std:
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        mean = deviation = (0.5, 0.5, 0.5)
    return np.array(mean, np.float32), np.array(deviation, np.float32)


def _label(answer: str) -> Label:
    return "yes" if answer == "yes" else "no" if answer == "no" else "maybe"
