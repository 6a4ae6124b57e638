"""The multi-scale residual quantiser of VAR (Tian et al. 2024, section 3.2), with its gradients."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import Grid
from nextbasis.data.pyramid import KERNEL, Pyramid
from nextbasis.tokenizers.common.codes import nearest


class Quantised(NamedTuple):
    """What became of maps: n tokens of all s levels."""

    ids: Int[Tensor, "b n"]
    vectors: Float[Tensor, "b n c"]  # that the ids are nearest to: what was left over, on each grid
    maps: Float[Tensor, "s b c h w"]  # what the ids of the first levels add up to, after each level


class ResidualQuantiser(Pyramid):
    """One codebook for all levels, and a few convolutions that levels share.

    Attributes carry the names of the published checkpoint.
    """

    def __init__(
        self,
        levels: tuple[Grid, ...],
        codebook_size: int,
        channels: int,
        num_phis: int,
        blend: float,
    ) -> None:
        """`num_phis` convolutions, 0 for one a level; `blend` is their share, the rest is kept."""
        super().__init__(levels)
        self.blend = blend
        self.embedding = nn.Embedding(codebook_size, channels)
        count = num_phis or len(levels)
        convolutions = [nn.Conv2d(channels, channels, KERNEL) for _ in range(count)]
        self.quant_resi: nn.Module = nn.ModuleList(convolutions)
        if num_phis:
            several = num_phis > 1
            self.quant_resi = nn.ModuleDict(
                {"qresi_ls": self.quant_resi} if several else {"qresi": convolutions[0]}
            )
        places = range(len(levels))
        self.place = [shared_phi(k, len(levels), num_phis) if num_phis else k for k in places]

    @property
    def codebook(self) -> Float[Tensor, "v c"]:  # type: ignore[override]
        """The codes."""
        return self.embedding.weight

    def phi(self, level: int) -> tuple[Float[Tensor, "c c 3 3"], Float[Tensor, " c"]]:
        """A level's convolution, with the part that is kept in its kernel."""
        convolutions = [part for part in self.quant_resi.modules() if isinstance(part, nn.Conv2d)]
        chosen = convolutions[self.place[level]]
        assert chosen.bias is not None
        kept = F.pad(torch.eye(len(chosen.bias)).to(chosen.bias)[..., None, None], (1, 1, 1, 1))
        return torch.lerp(kept, chosen.weight, self.blend), self.blend * chosen.bias

    def quantise(self, x: Float[Tensor, "b c h w"]) -> Quantised:
        """Each level takes the codes nearest to what those before it left over.

        Gradients of the maps reach codes and convolutions, none reaches x.
        """
        total, rest = self.start(len(x)), x.detach()
        parts: list[Quantised] = []
        for level in range(len(self.levels)):
            vectors = self.down(level, rest)
            ids = nearest(vectors.flatten(0, 1), self.codebook.detach()).view(vectors.shape[:2])
            added = self.up(level, self.codebook[ids])
            total, rest = total + added, rest - added.detach()
            parts.append(Quantised(ids, vectors, total))
        return Quantised(
            torch.cat([part.ids for part in parts], 1),
            torch.cat([part.vectors for part in parts], 1),
            torch.stack([part.maps for part in parts]),
        )

    def loss(
        self,
        x: Float[Tensor, "b c h w"],
        maps: Float[Tensor, "s b c h w"],
        commitment: float,
    ) -> Float[Tensor, ""]:
        """Mean over the levels: pull each running sum to x and, weighted, x to each running sum."""
        wanted = x.expand_as(maps)
        return F.mse_loss(maps, wanted.detach()) + commitment * F.mse_loss(wanted, maps.detach())


def shared_phi(level: int, count: int, num_phis: int) -> int:
    """Which of the shared convolutions a level of `count` has: the one whose place is nearest.

    Double precision decides ties between two, as officially: of ten levels and four convolutions
    the third and the eighth level are as far from one as from the other.
    """
    margin = 1 / ((3 if num_phis == 4 else 2) * num_phis)
    places = np.linspace(margin, 1 - margin, num_phis)
    return int(np.abs(places - level / max(1, count - 1)).argmin())
