"""The tokenizer in a fixture of VAR, by its official tensors: a family knows none by name.

Its network is that of taming-transformers (Esser et al. 2021): residual blocks and, at the smallest
grid, attention; its quantiser is this package's.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from nextbasis.support.weights import put_weights
from nextbasis.tokenizers.common.residual import ResidualQuantiser

GROUPS, EPS = 32, 1e-6  # of the norms
QUANTISER, HITS = "quantize.", "ema_vocab_hit_SV"  # the latter counts how often ids are used


class OfficialTokenizer:
    """Images in [-1, 1] to ids of all levels, and back."""

    def __init__(
        self, tensors: dict[str, Tensor], told: dict[str, Any], device: torch.device
    ) -> None:
        """`told` are the sizes in the fixture's metadata."""
        self.tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.depth, self.blocks = len(told["ch_mult"]), told["num_res_blocks"]
        levels = tuple((side, side) for side in told["patch_nums"])
        sizes = told["V"], told["Cvae"], told["share_quant_resi"], abs(told["quant_resi"])
        self.quantiser = ResidualQuantiser(levels, *sizes)
        names = {name.removeprefix(QUANTISER): name for name in tensors if QUANTISER in name}
        names.pop(HITS, None)
        put_weights(self.quantiser, {short: tensors[name] for short, name in names.items()})
        self.quantiser.to(device).requires_grad_(False)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Ids (b n)."""
        return self.quantiser.quantise(self._conv("quant_conv", self._encoder(images))).ids

    @torch.no_grad()
    def decode(self, maps: Tensor) -> Tensor:
        """Images in [0, 1] from what ids add up to (b c h w)."""
        return (self._decoder(self._conv("post_quant_conv", maps)).clamp(-1, 1) + 1) / 2

    def _encoder(self, x: Tensor) -> Tensor:
        x = self._conv("encoder.conv_in", x)
        for level in range(self.depth):
            part, last = f"encoder.down.{level}", level + 1 == self.depth
            for i in range(self.blocks):
                x = self._block(f"{part}.block.{i}", x)
                x = self._attention(f"{part}.attn.{i}", x) if last else x
            if not last:
                x = self._conv(
                    f"{part}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2, padding=0
                )
        x = self._middle("encoder.mid", x)
        return self._conv("encoder.conv_out", F.silu(self._norm("encoder.norm_out", x)))

    def _decoder(self, x: Tensor) -> Tensor:
        x = self._middle("decoder.mid", self._conv("decoder.conv_in", x))
        for level in reversed(range(self.depth)):
            part, first = f"decoder.up.{level}", level + 1 == self.depth
            for i in range(self.blocks + 1):
                x = self._block(f"{part}.block.{i}", x)
                x = self._attention(f"{part}.attn.{i}", x) if first else x
            if level:
                x = self._conv(f"{part}.upsample.conv", F.interpolate(x, scale_factor=2.0))
        return self._conv("decoder.conv_out", F.silu(self._norm("decoder.norm_out", x)))

    def _middle(self, name: str, x: Tensor) -> Tensor:
        x = self._attention(f"{name}.attn_1", self._block(f"{name}.block_1", x))
        return self._block(f"{name}.block_2", x)

    def _block(self, name: str, x: Tensor) -> Tensor:
        h = x
        for i in (1, 2):
            h = self._conv(f"{name}.conv{i}", F.silu(self._norm(f"{name}.norm{i}", h)))
        shortcut = f"{name}.nin_shortcut"
        kept = f"{shortcut}.weight" not in self.tensors
        return h + (x if kept else self._conv(shortcut, x, padding=0))

    def _attention(self, name: str, x: Tensor) -> Tensor:
        h = self._conv(f"{name}.qkv", self._norm(f"{name}.norm", x), padding=0)
        q, k, v = rearrange(h, "b (three c) h w -> three b (h w) c", three=3)
        mixed = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v
        grid = rearrange(mixed, "b (h w) c -> b c h w", h=x.shape[2])
        return x + self._conv(f"{name}.proj_out", grid, padding=0)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.group_norm(x, GROUPS, weight, bias, EPS)

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.conv2d(x, weight, bias, stride, padding)
