"""
Rows of tokens in, relevance out: the forward passes of a Qwen-VL reranker.

The score is the softmax of "yes" over "no" at the last position, which needs two rows of the
output layer and no other. Rows are padded on the left, so that the last position is the answer's.
A picture is encoded once however many rows show it. Where a query's part of the rows is worth it,
it is run once and only the documents' parts follow. One thread at a time is on the device.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from backends.engines.picture import Picture
from backends.engines.recent import Recent
from backends.engines.rerank.qwen_pictures import Looks
from backends.engines.rerank.qwen_prompt import Row

_PICTURES = 8  # encoded pictures remembered: at 1,280 tokens 9 MB each in 16 bits, 18 in 32
_PREFIXES = 2  # queries whose part is remembered: 56 kB a token in 16 bits, 112 in 32
_CACHED = 32_768  # tokens of a query's part, times the rows that use it at once


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What the network made of a query's part: keys and values of each layer, one row."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    length: int


@dataclass(frozen=True, slots=True)
class _Padded:
    ids: Tensor  # rows × longest
    mask: Tensor
    positions: Tensor  # 3 × rows × longest


class Scorer:
    """`network` is the model below its output layer, `direction` row "yes" less row "no" of it."""

    def __init__(self, network: Any, direction: Tensor, looks: Looks, pad: int) -> None:
        self._network = network
        self._direction = direction.float()
        self._looks = looks
        self._pad = pad
        self.device = direction.device
        self._lock = threading.Lock()  # the device's; the network notes things of its last run
        self._pictures: Recent[bytes, Tensor] = Recent(_PICTURES)
        self._prefixes: Recent[tuple[object, ...], _Prefix] = Recent(_PREFIXES)
        self.prefixes_run = 0  # for whoever wants to know what was reused

    def close(self) -> None:
        self._pictures.clear()
        self._prefixes.clear()

    def score(self, rows: Sequence[Row], reuse: Sequence[bool]) -> list[float]:
        """`reuse` says for which rows the query's part shall be run apart."""
        scores = [0.0] * len(rows)
        groups: dict[tuple[object, ...], list[int]] = {}
        for at, (row, apart) in enumerate(zip(rows, reuse, strict=True)):
            groups.setdefault(_key(row) if apart else (), []).append(at)
        with self._lock, torch.inference_mode():
            seen = self._see([picture for row in rows for picture in row.pictures])
            for key, places in groups.items():
                some = [rows[at] for at in places]
                found = self._after_prefix(key, some, seen) if key else self._whole(some, seen)
                for at, score in zip(places, found, strict=True):
                    scores[at] = score
        return scores

    def _whole(self, rows: list[Row], seen: dict[bytes, Tensor]) -> list[float]:
        hidden = self._forward(
            self._padded(rows, 0), [p for row in rows for p in row.pictures], seen, use_cache=False
        )
        return self._judge(hidden)

    def _after_prefix(
        self, key: tuple[object, ...], rows: list[Row], seen: dict[bytes, Tensor]
    ) -> list[float]:
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._run_prefix(rows[0], seen)
            self._prefixes.put(key, prefix)
        longest = max(len(row.ids) for row in rows)
        at_once = max(1, _CACHED // longest)
        scores: list[float] = []
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            spread = [
                (keys.expand(len(some), -1, -1, -1), values.expand(len(some), -1, -1, -1))
                for keys, values in prefix.layers
            ]
            padded = self._padded(some, prefix.length)
            before = padded.mask.new_ones(len(some), prefix.length)
            padded = _Padded(padded.ids, torch.cat([before, padded.mask], 1), padded.positions)
            hidden = self._forward(padded, [], seen, past_key_values=DynamicCache(spread))
            scores += self._judge(hidden)
        return scores

    def _run_prefix(self, row: Row, seen: dict[bytes, Tensor]) -> _Prefix:
        self.prefixes_run += 1
        cache = DynamicCache(config=self._network.config.get_text_config())
        whole = self._padded([row], 0)
        part = slice(0, row.shared)
        padded = _Padded(whole.ids[:, part], whole.mask[:, part], whole.positions[:, :, part])
        self._forward(padded, row.pictures, seen, past_key_values=cache)
        return _Prefix(tuple((one.keys, one.values) for one in cache.layers), row.shared)

    def _forward(
        self,
        padded: _Padded,
        pictures: Sequence[Picture],
        seen: dict[bytes, Tensor],
        use_cache: bool = True,
        **more: Any,
    ) -> Tensor:
        """The last position's hidden state of each row."""
        if pictures:
            encoded = tuple(seen[picture.digest] for picture in pictures)
            more["mm_encoder_outputs"] = {
                "image": BaseModelOutputWithPooling(pooler_output=encoded)
            }
        out = self._network(
            input_ids=padded.ids,
            attention_mask=padded.mask,
            position_ids=padded.positions,
            use_cache=use_cache,
            **more,
        )
        last: Tensor = out.last_hidden_state[:, -1]
        return last

    def _judge(self, hidden: Tensor) -> list[float]:
        scores: list[float] = torch.sigmoid(hidden.float() @ self._direction).tolist()
        return scores

    def _padded(self, rows: Sequence[Row], start: int) -> _Padded:
        """The rows from token `start` on, padded on the left."""
        longest = max(len(row.ids) for row in rows) - start
        ids = torch.full((len(rows), longest), self._pad)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        positions = torch.zeros(3, len(rows), longest, dtype=torch.long)
        for n, row in enumerate(rows):
            length = len(row.ids) - start
            ids[n, longest - length :] = torch.tensor(row.ids[start:])
            mask[n, longest - length :] = 1
            positions[:, n, longest - length :] = self._positions(row)[:, start:]
        return _Padded(*(each.to(self.device) for each in (ids, mask, positions)))

    def _positions(self, row: Row) -> Tensor:
        """3 × tokens: time, row and column. Of a picture they differ, which its kinds tell."""
        if bool(row.pictures) != any(row.kinds):
            raise RuntimeError("a row with pictures must say which of its tokens they are")
        grids = [self._looks.grid(picture) for picture in row.pictures]
        positions: Tensor = self._network.get_rope_index(
            torch.tensor([row.ids]),
            mm_token_type_ids=torch.tensor([row.kinds]),
            image_grid_thw=torch.tensor(grids) if grids else None,
        )[0]
        return positions[:, 0]

    def _see(self, pictures: Sequence[Picture]) -> dict[bytes, Tensor]:
        """What the vision tower makes of each picture, by digest; one by one, each once."""
        seen: dict[bytes, Tensor] = {}
        for picture in pictures:
            if picture.digest in seen:
                continue
            features = self._pictures.get(picture.digest)
            if features is None:
                pixels = self._looks.pixels(picture)
                out = self._network.get_image_features(
                    pixels.values.to(self.device), pixels.grid.to(self.device), return_dict=True
                )
                features = out.pooler_output[0]
                self._pictures.put(picture.digest, features)
            seen[picture.digest] = features
        return seen


def _key(row: Row) -> tuple[object, ...]:
    return row.ids[: row.shared], tuple(picture.digest for picture in row.pictures)
