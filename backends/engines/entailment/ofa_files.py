"""
The directory that ModelScope publishes for OFA's visual entailment, read and checked.

`configuration.json` says how to ask, `config.json` how the network is built, the answer file what
may be answered; then the weights, safetensors first, without running what is in them. A variant
that our network does not compute is refused by name: a wrong score is worse than none.
"""

import json
import logging
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.torch import load_file
from torch import Tensor

from backends.errors import ModelLoadError

log = logging.getLogger(__name__)

WORDS = "encoder.embed_tokens.weight"
_TIED = (WORDS, "decoder.embed_tokens.weight", "decoder.output_projection.weight")
_PREFIX = "model."
_MOST_ANSWERS = 64  # each is a text that the decoder reads for each statement
_PATCH = 16  # pixels
_SHOWN = 5  # keys in a message

# What a checkpoint may hold that answers in words never read: tables that are computed, counters,
# and what makes pictures.
_UNREAD = re.compile(
    r"(_rp_bucket|image_position_idx|num_batches_tracked|\.version)$"
    r"|^decoder\.(embed_image_positions|image_pos_ln|code_layernorm_embedding"
    r"|image_rel_pos_table_list|type_embedding)\b|^(mlp_head|temp|encoder\.mask_token)"
)


class File(BaseModel):
    """A `Literal` is what we can run; anything else there is another variant."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Geometry(File):
    """`config.json`. What is absent there has the default of the published code."""

    model_type: Literal["ofa"]
    vocab_size: int = Field(59457, gt=0)
    d_model: int = Field(512, gt=0)
    encoder_layers: int = Field(4, gt=0, le=100)
    decoder_layers: int = Field(4, gt=0, le=100)
    encoder_attention_heads: int = Field(8, gt=0)
    decoder_attention_heads: int = Field(8, gt=0)
    encoder_ffn_dim: int = Field(2048, gt=0)
    decoder_ffn_dim: int = Field(2048, gt=0)
    activation_function: Literal["gelu", "relu"] = "gelu"
    max_position_embeddings: int = Field(1024, gt=0)
    attn_scale_factor: float = Field(2.0, gt=0)
    resnet_type: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet101"
    token_bucket_size: int = Field(256, gt=1)
    image_bucket_size: int = Field(42, gt=0)
    bos_token_id: int = Field(0, ge=0)
    pad_token_id: int = Field(1, ge=0)
    eos_token_id: int = Field(2, ge=0)

    normformer: Literal[True] = True
    encoder_normalize_before: Literal[True] = True
    decoder_normalize_before: Literal[True] = True
    layernorm_embedding: Literal[True] = True
    patch_layernorm_embedding: Literal[True] = True
    add_type_embedding: Literal[True] = True
    share_decoder_input_output_embed: Literal[True] = True
    use_image_feature: Literal[True] = True
    scale_embedding: Literal[False] = False
    entangle_position_embedding: Literal[False] = False
    interpolate_position: Literal[False] = False
    share_attn_bias: Literal[False] = False
    use_gamma_feature: Literal[False] = False
    use_ofasys: Literal[False] = False

    @model_validator(mode="after")
    def _heads_divide_the_channels(self) -> "Geometry":
        if self.d_model % self.encoder_attention_heads or self.d_model % (
            self.decoder_attention_heads
        ):
            raise ValueError("the attention heads do not divide d_model")
        return self

    def position_scale(self, heads: int) -> float:
        return float((self.d_model / heads * self.attn_scale_factor) ** -0.5)


class Options(File):
    """`model` of `configuration.json`: how the model is asked."""

    type: Literal["ofa"]
    language: Literal["en"] = "en"
    answer2label: str = Field(pattern=r"^[\w.-]+$")
    prompt: str = ""
    prompt_type: Literal["none", "prev_output"] = "none"
    max_src_length: int = Field(256, gt=0)
    patch_image_size: int = Field(480, ge=_PATCH)
    imagenet_default_mean_and_std: bool = False


class _Task(File):
    task: Literal["visual-entailment"]
    model: Options


_Read = TypeVar("_Read", bound=File)


def read_geometry(folder: Path) -> Geometry:
    return _checked(Geometry, folder / "config.json")


def read_options(folder: Path, geometry: Geometry) -> Options:
    """Raises ModelLoadError also for pictures that the network has no places for."""
    file = folder / "configuration.json"
    options = _checked(_Task, file).model
    side = options.patch_image_size // _PATCH
    if options.patch_image_size % _PATCH or side > geometry.image_bucket_size:
        raise ModelLoadError(
            f"{file.name}: patch_image_size {options.patch_image_size} is no multiple of {_PATCH} "
            f"up to {_PATCH * geometry.image_bucket_size}"
        )
    return options


def read_answers(folder: Path, options: Options) -> tuple[str, ...]:
    """What may be answered, in the order of the file."""
    file = folder / options.answer2label
    if not file.is_file():
        raise ModelLoadError(
            f"put {file.name}, which configuration.json names, into {folder.absolute()}"
        )
    answers = _json(file)
    is_plain = isinstance(answers, dict) and all(str(answer).strip() for answer in answers)
    if not is_plain or not {"yes", "no"} <= set(answers) or len(answers) > _MOST_ANSWERS:
        raise ModelLoadError(
            f"{options.answer2label} must be an object of 2 to {_MOST_ANSWERS} answers, yes and no "
            "among them"
        )
    return tuple(answers)


def read_weights(folder: Path) -> Mapping[str, Tensor]:
    """Every tensor of the checkpoint, by its key; read from the disk when it is copied."""
    file = folder / "model.safetensors"
    try:
        if file.exists():
            found = load_file(file)
        else:
            file = folder / "pytorch_model.bin"
            is_new = zipfile.is_zipfile(file)  # torch's own format before 1.6 cannot be mapped
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=is_new)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise _unreadable(file, error) from error
    except (pickle.UnpicklingError, safetensors.SafetensorError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(found, dict) or not all(map(torch.is_tensor, found.values())):
        raise ModelLoadError(f"{file.name} holds more than named tensors")
    return found


def fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    The tensors of the checkpoint that the network wants, under its keys. `wanted` gives the
    shapes. Raises ModelLoadError naming what is missing or has another shape; what nobody reads
    is a warning in the log.
    """
    if found and all(key.startswith(_PREFIX) for key in found):
        found = {key.removeprefix(_PREFIX): tensor for key, tensor in found.items()}
    kept = {key: tensor for key, tensor in found.items() if not _UNREAD.search(key)}
    _untie(kept)
    if missing := sorted(wanted.keys() - kept.keys()):
        raise ModelLoadError(f"the checkpoint lacks {_named(missing)}")
    if surplus := sorted(kept.keys() - wanted.keys()):
        log.warning("checkpoint has keys that are not read", extra={"keys": _named(surplus)})
    for key, tensor in wanted.items():
        if kept[key].shape != tensor.shape or not kept[key].is_floating_point():
            raise ModelLoadError(
                f"{key} of the checkpoint is {tuple(kept[key].shape)} of {kept[key].dtype}; "
                f"config.json wants {tuple(tensor.shape)} of floats"
            )
    return {key: kept[key] for key in wanted}


def _untie(kept: dict[str, Tensor]) -> None:
    """One matrix under up to three keys: whichever is there is the words'; they must agree."""
    there = [kept.pop(key) for key in _TIED if key in kept]
    if not there:
        return
    if any(not torch.equal(there[0], other) for other in there[1:]):
        raise ModelLoadError(f"{', '.join(_TIED)} differ; this variant of OFA is not supported")
    kept[WORDS] = there[0]


def _checked(shape: type[_Read], file: Path) -> _Read:
    try:
        return shape.model_validate(_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelLoadError(
            f"{file.name}: {where or 'the file'}: {first['msg']}, not {first['input']!r:.60}; "
            "this variant of OFA is not supported"
        ) from error


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{file.name} cannot be read: {error}") from error


def _unreadable(file: Path, error: Exception) -> ModelLoadError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ModelLoadError(f"{file.name} cannot be read as plain weights: {reason}")


def _named(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
