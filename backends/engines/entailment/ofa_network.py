"""
OFA's encoder and decoder in plain torch, for answers in words: inference only.

Names follow the keys of the published checkpoints, so that their weights fit as they are. It
computes the variant that was published for visual entailment (pre-norm layers with NormFormer's
extra norms, a ResNet stem, positions kept apart from words); `ofa_files` refuses the others.
Shapes: B items, P patches of a picture, L tokens of a question, S = P + L, d channels, H heads.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backends.engines.entailment.ofa_files import Geometry

_DEPTHS = {
    "resnet18": (2, 2, 2),  # bottlenecks, unlike the ResNet of that name elsewhere
    "resnet34": (3, 4, 6),
    "resnet50": (3, 4, 6),
    "resnet101": (3, 4, 23),
    "resnet152": (3, 8, 36),
}
_STEM = 1024  # channels that the stem ends with
_LOG_REACH = 1024  # positions that the logarithmic buckets span, in every checkpoint


@dataclass(frozen=True, slots=True)
class Memory:
    """What the decoder looks back at: `hidden` B·S·d, `hidden_from` B·1·1·S, `positions` 1·S·d."""

    hidden: Tensor
    hidden_from: Tensor | None  # added to attention: very low where a question is padding
    positions: Tensor


class Network(nn.Module):
    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.encoder = Encoder(geometry)
        self.decoder = Decoder(geometry)

    def see(self, images: Tensor) -> Tensor:
        """Pictures B·3·side·side as patches B·P·d. They know nothing of the question yet."""
        return self.encoder.see(images)

    def read(self, ids: Tensor, patches: Tensor) -> Memory:
        """Questions B·L, padded at their ends, each with its picture."""
        memory: Memory = self.encoder(ids, patches)
        return memory

    def follow(self, rows: Tensor, memory: Memory) -> Tensor:
        """The decoder's hidden states B·R·n·d of R texts for each item, padded at their ends."""
        return self.decoder(rows, self.encoder.embed_tokens(rows), memory)

    @property
    def words(self) -> Tensor:
        """A row for each token: hidden states times these are logits."""
        return self.encoder.embed_tokens.weight


class FrozenNorm(nn.Module):
    """A batch norm with the means and variances of training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))
        self.register_buffer("running_mean", torch.empty(channels))
        self.register_buffer("running_var", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), FrozenNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = FrozenNorm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, wide, 1, bias=False), FrozenNorm(wide)
        self.downsample = None
        if stride != 1 or channels != wide:
            shortcut = nn.Conv2d(channels, wide, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, FrozenNorm(wide))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Stem(nn.Module):
    """A ResNet without its fourth stage: B·3·side·side to B·1024·side/16·side/16."""

    def __init__(self, depths: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), FrozenNorm(64)
        self.layer1 = _stage(depths[0], 64, 64, 1)
        self.layer2 = _stage(depths[1], 256, 128, 2)
        self.layer3 = _stage(depths[2], 512, 256, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer3(self.layer2(self.layer1(x)))


def _stage(depth: int, channels: int, width: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride)
    return nn.Sequential(first, *(Bottleneck(4 * width, width, 1) for _ in range(depth - 1)))


class Attention(nn.Module):
    """With OFA's scale of the query, a bias from positions, and a learnt gain for each head."""

    def __init__(self, width: int, heads: int, factor: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads * factor) ** -0.5
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.c_attn = nn.Parameter(torch.empty(heads))

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        query = _heads(self.q_proj(x), self.heads)
        key, value = (
            _heads(self.k_proj(memory), self.heads),
            _heads(self.v_proj(memory), self.heads),
        )
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=self.scale)
        y = y * self.c_attn[:, None, None]
        return self.out_proj(y.transpose(1, 2).flatten(-2))


