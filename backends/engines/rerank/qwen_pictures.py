"""
How a Qwen-VL model looks at a picture: between how many pixels, in how many tokens, as which
numbers.

Pictures arrive upright and opaque (`engines.pictures`). Their tokens are known from their size
alone, before a pixel is touched.
"""

import threading
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from backends.engines.picture import Picture
from backends.errors import BadInput

NARROWEST = 200  # times: one side to the other, beyond which the model's own resizing refuses


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture's patches as the vision tower takes them, and its grid: time, rows, columns."""

    values: Tensor
    grid: Tensor


class Looks:
    """
    The checkpoint's image processor, held to a least and a most number of pixels. Set after
    loading: what a checkpoint's own file says would go before what is given at load.
    """

    def __init__(self, processor: Any, min_pixels: int, max_pixels: int) -> None:
        processor.size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
        self._processor = processor
        self._lock = threading.Lock()

    def tokens(self, picture: Picture) -> int:
        """Exactly as many as the picture will take."""
        _, rows, columns = self.grid(picture)
        return rows * columns // int(self._processor.merge_size) ** 2

    def grid(self, picture: Picture) -> tuple[int, int, int]:
        """Times, rows and columns of its patches. `check_shape` first: a narrow one raises."""
        side, merged = self._processor.patch_size, self._processor.merge_size
        height, width = smart_resize(
            picture.height,
            picture.width,
            side * merged,
            min_pixels=self._processor.size["shortest_edge"],
            max_pixels=self._processor.size["longest_edge"],
        )
        return 1, height // side, width // side

    def pixels(self, picture: Picture) -> Pixels:
        with self._lock:
            made = self._processor(images=[picture.image()], return_tensors="pt")
        return Pixels(made["pixel_values"], made["image_grid_thw"])


def check_shape(picture: Picture, field: str) -> None:
    """BadInput that blames `field` if the picture is too narrow."""
    if max(picture.width, picture.height) > NARROWEST * min(picture.width, picture.height):
        raise BadInput(
            f"The picture of {picture.width} × {picture.height} pixels is too narrow: one side may "
            f"be at most {NARROWEST} times the other.",
            zh=f"{picture.width} × {picture.height} 像素的图片过于狭长："
            f"长边最多为短边的 {NARROWEST} 倍。",
            field=field,
        )
