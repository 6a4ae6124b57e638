"""MaskGIT-VQGAN exactly as RAR uses it: images to a grid of codebook ids and back.

The network of Chang et al. 2022 in the PyTorch form of RAR (Yu et al. 2024). Attributes carry the
names of the published checkpoint, so that it loads without a key map.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.blocks import (
    conv3,
    double,
    level_widths,
    normalise,
    widths_down,
    widths_up,
)
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.maskgit_vqgan.config import (
    MaskGITVQGANConfig,
    MaskGITVQGANTokenizerConfig,
)


class ResidualBlock(nn.Module):
    """x + h for h = conv2(silu(norm2(conv1(silu(norm1(x)))))), if the width stays."""

    def __init__(self, before: int, after: int) -> None:
        """No convolution of the block has a bias."""
        super().__init__()
        self.norm1, self.conv1 = normalise(before), conv3(before, after, bias=False)
        self.norm2, self.conv2 = normalise(after), conv3(after, after, bias=False)
        self.nin_shortcut = None if before == after else nn.Conv2d(after, after, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Keep the resolution."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        if self.nin_shortcut is None:
            return h + x
        # Differs from a residual block (He et al. 2016): where the width changes, the shortcut
        # maps the block's own output and x is dropped, because MaskGIT's code does and its
        # weights were trained so.
        return h + self.nin_shortcut(h)


def residual_blocks(before: int, after: int, count: int) -> nn.ModuleList:
    """`count` blocks, the first of which changes the width."""
    return nn.ModuleList(ResidualBlock(after if i else before, after) for i in range(count))


class DownLevel(nn.Module):
    """Residual blocks, then the mean of every 2x2 pixels."""

    def __init__(self, before: int, after: int, num_blocks: int, halve: bool) -> None:
        """`halve` is false at the last level."""
        super().__init__()
        self.block = residual_blocks(before, after, num_blocks)
        self.halve = halve

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blocks, then the change of resolution."""
        for block in self.block:
            x = block(x)
        return F.avg_pool2d(x, 2) if self.halve else x


class UpLevel(nn.Module):
    """Residual blocks, then every pixel repeated twice along both axes and a convolution."""

    def __init__(self, before: int, after: int, num_blocks: int, twice: bool) -> None:
        """`twice` is false at level 0, which runs last."""
        super().__init__()
        self.block = residual_blocks(before, after, num_blocks)
        self.upsample_conv = conv3(after, after) if twice else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Blocks, then the change of resolution."""
        for block in self.block:
            x = block(x)
        return x if self.upsample_conv is None else self.upsample_conv(double(x))


class Encoder(nn.Module):
    """Images to a grid of vectors."""

    def __init__(self, config: MaskGITVQGANConfig) -> None:
        """Levels in the order in which they run."""
        super().__init__()
        widths = level_widths(config)
        last = len(widths) - 1
        self.conv_in = conv3(config.image_channels, config.width, bias=False)
        self.down = nn.ModuleList(
            DownLevel(*pair, config.num_blocks, i < last)
            for i, pair in enumerate(widths_down(config.width, widths))
        )
        self.mid = residual_blocks(widths[-1], widths[-1], config.num_blocks)
        self.norm_out = normalise(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.latent_channels, 1)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Apply every level, first to last."""
        x = self.conv_in(images)
        for part in (*self.down, *self.mid):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """A grid of vectors to images."""

    def __init__(self, config: MaskGITVQGANConfig) -> None:
        """`up` is indexed by level, as in the encoder: its last element runs first."""
        super().__init__()
        widths = level_widths(config)
        self.conv_in = conv3(config.latent_channels, widths[-1])
        self.mid = residual_blocks(widths[-1], widths[-1], config.num_blocks)
        self.up = nn.ModuleList(
            UpLevel(*pair, config.num_blocks, i > 0) for i, pair in enumerate(widths_up(widths))
        )
        self.norm_out = normalise(widths[0])
        self.conv_out = conv3(widths[0], config.image_channels)

    def forward(self, codes: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Apply every level, last to first; nothing bounds the output."""
        x = self.conv_in(codes)
        for part in (*self.mid, *reversed(self.up)):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantiser(nn.Module):
    """The codebook: vectors to the ids of their nearest codes, and ids to codes."""

    def __init__(self, config: MaskGITVQGANConfig) -> None:
        """Codes are normal until a checkpoint is loaded."""
        super().__init__()
        self.commitment = config.commitment
        self.embedding = nn.Embedding(config.codebook_size, config.latent_channels)

    def nearest(self, vectors: Float[Tensor, "b d h w"]) -> Int[Tensor, "b h w"]:
        """The id of the code at the smallest Euclidean distance; vectors are not normalised."""
        flat = rearrange(vectors, "b d h w -> (b h w) d")
        codebook = self.embedding.weight
        squares = flat.square().sum(1, keepdim=True) + codebook.square().sum(1)
        ids = torch.addmm(squares, flat, codebook.T, alpha=-2).argmin(1)
        return rearrange(ids, "(b h w) -> b h w", h=vectors.shape[2], w=vectors.shape[3])

    def codes(self, ids: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The vectors that the ids stand for."""
        return rearrange(self.embedding(ids), "b h w d -> b d h w")

    def loss(
        self, vectors: Float[Tensor, "b d h w"], ids: Int[Tensor, "b h w"]
    ) -> Float[Tensor, ""]:
        """Pull codes to vectors and, weighted by `commitment`, vectors to codes."""
        codes = self.codes(ids)
        committed = F.mse_loss(vectors, codes.detach())
        return F.mse_loss(codes, vectors.detach()) + self.commitment * committed


class MaskGITVQGAN(nn.Module):
    """encode: images -> ids; decode: ids -> images, both in [0, 1] and not in [-1, 1].

    Sides of images should be multiples of 2^(levels - 1), but need not be equal.
    """

    def __init__(self, config: MaskGITVQGANConfig) -> None:
        """Build untrained networks."""
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantiser(config)

    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b h2 w2"]:
        """Ids of images in [0, 1]; flattened in raster order they are RAR's tokens."""
        return self.quantize.nearest(self.encoder(images))

    def decode(self, ids: Int[Tensor, "b h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images, clamped to [0, 1]."""
        return self.decoder(self.quantize.codes(ids)).clamp(0, 1)


class MaskGITVQGANTokenizer(Tokenizer):
    """encode: images -> ids (b n); decode: ids -> images."""

    def __init__(
        self, config: MaskGITVQGANTokenizerConfig, image_size: int, image_channels: int
    ) -> None:
        """Build the network without its weights, for square images."""
        super().__init__()
        grid, size = config.network.grid(image_size, image_channels), config.network.codebook_size
        self.layout = TokenLayout.of_grid(grid, codebook_size=size)
        self.network = MaskGITVQGAN(config.network)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """Ids in raster order; the network takes pixels in [0, 1], not in [-1, 1]."""
        return self.network.encode((images + 1) / 2).flatten(1)

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1]."""
        ids = rearrange(ids, "b (h w) -> b h w", h=self.layout.grid[0])
        return 2 * self.network.decode(ids) - 1


NETWORK, TOKENIZER = MaskGITVQGAN, MaskGITVQGANTokenizer
