"""Multi-head self-attention with an explicit key-value cache and optional rotary positions."""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.layers.dropout import Dropout

Rotation = tuple[Tensor, Tensor]  # cosines and sines, (n, head_dim) each


class KVCache:
    """Keys and values of the tokens that are fixed; memory for all of them is allocated at once.

    A layer writes its new keys and values behind the fixed ones and attends to both; `advance`
    makes the new ones fixed once every layer has written. Without it they are overwritten next.
    """

    def __init__(
        self, num_layers: int, batch: int, num_heads: int, length: int, head_dim: int, like: Tensor
    ) -> None:
        """Allocate for at most `length` tokens, with the dtype and device of `like`."""
        shape = (num_layers, 2, batch, num_heads, length, head_dim)
        self.memory = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.length = 0

    def layers(self) -> Iterator["LayerCache"]:
        """The cache of each layer, in order."""
        return (LayerCache(self, memory) for memory in self.memory)

    def advance(self, count: int) -> None:
        """Make the next `count` tokens written by every layer fixed."""
        self.length += count


class LayerCache:
    """One layer's part of a KVCache."""

    def __init__(self, cache: KVCache, memory: Tensor) -> None:
        """Refer to one layer's memory (2, b, h, n, head_dim)."""
        self.cache, self.memory = cache, memory

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values (b, h, m, head_dim); return all from the first token on."""
        start, end = self.cache.length, self.cache.length + keys.shape[2]
        self.memory[0, :, :, start:end] = keys
        self.memory[1, :, :, start:end] = values
        return self.memory[0, :, :, :end], self.memory[1, :, :, :end]


class Attention(nn.Module):
    """Scaled dot-product self-attention; `qk_norm` normalises queries and keys per head."""

    def __init__(
        self, width: int, num_heads: int, dropout: float = 0.0, qk_norm: bool = False
    ) -> None:
        """`dropout` acts on attention weights and on the output, in training only."""
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        head_dim = width // num_heads
        self.q_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.attn_drop = Dropout(dropout)
        self.proj = nn.Linear(width, width)
        self.proj_drop = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        queries: Int[Tensor, "b m"] | None = None,
        causal: int = 0,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Attend to all tokens, or only to the own cell of `causal` tokens and those before it.

        The output has a row for each token, or only for those that `queries` lists. Cached keys
        come before those of x; everything looks at them.
        """
        q, k, v = (self._split(part) for part in self._project(x, queries))
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.update(k, v)
        out = self._attend(q, k, v, causal)
        return self.proj_drop(self.proj(rearrange(out, "b h n e -> b n (h e)")))

    def _project(self, x: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values before they are split into heads."""
        if queries is None:
            q, k, v = self.qkv(x).chunk(3, -1)
            return q, k, v
        width = x.shape[-1]
        rows = x.gather(1, queries[..., None].expand(-1, -1, width))
        q = F.linear(rows, self.qkv.weight[:width], self.qkv.bias[:width])
        k, v = F.linear(x, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, -1)
        return q, k, v

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b n (h e) -> b h n e", h=self.num_heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: int) -> Tensor:
        """Mix values; cell by cell, so that no work is done for what a token may not see."""
        count, total = q.shape[2], k.shape[2]
        if causal == 0 or total == causal:
            return self._mix(q, k, v)
        if causal == 1 and count == total:
            return self._mix(q, k, v, is_causal=True)
        ends = range(total - count + causal, total + 1, causal)
        cells = q.split(causal, 2)
        mixed = [
            self._mix(cell, k[:, :, :end], v[:, :, :end])
            for cell, end in zip(cells, ends, strict=True)
        ]
        return torch.cat(mixed, 2)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        """Softmax attention; torch's fused kernel for CPUs knows no dropout."""
        if q.device.type != "cpu" or not self.attn_drop.active:
            dropout = self.attn_drop.probability if self.attn_drop.active else 0.0
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=is_causal)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if is_causal:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(future, float("-inf"))
        return self.attn_drop(scores.softmax(-1)) @ v


def rotate(x: Float[Tensor, "b h n e"], rotation: Rotation) -> Float[Tensor, "b h n e"]:
    """Rotate neighbouring pairs of features by the angles of each token (RoPE)."""
    cos, sin = rotation
    pairs = rearrange(x, "b h n (e two) -> b h n e two", two=2)
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), -1)
    return x * cos + rearrange(turned, "b h n e two -> b h n (e two)") * sin


def grid_rotation(height: int, width: int, head_dim: int) -> Rotation:
    """Cosines and sines of two-dimensional RoPE in raster order, (n, head_dim) each.

    The first half of the features turns with the row, the second with the column; the angle of
    pair i is position * 10000^(-2i / (head_dim / 2)) (EVA-02, as in xAR).
    """
    half = head_dim // 2
    frequency = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angles = [
        (position.reshape(-1, 1) * frequency).repeat_interleave(2, 1) for position in (row, column)
    ]
    angle = torch.cat(angles, 1)
    return angle.cos().float(), angle.sin().float()
