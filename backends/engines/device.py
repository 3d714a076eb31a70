"""
On which device, and in which number type, an engine of torch runs. Import it in loaders only.
"""

import torch

from backends import settings
from backends.errors import ModelLoadError


def choose_device(group: settings.Models) -> torch.device:
    """The device of the settings. Raises ModelLoadError if this machine has no such GPU."""
    if group.device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(group.device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ModelLoadError(
            f"QUARTET_MODELS__DEVICE is {group.device}, and this machine shows {count} GPUs",
            zh=f"QUARTET_MODELS__DEVICE 为 {group.device}，而本机有 {count} 个 GPU",
        )
    return device


def choose_dtype(group: settings.Models, device: torch.device) -> torch.dtype | str:
    """What `from_pretrained(dtype=…)` takes; "auto" is the checkpoint's own."""
    if group.dtype != "auto":
        return getattr(torch, group.dtype)
    return "auto" if device.type == "cuda" else torch.float32


def label(device: torch.device) -> str:
    """What the page calls it."""
    return "CPU" if device.type == "cpu" else "GPU"
