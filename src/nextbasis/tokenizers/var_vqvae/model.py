"""VAR's multi-scale VQ-VAE: images to ids of several grids, coarse to fine, and back.

Tian et al. 2024, "Visual Autoregressive Modeling", section 3.2: latent diffusion's autoencoder
around a residual quantiser of several levels. Attributes carry the names of the published
checkpoint, so that it loads without a key map.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.autoencoder import Decoder, Encoder
from nextbasis.tokenizers.common.blocks import conv3, level_widths, normalise
from nextbasis.tokenizers.common.config import NORM_GROUPS
from nextbasis.tokenizers.common.levels import grids
from nextbasis.tokenizers.common.residual import ResidualQuantiser
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.var_vqvae.config import VARVQVAEConfig, VARVQVAETokenizerConfig


class Attention(nn.Module):
    """Single-head attention between all positions, added to its input."""

    def __init__(self, width: int, groups: int = NORM_GROUPS) -> None:
        """One 1x1 convolution makes queries, keys and values, in this order."""
        super().__init__()
        self.norm = normalise(width, groups)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Scores are divided by the root of the width."""
        qkv = rearrange(self.qkv(self.norm(x)), "b (n d) h w -> n b 1 (h w) d", n=3)
        mixed = F.scaled_dot_product_attention(*qkv.unbind())
        return x + self.proj_out(rearrange(mixed, "b 1 (h w) d -> b d h w", h=x.shape[2]))


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
        widths, channels = level_widths(config), config.latent_channels
        lowest = [len(widths) - 1]
        self.encoder = Encoder(
            config.image_channels,
            config.width,
            widths,
            config.num_blocks,
            channels,
            attention=lowest,
            attend=Attention,
        )
        self.decoder = Decoder(
            channels,
            widths,
            config.num_blocks,
            config.image_channels,
            attention=lowest,
            attend=Attention,
        )
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
