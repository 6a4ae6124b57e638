"""The convolutional autoencoder of latent diffusion (Rombach et al. 2022, appendix).

Attributes carry the names of its checkpoints, so that those load without a key map.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.data.layout import Grid, TokenLayout
from nextbasis.tokenizers.common.blocks import (
    Downsample,
    ResidualBlock,
    SpatialAttention,
    Upsample,
    conv3,
    normalise,
    widths_down,
    widths_up,
)
from nextbasis.tokenizers.common.config import NORM_GROUPS
from nextbasis.tokenizers.common.tokenizer import PosteriorTokenizer

Attend = Callable[[int, int], nn.Module]  # makes attention of a width and a number of norm groups


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention if there is any."""

    def __init__(
        self,
        before: int,
        after: int,
        num_blocks: int,
        attend: Attend | None,
        *,
        groups: int = NORM_GROUPS,
        halve: bool = False,
        twice: bool = False,
        blocks: str = "block",
    ) -> None:
        """`halve` or `twice`: how the level ends; neither keeps the resolution.

        `blocks` is what the checkpoint calls the residual blocks.
        """
        super().__init__()
        self.blocks = blocks
        residual = (ResidualBlock(after if i else before, after, groups) for i in range(num_blocks))
        self.add_module(blocks, nn.ModuleList(residual))
        self.attn = nn.ModuleList(
            attend(after, groups) if attend else nn.Identity() for _ in range(num_blocks)
        )
        self.downsample = Downsample(after) if halve else nn.Identity()
        self.upsample = Upsample(after) if twice else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blocks, then the change of resolution."""
        for block, attn in zip(self.get_submodule(self.blocks).children(), self.attn, strict=True):
            x = attn(block(x))
        return self.upsample(self.downsample(x))


def middle(width: int, groups: int, attend: Attend) -> nn.Sequential:
    """Two residual blocks around attention."""
    parts: list[tuple[str, nn.Module]] = [
        ("block_1", ResidualBlock(width, width, groups)),
        ("attn_1", attend(width, groups)),
        ("block_2", ResidualBlock(width, width, groups)),
    ]
    return nn.Sequential(OrderedDict(parts))


class Encoder(nn.Module):
    """Images to a grid of `out` numbers."""

    def __init__(
        self,
        channels: int,
        first: int,
        widths: list[int],
        num_blocks: int,
        out: int,
        *,
        attention: Collection[int] = (),
        attend: Attend = SpatialAttention,
        groups: int = NORM_GROUPS,
    ) -> None:
        """`widths` of the levels in the order in which they run, behind a convolution to `first`.

        `attention` lists the levels that have it.
        """
        super().__init__()
        last = len(widths) - 1
        self.conv_in = conv3(channels, first)
        self.down = nn.ModuleList(
            Level(
                *pair,
                num_blocks,
                attend if i in attention else None,
                groups=groups,
                halve=i < last,
            )
            for i, pair in enumerate(widths_down(first, widths))
        )
        self.mid = middle(widths[-1], groups, attend)
        self.norm_out = normalise(widths[-1], groups)
        self.conv_out = conv3(widths[-1], out)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Apply every level, first to last."""
        x = self.conv_in(images)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """A grid of `latent_channels` numbers to images; nothing bounds them."""

    def __init__(
        self,
        latent_channels: int,
        widths: list[int],
        num_blocks: int,
        channels: int,
        *,
        attention: Collection[int] = (),
        attend: Attend = SpatialAttention,
        groups: int = NORM_GROUPS,
    ) -> None:
        """`up` is indexed by level, as in the encoder: its last element runs first.

        `num_blocks` is that of an encoder level; one of the decoder has one more.
        """
        super().__init__()
        self.conv_in = conv3(latent_channels, widths[-1])
        self.mid = middle(widths[-1], groups, attend)
        self.up = nn.ModuleList(
            Level(
                *pair,
                num_blocks + 1,
                attend if i in attention else None,
                groups=groups,
                twice=i > 0,
            )
            for i, pair in enumerate(widths_up(widths))
        )
        self.norm_out = normalise(widths[0], groups)
        self.conv_out = conv3(widths[0], channels)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Apply every level, last to first."""
        x = self.mid(self.conv_in(latents))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class PosteriorAutoencoder(nn.Module):
    """encode: images -> moments of a Gaussian; decode: its draws, scaled -> images.

    Sides of images should be multiples of 2^(levels - 1), but need not be equal.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder, latent_channels: int, scale: float
    ) -> None:
        """`scale` of latents: they are samples of the posterior times this."""
        super().__init__()
        self.scale, self.latent_channels = scale, latent_channels
        self.encoder, self.decoder = encoder, decoder
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d2 h2 w2"]:
        """Moments of images in [-1, 1]: means, then log-variances, neither scaled nor clamped."""
        return self.quant_conv(self.encoder(images))

    def decode(self, latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images, about in [-1, 1], of scaled latents; in the precision of the caller."""
        return self.decoder(self.post_quant_conv(latents / self.scale))


class AutoencoderTokenizer(PosteriorTokenizer):
    """encode: images -> tokens (b n d); decode: back; training draws tokens from `moments`."""

    def __init__(self, grid: Grid, network: PosteriorAutoencoder) -> None:
        """`grid` has the rows and columns of an image's tokens."""
        super().__init__()
        self.scale = network.scale
        self.layout = TokenLayout.of_grid(grid, channels=network.latent_channels)
        self.network = network

    @torch.no_grad()
    def moments(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d2"]:
        """Means, then log-variances, of every token's posterior; neither scaled nor clamped."""
        return rearrange(self.network.encode(images), "b d h w -> b (h w) d")

    @torch.no_grad()
    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1], of scaled latents."""
        return self.network.decode(rearrange(tokens, "b (h w) d -> b d h w", h=self.layout.grid[0]))
