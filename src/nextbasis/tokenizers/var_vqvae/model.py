"""VAR's multi-scale VQ-VAE: images to ids of several grids, coarse to fine, and back.

Tian et al. 2024, "Visual Autoregressive Modeling", section 3.2: latent diffusion's autoencoder
around a residual quantiser of several levels. Attributes carry the names of the published
checkpoint, so that it loads without a key map.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.blocks import (
    Downsample,
    ResidualBlock,
    Upsample,
    conv3,
    level_widths,
    normalise,
    widths_down,
    widths_up,
)
from nextbasis.tokenizers.common.levels import grids
from nextbasis.tokenizers.common.residual import ResidualQuantiser
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.var_vqvae.config import VARVQVAEConfig, VARVQVAETokenizerConfig


class Attention(nn.Module):
    """Single-head attention between all positions, added to its input."""

    def __init__(self, width: int) -> None:
        """One 1x1 convolution makes queries, keys and values, in this order."""
        super().__init__()
        self.norm = normalise(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores are divided by the root of the width."""
        qkv = rearrange(self.qkv(self.norm(x)), "b (n d) h w -> n b 1 (h w) d", n=3)
        mixed = F.scaled_dot_product_attention(*qkv.unbind())
        return x + self.proj_out(rearrange(mixed, "b 1 (h w) d -> b d h w", h=x.shape[2]))


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention if there is any."""

    def __init__(self, before: int, after: int, num_blocks: int, attention: bool) -> None:
        """The resolution stays, until `downsample` or `upsample` is another module."""
        super().__init__()
        widths = [before] + [after] * num_blocks
        self.block = nn.ModuleList(
            ResidualBlock(*pair) for pair in zip(widths[:-1], widths[1:], strict=True)
        )
        self.attn = nn.ModuleList(
            Attention(after) if attention else nn.Identity() for _ in range(num_blocks)
        )
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blocks, then the change of resolution."""
        for block, attn in zip(self.block, self.attn, strict=True):
            x = attn(block(x))
        return self.upsample(self.downsample(x))


def middle(width: int) -> nn.Sequential:
    """Two residual blocks around attention."""
    parts: list[tuple[str, nn.Module]] = [
        ("block_1", ResidualBlock(width, width)),
        ("attn_1", Attention(width)),
        ("block_2", ResidualBlock(width, width)),
    ]
    return nn.Sequential(OrderedDict(parts))


class Encoder(nn.Module):
    """Images to a grid of latent_channels numbers."""

    def __init__(self, config: VARVQVAEConfig) -> None:
        """Levels in the order in which they run; all but the last halve the resolution."""
        super().__init__()
        widths = level_widths(config)
        last = len(widths) - 1
        self.conv_in = conv3(config.image_channels, config.width)
        self.down = nn.ModuleList()
        for i, pair in enumerate(widths_down(config.width, widths)):
            level = Level(*pair, config.num_blocks, attention=i == last)
            if i < last:
                level.downsample = Downsample(pair[1])
            self.down.append(level)
        self.mid = middle(widths[-1])
        self.norm_out = normalise(widths[-1])
        self.conv_out = conv3(widths[-1], config.latent_channels)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Apply every level, first to last."""
        x = self.conv_in(images)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """A grid of latent_channels numbers to images."""

    def __init__(self, config: VARVQVAEConfig) -> None:
        """`up` is indexed by level, as in the encoder: its last element runs first."""
        super().__init__()
        widths = level_widths(config)
        self.conv_in = conv3(config.latent_channels, widths[-1])
        self.mid = middle(widths[-1])
        self.up = nn.ModuleList()
        for i, pair in enumerate(widths_up(widths)):
            level = Level(*pair, config.num_blocks + 1, attention=i == len(widths) - 1)
            if i:
                level.upsample = Upsample(pair[1])
            self.up.append(level)
        self.norm_out = normalise(widths[0])
        self.conv_out = conv3(widths[0], config.image_channels)

    def forward(self, latents: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Apply every level, last to first; nothing bounds the output."""
        x = self.mid(self.conv_in(latents))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantiser(ResidualQuantiser):
    """The residual quantiser, with the count that the published file keeps of its training."""

    def __init__(self, config: VARVQVAEConfig) -> None:
        """No result depends on the count: how often each level used each code, averaged."""
        levels = tuple((side, side) for side in config.levels)
        size, channels = config.codebook_size, config.latent_channels
        super().__init__(levels, size, channels, config.num_phis, config.blend)
        self.register_buffer("ema_vocab_hit_SV", torch.zeros(len(levels), size))


class VARVQVAE(nn.Module):
    """encode: images -> ids of all levels; decode: ids -> images, both in [-1, 1]."""

    def __init__(self, config: VARVQVAEConfig) -> None:
        """Build untrained networks."""
        super().__init__()
        channels = config.latent_channels
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantiser(config)
        self.quant_conv, self.post_quant_conv = conv3(channels, channels), conv3(channels, channels)

    def latents(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """The map that the levels are to add up to."""
        return self.quant_conv(self.encoder(images))

    def images(self, maps: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images of maps; nothing bounds them."""
        return self.decoder(self.post_quant_conv(maps))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """Ids of images in [-1, 1], level after level, each in raster order."""
        return self.quantize.quantise(self.latents(images)).ids

    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, clamped to [-1, 1]."""
        return self.images(self.quantize.maps(ids)[-1]).clamp(-1, 1)


class VARVQVAETokenizer(Tokenizer):
    """encode: images -> ids (b n) of all levels; decode: ids -> images."""

    def __init__(
        self, config: VARVQVAETokenizerConfig, image_size: int, image_channels: int
    ) -> None:
        """Build the network without its weights, for square images.

        Raises: ValueError naming tokenizer.network.levels unless they end with the images' grid.
        """
        super().__init__()
        sizes = config.network
        grid = sizes.grid(image_size, image_channels)
        levels = grids("tokenizer.network", sizes.levels, grid)
        self.layout = TokenLayout(kind="ids", levels=levels, sizes=(sizes.codebook_size,))
        self.network = VARVQVAE(sizes)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """Ids, level after level, each in raster order."""
        return self.network.encode(images)

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1]."""
        return self.network.decode(ids)

    def codes(self) -> dict[str, Tensor]:
        """The codebook, and every level's convolution."""
        return self.network.quantize.tensors()


NETWORK, TOKENIZER = VARVQVAE, VARVQVAETokenizer
