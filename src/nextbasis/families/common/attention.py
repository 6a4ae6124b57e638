"""Multi-head self-attention with an explicit key-value cache and optional rotary positions."""

import itertools
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.families.common.dropout import Dropout
from nextbasis.families.common.linear import Linear, linear

ROWS_AT_ONCE = 64  # of queries in causal attention that is not fused
Rotation = Float[Tensor, "n pairs 2"]  # cosine and sine of every pair of features


class KVCache:
    """Keys and values of the tokens that are fixed; memory for all of them is allocated at once.

    A layer writes its new keys and values behind the fixed ones and attends to both; `advance`
    makes the new ones fixed once every layer has written. Without it they are overwritten next.
    """

    def __init__(
        self, num_layers: int, batch: int, num_heads: int, length: int, head_dim: int, like: Tensor
    ) -> None:
        """Allocate for at most `length` tokens on the device of `like`.

        The dtype is that of `like`, or the one that autocast computes in.
        """
        shape = (num_layers, 2, batch, num_heads, length, head_dim)
        self.memory = torch.empty(shape, dtype=compute_dtype(like), device=like.device)
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
        self,
        width: int,
        num_heads: int,
        dropout: float = 0.0,
        qk_norm: bool = False,
        bias: bool = True,
        drop_weights: bool = True,
    ) -> None:
        """`dropout` acts on the output, and on attention weights if so told, in training only."""
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width, bias)
        head_dim = width // num_heads
        self.q_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(head_dim, eps=1e-6) if qk_norm else nn.Identity()
        self.attn_drop = Dropout(dropout if drop_weights else 0.0)
        self.proj = Linear(width, width, bias)
        self.proj_drop = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        queries: Int[Tensor, "b m"] | None = None,
        causal: int = 0,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        attend: Bool[Tensor, "m n"] | None = None,
    ) -> Float[Tensor, "b m d"]:
        """Attend to all tokens, or only to the own cell of `causal` tokens and those before it.

        `attend` says instead what each may look at. The output has a row for each token, or only
        for those that `queries` lists. Cached keys come before those of x; everything looks at
        them.
        """
        q, k, v = (self._split(part) for part in self._project(x, queries))
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.update(k, v)
        out = self._attend(q, k, v, causal) if attend is None else self._mix(q, k, v, attend=attend)
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))

    def _project(self, x: Tensor, queries: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values before they are split into heads."""
        if queries is None:
            q, k, v = self.qkv(x).chunk(3, -1)
            return q, k, v
        width = x.shape[-1]
        rows = x.gather(1, queries[..., None].expand(-1, -1, width))
        q = linear(rows, self.qkv.weight[:width], self.qkv.bias[:width])
        k, v = linear(x, self.qkv.weight[width:], self.qkv.bias[width:]).chunk(2, -1)
        return q, k, v

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, causal: int) -> Tensor:
        """Mix values; cell by cell, so that no work is done for what a token may not see."""
        count, total = q.shape[2], k.shape[2]
        if causal == 0 or count == causal:
            return self._mix(q, k, v)
        if causal == 1 and count == total and self._fused(q):
            return self._fused_mix(q, k, v, is_causal=True)
        cells = q.split(causal if causal > 1 else ROWS_AT_ONCE, 2)
        ends = itertools.accumulate((cell.shape[2] for cell in cells), initial=total - count)
        mixed = [
            self._mix(cell, k[:, :, :end], v[:, :, :end], is_causal=causal == 1)
            for cell, end in zip(cells, list(ends)[1:], strict=True)
        ]
        return torch.cat(mixed, 2)

    def _mix(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        is_causal: bool = False,
        attend: Tensor | None = None,
    ) -> Tensor:
        """Softmax attention; if `is_causal`, the last key belongs to the last query."""
        if self._fused(q) and not is_causal:
            return self._fused_mix(q, k, v, attend=attend)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if is_causal:
            scores = scores + future(q.shape[2], k.shape[2], like=scores)
        if attend is not None:
            scores = scores.masked_fill(~attend, -torch.inf)
        return self.attn_drop(scores.softmax(-1)) @ v

    def _fused(self, q: Tensor) -> bool:
        """Whether torch's kernel fits.

        On CPUs it knows no dropout, and is slow for one query and for gradients in half precision.
        """
        if q.device.type != "cpu":
            return True
        half = compute_dtype(q) == torch.bfloat16
        slow = q.shape[2] == 1 or (half and torch.is_grad_enabled())
        return not (self.attn_drop.active or slow)

    def _fused_mix(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        is_causal: bool = False,
        attend: Tensor | None = None,
    ) -> Tensor:
        dropout = self.attn_drop.probability if self.attn_drop.active else 0.0
        return F.scaled_dot_product_attention(q, k, v, attend, dropout, is_causal)


def compute_dtype(like: Tensor) -> torch.dtype:
    """The dtype that products of such a tensor are computed in: its own, or autocast's."""
    device = like.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else like.dtype


def future(count: int, total: int, like: Tensor) -> Float[Tensor, "m n"]:
    """-inf where one of the last `count` tokens would see a later one of `total`, 0 elsewhere."""
    return torch.full((count, total), -torch.inf, device=like.device, dtype=like.dtype).triu(
        total - count + 1
    )


def rotate(x: Float[Tensor, "b h n e"], rotation: Rotation) -> Float[Tensor, "b h n e"]:
    """Rotate neighbouring pairs of features by the angles of each token (RoPE), in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # it fuses these, and cannot fuse complex numbers
        (even, odd), (cos, sin) = pairs.unbind(-1), rotation.unbind(-1)
        turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(rotation))
    return turned.flatten(-2).to(x.dtype)


def grid_rotation(height: int, width: int, head_dim: int) -> Rotation:
    """Two-dimensional RoPE in raster order.

    The first half of the features turns with the row, the second with the column; the angle of
    pair i is position * 10000^(-2i / (head_dim / 2)) (EVA-02, as in xAR).
    """
    half = head_dim // 2
    frequency = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angle = torch.cat([position.reshape(-1, 1) * frequency for position in (row, column)], 1)
    return torch.stack((angle.cos(), angle.sin()), -1).float()
