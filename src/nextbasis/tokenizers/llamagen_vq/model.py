"""LlamaGen's tokenizers exactly as LlamaGen and PAR use them: images to ids of unit vectors.

The network of taming transformers (Esser et al. 2021) with the codebook of Sun et al. 2024, section
2.1: few dimensions, and only directions count. Attributes carry the names of the published
checkpoints, so that they load without a key map.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.autoencoder import Level
from nextbasis.tokenizers.common.blocks import (
    ResidualBlock,
    SpatialAttention,
    conv3,
    level_widths,
    normalise,
    widths_down,
    widths_up,
)
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.llamagen_vq.config import LlamaGenVQConfig, LlamaGenVQTokenizerConfig

AT_ONCE = 4096  # vectors compared with all codes, so that their distances fit in memory
BLOCKS = "res"  # the released files' name of a level's residual blocks
REMEMBERED = 65536  # latest ids that the training counts, a buffer of the released files


def middle(width: int) -> nn.ModuleList:
    """Two residual blocks around attention."""
    return nn.ModuleList(
        [ResidualBlock(width, width), SpatialAttention(width), ResidualBlock(width, width)]
    )


class Encoder(nn.Module):
    """Images to a grid of `hidden_channels` numbers."""

    def __init__(self, config: LlamaGenVQConfig) -> None:
        """Only the last level, of the lowest resolution, has attention."""
        super().__init__()
        widths = level_widths(config)
        last = len(widths) - 1
        self.conv_in = conv3(config.image_channels, config.width)
        self.conv_blocks = nn.ModuleList(
            Level(
                *pair,
                config.num_blocks,
                SpatialAttention if i == last else None,
                halve=i < last,
                blocks=BLOCKS,
            )
            for i, pair in enumerate(widths_down(config.width, widths))
        )
        self.mid = middle(widths[-1])
        self.norm_out = normalise(widths[-1])
        self.conv_out = conv3(widths[-1], config.hidden_channels)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Apply every level, first to last."""
        x = self.conv_in(images)
        for part in (*self.conv_blocks, *self.mid):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Decoder(nn.Module):
    """A grid of `hidden_channels` numbers to images."""

    def __init__(self, config: LlamaGenVQConfig) -> None:
        """Levels in the order in which they run: the first, of the lowest resolution, attends."""
        super().__init__()
        widths = level_widths(config)
        last = len(widths) - 1
        self.conv_in = conv3(config.hidden_channels, widths[-1])
        self.mid = middle(widths[-1])
        self.conv_blocks = nn.ModuleList(
            Level(
                *pair,
                config.num_blocks + 1,
                None if i else SpatialAttention,
                twice=i < last,
                blocks=BLOCKS,
            )
            for i, pair in enumerate(reversed(widths_up(widths)))
        )
        self.norm_out = normalise(widths[0])
        self.conv_out = conv3(widths[0], config.image_channels)

    def forward(self, hidden: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Apply every level, first to last; nothing bounds the output."""
        x = self.conv_in(hidden)
        for part in (*self.mid, *self.conv_blocks):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Quantiser(nn.Module):
    """The codebook: vectors to the ids of the codes of the nearest direction, and ids to codes."""

    codebook_used: Float[Tensor, " r"]

    def __init__(self, config: LlamaGenVQConfig) -> None:
        """Codes are normal until a checkpoint is loaded."""
        super().__init__()
        self.embedding = nn.Embedding(config.codebook_size, config.latent_channels)
        self.register_buffer("codebook_used", torch.zeros(REMEMBERED))

    def codebook(self) -> Float[Tensor, "k d"]:
        """All codes, of length 1; those of the released files need not have it."""
        return F.normalize(self.embedding.weight, dim=1)

    def distances(self, vectors: Float[Tensor, "m d"]) -> Float[Tensor, "m k"]:
        """Squares of the distances of vectors of length 1 to all codes."""
        codebook = self.codebook()
        squares = vectors.square().sum(1, keepdim=True) + codebook.square().sum(1)
        return torch.addmm(squares, vectors, codebook.T, alpha=-2)

    def nearest(self, vectors: Float[Tensor, "b d h w"]) -> Int[Tensor, "b h w"]:
        """The id of the code at the smallest distance from each vector of length 1."""
        parts = rearrange(vectors, "b d h w -> (b h w) d").split(AT_ONCE)
        ids = torch.cat([self.distances(part).argmin(1) for part in parts])
        return rearrange(ids, "(b h w) -> b h w", h=vectors.shape[2], w=vectors.shape[3])

    def codes(self, ids: Int[Tensor, "b h w"]) -> Float[Tensor, "b d h w"]:
        """The vectors of length 1 that the ids stand for."""
        return rearrange(F.normalize(self.embedding(ids), dim=-1), "b h w d -> b d h w")


class LlamaGenVQ(nn.Module):
    """encode: images -> ids; decode: ids -> images, both about in [-1, 1].

    Sides of images should be multiples of 2^(levels - 1), but need not be equal.
    """

    def __init__(self, config: LlamaGenVQConfig) -> None:
        """Build untrained networks."""
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Quantiser(config)
        self.quant_conv = nn.Conv2d(config.hidden_channels, config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.hidden_channels, 1)

    def directions(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """The encoder's vectors, of length 1."""
        return F.normalize(self.quant_conv(self.encoder(images)), dim=1)

    def decode_vectors(self, vectors: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images of vectors of length 1; nothing bounds them."""
        return self.decoder(self.post_quant_conv(vectors))

    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b h2 w2"]:
        """Ids; flattened in raster order they are LlamaGen's tokens."""
        return self.quantize.nearest(self.directions(images))

    def decode(self, ids: Int[Tensor, "b h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Images; nothing bounds them."""
        return self.decode_vectors(self.quantize.codes(ids))


class LlamaGenVQTokenizer(Tokenizer):
    """encode: images -> ids (b n); decode: ids -> images."""

    def __init__(
        self, config: LlamaGenVQTokenizerConfig, image_size: int, image_channels: int
    ) -> None:
        """Build the network without its weights, for square images."""
        super().__init__()
        grid, size = config.network.grid(image_size, image_channels), config.network.codebook_size
        self.layout = TokenLayout.of_grid(grid, codebook_size=size)
        self.network = LlamaGenVQ(config.network)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """Ids in raster order."""
        return self.network.encode(images).flatten(1)

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""
        return self.network.decode(rearrange(ids, "b (h w) -> b h w", h=self.layout.grid[0]))


NETWORK, TOKENIZER = LlamaGenVQ, LlamaGenVQTokenizer
