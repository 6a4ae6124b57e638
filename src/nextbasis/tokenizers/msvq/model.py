"""The residual quantiser of VAR over patches of pixels, with codes found by k-means.

Tian et al. 2024, section 3.2: the map, here the patches themselves, is averaged to a coarse grid,
its codes are upsampled and subtracted, and each finer grid quantises what is left over. Codes of a
level are the means of the vectors that are nearest to them, found by k-means on mini-batches
(Sculley 2010, scikit-learn's implementation).
"""

from collections.abc import Iterable
from itertools import accumulate

import torch
from einops import rearrange
from jaxtyping import Float, Int
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from nextbasis.data.layout import TokenLayout
from nextbasis.tokenizers.common.codes import nearest
from nextbasis.tokenizers.common.levels import grids
from nextbasis.tokenizers.common.patches import patchify, unpatchify
from nextbasis.tokenizers.common.residual import ResidualQuantiser
from nextbasis.tokenizers.common.tokenizer import Tokenizer
from nextbasis.tokenizers.msvq.config import MSVQConfig


class MSVQTokenizer(Tokenizer):
    """encode: images -> ids (b n) of all levels; decode: ids -> images of patches."""

    def __init__(self, config: MSVQConfig, image_size: int, image_channels: int) -> None:
        """Start with an empty codebook.

        Raises: ValueError naming tokenizer.latent_channels unless it is the numbers of a patch, or
        tokenizer.levels unless they end with the grid of patches.
        """
        super().__init__()
        self.black = config.black
        self.patch, self.side = config.downsample, image_size // config.downsample
        channels, self.level_codes = image_channels * self.patch**2, config.level_codes
        if config.latent_channels != channels:
            raise ValueError(
                f"tokenizer.latent_channels must be {channels} for patches of {self.patch}x"
                f"{self.patch} pixels with {image_channels} colours, got {config.latent_channels}"
            )
        levels = grids("tokenizer", config.levels, (self.side, self.side))
        size = sum(self.level_codes)
        self.layout = TokenLayout(kind="ids", levels=levels, sizes=(size,))
        # Differs from VAR: the one convolution leaves what levels add as it is.
        self.quantiser = ResidualQuantiser(levels, size, channels, num_phis=1, blend=1.0)
        phi = self.quantiser.quant_resi.get_submodule("qresi")
        assert isinstance(phi, nn.Conv2d) and phi.bias is not None
        nn.init.dirac_(phi.weight)
        nn.init.zeros_(phi.bias)
        nn.init.zeros_(self.quantiser.codebook)

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "b c h w"]]) -> None:
        """Find the codes of all levels in one pass; torch's global generator gives the seeds.

        Each level's k-means is shown what the levels before leave of a batch with the codes that
        are known by then. Raises: ValueError naming tokenizer.level_codes if a level of the first
        batch has fewer vectors than codes.
        """
        seeds = torch.randint(2**31, (len(self.level_codes),)).tolist()
        parts = list(zip(self.level_codes, accumulate(self.level_codes), strict=True))
        means = [
            MiniBatchKMeans(size, n_init=1, random_state=seed)
            for size, seed in zip(self.level_codes, seeds, strict=True)
        ]
        codes, known = self.quantiser.codebook, 0
        for images in batches:
            rest = self._map(images)
            for level, (size, end) in enumerate(parts):
                vectors = self.quantiser.down(level, rest)
                rows = vectors.flatten(0, 1)
                if known < end and len(rows) < size:
                    raise ValueError(
                        f"tokenizer.level_codes[{level}] must be at most {len(rows)}, the tokens "
                        f"that the first batch (tokenizer.encode_batch_size images) has on that "
                        f"level; got {size}"
                    )
                means[level].partial_fit(rows.double().cpu().numpy())
                codes[end - size : end] = torch.from_numpy(means[level].cluster_centers_)
                known = max(known, end)
                ids = nearest(rows, codes[:known]).view(vectors.shape[:2])
                rest = rest - self.quantiser.up(level, codes[ids])

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """The nearest code of what is left over, level after level, each in raster order."""
        return self.quantiser.quantise(self._map(images)).ids

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1]: what the levels add up to, and black below `black`."""
        patches = rearrange(self.quantiser.maps(ids)[-1], "b d h w -> b (h w) d")
        images = unpatchify(patches, self.patch, self.side)
        return torch.where(images < self.black, -1.0, images)

    def codes(self) -> dict[str, Tensor]:
        """The codebook, and every level's convolution, which does nothing."""
        return self.quantiser.tensors()

    def _map(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Patches of pixels where they lie."""
        return rearrange(patchify(images, self.patch), "b (h w) d -> b d h w", h=self.side)


TOKENIZER = MSVQTokenizer
