"""
A network of transformers from a checkpoint's folder, where what is missing is an error.

The library fills a weight that the files lack with random numbers, writes a line into the log, and
goes on: the model then answers fluent nonsense. Import it in loaders only.
"""

from pathlib import Path
from typing import Any

from backends import settings
from backends.engines.device import choose_device, choose_dtype
from backends.errors import ModelLoadError


def read_network(kind: Any, folder: Path, group: settings.Models, **more: Any) -> Any:
    """
    `kind.from_pretrained`, on the device of the settings, for inference. No hub is asked and no
    code of the checkpoint is run. Raises ModelLoadError naming what is missing or has another
    shape.
    """
    device = choose_device(group)
    network, report = kind.from_pretrained(
        folder,
        dtype=choose_dtype(group, device),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # named below, in one sentence
        **more,
    )
    other_shape = {key if isinstance(key, str) else key[0] for key in report["mismatched_keys"]}
    missing = sorted({*report["missing_keys"], *other_shape})
    if missing:
        named = f"{', '.join(missing[:3])} ({len(missing)} in all)"
        raise ModelLoadError(
            f"the weights lack {named}",
            zh=f"权重缺少 {', '.join(missing[:3])}（共 {len(missing)} 个）",
        )
    return network.to(device).eval().requires_grad_(False)
