"""What KL-16's moments mean: a Gaussian for every number of a latent."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0  # log-variances are clamped to these, as in MAR's code


@dataclass(frozen=True)
class Posterior:
    """Independent Gaussians, one for each number of a latent."""

    mean: Float[Tensor, "b ..."]
    logvar: Float[Tensor, "b ..."]

    @classmethod
    def of(cls, moments: Float[Tensor, "b ..."], axis: int = 1) -> "Posterior":
        """The Gaussians of moments: means, then log-variances along `axis`, which are clamped."""
        mean, logvar = moments.chunk(2, axis)
        return cls(mean, logvar.clamp(LOGVAR_MIN, LOGVAR_MAX))

    @property
    def std(self) -> Float[Tensor, "b ..."]:
        """Standard deviations."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator) -> Float[Tensor, "b ..."]:
        """One draw each. Numbers come from the generator's device: a CPU one fits the papers'."""
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device)
        return self.mean + self.std * noise.to(self.mean)

    def kl(self) -> Float[Tensor, " b"]:
        """Divergence from the standard normal, summed over each latent, in nats."""
        terms = self.mean.square() + self.logvar.exp() - 1 - self.logvar
        return 0.5 * terms.flatten(1).sum(1)