def _heads(x: Tensor, heads: int) -> Tensor:
    """B·n·d to B·H·n·d/H."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Layer(nn.Module):
    """A layer of the encoder; with `looks_back`, of the decoder."""

    def __init__(self, geometry: Geometry, heads: int, inner: int, looks_back: bool) -> None:
        super().__init__()
        width, factor = geometry.d_model, geometry.attn_scale_factor
        self.self_attn = Attention(width, heads, factor)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn_mid_layer_norm = nn.LayerNorm(width)
        if looks_back:
            self.cross_attn = Attention(width, heads, factor)
            self.cross_attn_layer_norm = nn.LayerNorm(width)
            self.cross_attn_mid_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.ffn_layer_norm = nn.LayerNorm(inner)
        self.final_layer_norm = nn.LayerNorm(width)
        self._activation = F.gelu if geometry.activation_function == "gelu" else F.relu

    def look_around(self, x: Tensor, bias: Tensor) -> Tensor:
        y = self.self_attn_layer_norm(x)
        return x + self.self_attn_mid_layer_norm(self.self_attn(y, y, bias))

    def look_back(self, x: Tensor, memory: Tensor, bias: Tensor) -> Tensor:
        y = self.cross_attn(self.cross_attn_layer_norm(x), memory, bias)
        return x + self.cross_attn_mid_layer_norm(y)

    def think(self, x: Tensor) -> Tensor:
        y = self._activation(self.fc1(self.final_layer_norm(x)))
        return x + self.fc2(self.ffn_layer_norm(y))


def _position_bias(query: Tensor, key: Tensor, heads: int, scale: float) -> Tensor:
    """What attention gets from absolute positions: 1·H·n·m."""
    return _heads(query, heads) * scale @ _heads(key, heads).mT


class Encoder(nn.Module):
    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width, heads = geometry.d_model, geometry.encoder_attention_heads
        side, layers = geometry.image_bucket_size, range(geometry.encoder_layers)
        self._token_bucket, self._side = geometry.token_bucket_size, side
        self._pad = geometry.pad_token_id
        self.embed_tokens = nn.Embedding(geometry.vocab_size, width)
        self.type_embedding = nn.Embedding(2, width)
        self.embed_images = Stem(_DEPTHS[geometry.resnet_type])
        self.image_proj = nn.Linear(_STEM, width)
        self.patch_layernorm_embedding = nn.LayerNorm(width)
        self.layernorm_embedding = nn.LayerNorm(width)
        self.embed_positions = nn.Embedding(geometry.max_position_embeddings + 2, width)
        self.embed_image_positions = nn.Embedding(side**2 + 1, width)
        self.pos_ln, self.image_pos_ln = nn.LayerNorm(width), nn.LayerNorm(width)
        self.pos_q_linear, self.pos_k_linear = nn.Linear(width, width), nn.Linear(width, width)
        self._heads, self._scale = heads, geometry.position_scale(heads)
        inner = geometry.encoder_ffn_dim
        self.layers = nn.ModuleList(Layer(geometry, heads, inner, False) for _ in layers)
        self.layer_norm = nn.LayerNorm(width)
        near, apart = 2 * self._token_bucket - 1, (2 * side - 1) ** 2 + 3
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(near, heads) for _ in layers)
        self.image_rel_pos_table_list = nn.ModuleList(nn.Embedding(apart, heads) for _ in layers)

    def see(self, images: Tensor) -> Tensor:
        patches = self.embed_images(images).flatten(2).mT
        patches = self.image_proj(patches) + self.type_embedding.weight[1]
        return self.patch_layernorm_embedding(patches)

    def forward(self, ids: Tensor, patches: Tensor) -> Memory:
        count, device = patches.shape[1], ids.device
        words = self.embed_tokens(ids) + self.type_embedding.weight[0]
        x = torch.cat([patches, self.layernorm_embedding(words)], 1)
        padding = F.pad(ids.eq(self._pad), (count, 0))
        x = x.masked_fill(padding[..., None], 0)
        hidden_from = _hidden_from(padding, x.dtype)
        positions = self._positions(count, ids.shape[1], device)
        query, key = self.pos_q_linear(positions), self.pos_k_linear(positions)
        fixed = _position_bias(query, key, self._heads, self._scale)
        near = token_buckets(self._token_bucket, ids.shape[1]).to(device)
        apart = patch_buckets(self._side, math.isqrt(count)).to(device)
        for n, layer in enumerate(self.layers):
            bias = fixed.clone()
            bias[..., count:, count:] += self.token_rel_pos_table_list[n](near).permute(2, 0, 1)
            bias[..., :count, :count] += self.image_rel_pos_table_list[n](apart).permute(2, 0, 1)
            x = layer.think(layer.look_around(x, _sum(bias, hidden_from)))
        return Memory(self.layer_norm(x), hidden_from, positions)

    def _positions(self, patches: int, tokens: int, device: torch.device) -> Tensor:
        """1·S·d: the patches' places in the grid, then the tokens' in the question."""
        side = torch.arange(math.isqrt(patches), device=device)
        places = (side[:, None] * self._side + side + 1).flatten()
        grid = self.image_pos_ln(self.embed_image_positions(places))
        line = self.pos_ln(self.embed_positions(torch.arange(tokens, device=device)))
        return torch.cat([grid, line])[None]


class Decoder(nn.Module):
    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width, heads = geometry.d_model, geometry.decoder_attention_heads
        layers = range(geometry.decoder_layers)
        self._token_bucket = geometry.token_bucket_size
        self.layernorm_embedding = nn.LayerNorm(width)
        self.embed_positions = nn.Embedding(geometry.max_position_embeddings + 2, width)
        self.pos_ln = nn.LayerNorm(width)
        self.self_pos_q_linear = nn.Linear(width, width)
        self.self_pos_k_linear = nn.Linear(width, width)
        self.cross_pos_q_linear = nn.Linear(width, width)
        self.cross_pos_k_linear = nn.Linear(width, width)
        self._heads, self._scale = heads, geometry.position_scale(heads)
        inner = geometry.decoder_ffn_dim
        self.layers = nn.ModuleList(Layer(geometry, heads, inner, True) for _ in layers)
        self.layer_norm = nn.LayerNorm(width)
        near = 2 * self._token_bucket - 1
        self.token_rel_pos_table_list = nn.ModuleList(nn.Embedding(near, heads) for _ in layers)

    def forward(self, rows: Tensor, words: Tensor, memory: Memory) -> Tensor:
        """The R rows of an item read themselves apart, and look at its memory together."""
        (items, count, length), device = rows.shape, rows.device
        x = self.layernorm_embedding(words).flatten(0, 1)
        line = self.pos_ln(self.embed_positions(torch.arange(length, device=device)))[None]
        causal = torch.full((length, length), _lowest(x.dtype), dtype=x.dtype, device=device)
        query, key = self.self_pos_q_linear(line), self.self_pos_k_linear(line)
        fixed = _position_bias(query, key, self._heads, self._scale) + causal.triu(1)
        query, key = self.cross_pos_q_linear(line), self.cross_pos_k_linear(memory.positions)
        once = _position_bias(query, key, self._heads, self._scale)
        back = _sum(once.repeat(1, 1, count, 1), memory.hidden_from)
        near = token_buckets(self._token_bucket, length).to(device)
        for n, layer in enumerate(self.layers):
            bias = fixed + self.token_rel_pos_table_list[n](near).permute(2, 0, 1)
            x = layer.look_around(x, bias).reshape(items, count * length, -1)
            x = layer.think(layer.look_back(x, memory.hidden, back))
            x = x.reshape(items * count, length, -1)
        return self.layer_norm(x).reshape(items, count, length, -1)


def token_buckets(bucket: int, length: int) -> Tensor:
    """
    How far apart two tokens are, as rows of a table of 2 · `bucket` - 1: exact within half the
    bucket, logarithmic beyond.
    """
    place = torch.arange(length)
    apart = place[:, None] - place[None, :]
    half = bucket // 2
    far = torch.where(apart.abs() < half, torch.full_like(apart, half - 1), apart.abs())
    scale = math.log((_LOG_REACH - 1) / half)
    log = torch.ceil(torch.log(far.float() / half) / scale * (half - 1)) + half
    return torch.where(far <= half, apart, (log.int() * apart.sign()).long()) + bucket - 1


def patch_buckets(bucket: int, side: int) -> Tensor:
    """Where one patch of side × side lies from another, as rows of the patches' table."""
    down, across = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    down, across = down.flatten(), across.flatten()
    dy, dx = down[:, None] - down + bucket - 1, across[:, None] - across + bucket - 1
    return dy * (2 * bucket - 1) + dx


def _lowest(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).min)


def _hidden_from(padding: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Padding B·S that nobody shall see. None spares a copy of the bias for each item."""
    if not bool(padding.any()):
        return None
    zeros = torch.zeros(padding.shape, dtype=dtype, device=padding.device)
    return zeros.masked_fill(padding, _lowest(dtype))[:, None, None, :]


def _sum(bias: Tensor, hidden_from: Tensor | None) -> Tensor:
    return bias if hidden_from is None else bias + hidden_from
