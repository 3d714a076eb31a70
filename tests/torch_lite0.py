"""EfficientNet-Lite0 as torch runs it: what our own network must agree with. Needs torch."""

from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

# repeats, kernel, stride of the first, times wider inside, channels in and out
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same": zeros around, the surplus one at the right and the bottom."""
    side = x.shape[-1]
    missing = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
    before, after = missing // 2, missing - missing // 2
    return functional.pad(x, (before, after, before, after))


class Block(nn.Module):
    def __init__(self, kernel: int, stride: int, wider: int, into: int, out: int) -> None:
        super().__init__()
        middle = into * wider
        self.kernel, self.stride, self.skips = kernel, stride, stride == 1 and into == out
        self._expand_conv = nn.Conv2d(into, middle, 1, bias=False) if wider > 1 else None
        self._bn0 = norm(middle) if wider > 1 else None
        self._depthwise_conv = nn.Conv2d(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = norm(middle)
        self._project_conv = nn.Conv2d(middle, out, 1, bias=False)
        self._bn2 = norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self._expand_conv is not None and self._bn0 is not None:
            y = functional.relu6(self._bn0(self._expand_conv(x)))
        y = self._depthwise_conv(padded(y, self.kernel, self.stride))
        y = self._bn2(self._project_conv(functional.relu6(self._bn1(y))))
        return x + y if self.skips else y


class TorchLite0(nn.Module):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = norm(32)
        self._blocks = nn.ModuleList(
            Block(kernel, 1 if n else stride, wider, out if n else into, out)
            for repeats, kernel, stride, wider, into, out in STAGES
            for n in range(repeats)
        )
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = norm(1280)
        self._fc = nn.Linear(1280, 1000)
        self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.eval()

    @torch.inference_mode()
    def features(self, view: Tensor) -> Tensor:
        """One view, 3 × 224 × 224, as 1280 numbers."""
        x = functional.relu6(self._bn0(self._conv_stem(padded(view[None], 3, 2))))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))[0]
