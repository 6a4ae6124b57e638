"""The discrete tokenizer: an autoencoder through a codebook (van den Oord et al. 2017).

The codebook follows an exponential moving average of the vectors assigned to it (their appendix
A.1); a code that nothing is assigned to any more restarts at a vector of the current batch.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.codes import VectorTokenizer, nearest
from nextbasis.tokenizers.common.conv import Decoder, Encoder
from nextbasis.tokenizers.common.tokenizer import TrainedTokenizer
from nextbasis.tokenizers.vq.config import VQConfig

DEAD = 0.01  # a code restarts when its average share of a batch is below DEAD / codebook_size


class VQTokenizer(VectorTokenizer, TrainedTokenizer):
    """encode: images -> ids (b n); decode: ids -> images."""

    codebook: Float[Tensor, "k d"]
    share: Float[Tensor, " k"]  # moving average: of a batch's vectors, the part at each code
    total: Float[Tensor, "k d"]  # moving average: sum of those vectors, divided by their number

    def __init__(self, config: VQConfig, image_size: int, image_channels: int) -> None:
        """Build untrained networks for square images."""
        super().__init__()
        side = image_size // config.downsample
        size, self.channels = config.codebook_size, config.latent_channels
        self.layout = TokenLayout.of_grid((side, side), codebook_size=size)
        self.commitment, self.decay = config.commitment, config.codebook_decay
        shape = (image_channels, config.width, config.downsample, config.latent_channels)
        self.encoder, self.decoder = Encoder(*shape), Decoder(*shape)
        self.register_buffer("codebook", torch.zeros(size, self.channels))
        self.register_buffer("share", torch.zeros(size))
        self.register_buffer("total", torch.zeros(size, self.channels))

    def loss(self, images: Float[Tensor, "b c h w"], generator: torch.Generator) -> Tensor:
        """Mean squared error of the reconstruction plus the commitment loss.

        The codebook moves as a side effect; gradients pass the quantiser straight through.
        """
        vectors = self._vectors(images)
        flat = rearrange(vectors, "b n d -> (b n) d")
        self._restart(flat.detach(), generator)
        ids = nearest(flat.detach(), self.codebook)
        codes = self.codebook[ids].view_as(vectors)
        self._follow(flat.detach(), ids)
        commitment = F.mse_loss(vectors, codes)
        images_again = self._from_vectors(vectors + (codes - vectors).detach())
        return F.mse_loss(images_again, images) + self.commitment * commitment

    @torch.no_grad()
    def _restart(self, vectors: Float[Tensor, "m d"], generator: torch.Generator) -> None:
        """Give dead codes (all of them at the first step) vectors of this batch."""
        dead = (self.share < DEAD / len(self.codebook)).nonzero().flatten()
        if not len(dead):
            return
        picked = torch.randint(
            len(vectors), (len(dead),), generator=generator, device=vectors.device
        )
        self.codebook[dead] = vectors[picked]
        self.share[dead] = 1 / len(self.codebook)
        self.total[dead] = vectors[picked] / len(self.codebook)

    @torch.no_grad()
    def _follow(self, vectors: Float[Tensor, "m d"], ids: Int[Tensor, " m"]) -> None:
        """Move the averages, and each code to the average of what it was given."""
        hits = F.one_hot(ids, len(self.codebook)).to(vectors.dtype)
        self.share.lerp_(hits.mean(0), 1 - self.decay)
        self.total.lerp_(hits.T @ vectors / len(vectors), 1 - self.decay)
        self.codebook.copy_(self.total / self.share.unsqueeze(1).clamp(min=1e-12))

    @torch.no_grad()
    def latents(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The encoder's vectors before quantisation, in raster order."""
        return self._vectors(images)

    @torch.no_grad()
    def decode_latents(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images from vectors that need not be codes."""
        return self._from_vectors(vectors)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """The nearest code of each vector, in raster order."""
        vectors = self._vectors(images)
        return nearest(vectors.flatten(0, 1), self.codebook).view(vectors.shape[:2])

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]."""
        return self._from_vectors(self.codebook[ids])

    def _vectors(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        return rearrange(self.encoder(images), "b d h w -> b (h w) d")

    def _from_vectors(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        return self.decoder(rearrange(vectors, "b (h w) d -> b d h w", h=self.layout.grid[0]))


TOKENIZER = VQTokenizer
