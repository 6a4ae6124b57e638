"""Stable Diffusion's autoencoder as DiT, SiT, REPA and MDTv2 use it: images to moments and back.

The kl-f8 of latent diffusion (Rombach et al. 2022, appendix), whose decoder was trained on.
Attributes carry the names of latent diffusion's checkpoints, so that they load without a key map.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common import blocks
from nextbasis.tokenizers.common.blocks import (
    NORM_EPS,
    Downsample,
    Upsample,
    conv3,
    widths_down,
    widths_up,
)
from nextbasis.tokenizers.common.tokenizer import PosteriorTokenizer
from nextbasis.tokenizers.sdvae.config import SDVAEConfig, SDVAETokenizerConfig


class ResidualBlock(blocks.ResidualBlock):
    """That of latent diffusion, with any number of groups."""

    def __init__(self, before: int, after: int, groups: int) -> None:
        """The shortcut is a 1x1 convolution where the width changes, else nothing."""
        nn.Module.__init__(self)
        self.norm1, self.conv1 = nn.GroupNorm(groups, before, NORM_EPS), conv3(before, after)
        self.norm2, self.conv2 = nn.GroupNorm(groups, after, NORM_EPS), conv3(after, after)
        same = before == after
        self.nin_shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1)


class SpatialAttention(blocks.SpatialAttention):
    """That of latent diffusion, a single head as wide as the level, with any number of groups."""

    def __init__(self, width: int, groups: int) -> None:
        """Queries, keys and values are 1x1 convolutions."""
        nn.Module.__init__(self)
        self.norm = nn.GroupNorm(groups, width, NORM_EPS)
        self.q, self.k, self.v = (nn.Conv2d(width, width, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(width, width, 1)


class Level(nn.Module):
    """Residual blocks of one resolution; none has attention."""

    def __init__(
        self,
        before: int,
        after: int,
        num_blocks: int,
        groups: int,
        halve: bool = False,
        twice: bool = False,
    ) -> None:
        """`halve` or `twice`: how the level ends; neither keeps the resolution."""
        super().__init__()
        self.block = nn.ModuleList(
            ResidualBlock(after if i else before, after, groups) for i in range(num_blocks)
        )
        self.downsample = Downsample(after) if halve else nn.Identity()
        self.upsample = Upsample(after) if twice else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blocks, then the change of resolution."""
        for block in self.block:
            x = block(x)
        return self.upsample(self.downsample(x))


def middle(width: int, groups: int) -> nn.Sequential:
    """Two residual blocks around attention."""
    parts: list[tuple[str, nn.Module]] = [
        ("block_1", ResidualBlock(width, width, groups)),
        ("attn_1", SpatialAttention(width, groups)),
        ("block_2", ResidualBlock(width, width, groups)),
    ]
    return nn.Sequential(OrderedDict(parts))


class Encoder(nn.Module):
    """Images to a grid of 2 x latent_channels numbers."""

    def __init__(self, config: SDVAEConfig) -> None:
        """Levels in the order in which they run."""
        super().__init__()
        widths, groups = config.widths, config.groups
        last = len(widths) - 1
        self.conv_in = conv3(config.image_channels, widths[0])
        self.down = nn.ModuleList(
            Level(*pair, config.num_blocks, groups, halve=i < last)
            for i, pair in enumerate(widths_down(widths[0], widths))
        )
        self.mid = middle(widths[-1], groups)
        self.norm_out = nn.GroupNorm(groups, widths[-1], NORM_EPS)
        self.conv_out = conv3(widths[-1], 2 * config.latent_channels)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d2 h2 w2"]:
        """Apply every level, first to last."""
        x = self.conv_in(images)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """A grid of latent_channels numbers to images."""

    def __init__(self, config: SDVAEConfig) -> None:
        """`up` is indexed by level, as in the encoder: its last element runs first."""
        super().__init__()
        widths, groups = config.widths, config.groups
        self.conv_in = conv3(config.latent_channels, widths[-1])
        self.mid = middle(widths[-1], groups)
        self.up = nn.ModuleList(
            Level(*pair, config.num_blocks + 1, groups, twice=i > 0)
            for i, pair in enumerate(widths_up(widths))
        )
        self.norm_out = nn.GroupNorm(groups, widths[0], NORM_EPS)
        self.conv_out = conv3(widths[0], config.image_channels)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Apply every level, last to first; nothing bounds the output."""
        x = self.mid(self.conv_in(latents))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class SDVAE(nn.Module):
    """encode: images -> moments of a Gaussian; decode: its draws, scaled -> images.

    Sides of images should be multiples of 2^(levels - 1), but need not be equal.
    """

    def __init__(self, config: SDVAEConfig) -> None:
        """Build untrained networks."""
        super().__init__()
        self.config = config
        channels = config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)

    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d2 h2 w2"]:
        """Moments of images in [-1, 1]: means, then log-variances, neither scaled nor clamped."""
        return self.quant_conv(self.encoder(images))

    def decode(self, latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images, about in [-1, 1], of scaled latents."""
        return self.decoder(self.post_quant_conv(latents / self.config.scale))


class SDVAETokenizer(PosteriorTokenizer):
    """encode: images -> tokens (b n d); decode: back; training draws tokens from `moments`."""

    def __init__(self, config: SDVAETokenizerConfig, image_size: int, image_channels: int) -> None:
        """Build the network without its weights, for square images."""
        super().__init__()
        grid, self.scale = config.network.grid(image_size, image_channels), config.network.scale
        self.layout = TokenLayout.of_grid(grid, channels=config.network.latent_channels)
        self.network = SDVAE(config.network)

    @torch.no_grad()
    def moments(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d2"]:
        """Means, then log-variances, of every token's posterior; neither scaled nor clamped."""
        return rearrange(self.network.encode(images), "b d h w -> b (h w) d")

    @torch.no_grad()
    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1], of scaled latents."""
        return self.network.decode(rearrange(tokens, "b (h w) d -> b d h w", h=self.layout.grid[0]))


NETWORK, TOKENIZER = SDVAE, SDVAETokenizer
