"""A generator: a basis in front of and behind a backbone; tokens and labels in, tokens out."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.backbones.mar import MAR
from nextbasis.backbones.rar import RAR
from nextbasis.backbones.xar import XAR
from nextbasis.basis.objective import residual_loss
from nextbasis.basis.transform import Basis
from nextbasis.config import BasisConfig, MARConfig, OrderConfig, RARConfig, XARConfig
from nextbasis.execution import precision
from nextbasis.heads.loss import Loss
from nextbasis.noise import ImageNoise

Backbone = MAR | XAR | RAR


@dataclass(kw_only=True)
class TokenSpec:
    """What the tokenizer's tokens look like."""

    grid: tuple[int, int]  # rows and columns
    channels: int  # numbers per continuous token
    codebook_size: int  # 0 for continuous tokens
    num_classes: int

    @property
    def num_tokens(self) -> int:
        """Tokens per image."""
        return self.grid[0] * self.grid[1]


class Generator(nn.Module):
    """Tokens are put into the host's own order, mapped by A, modelled, and mapped back.

    The backbone cannot tell whether a basis is there; ids have none (`basis` is None). A is applied
    in float32 whatever the precision around it.
    """

    def __init__(self, backbone: Backbone, basis: Basis | None) -> None:
        """Take the parts as they are."""
        super().__init__()
        self.backbone, self.basis = backbone, basis

    def loss(self, tokens: Tensor, labels: Int[Tensor, " b"], draws: Any) -> Loss:
        """The backbone's loss on y = A x, plus what trains A (BAR, L_BAR and residual)."""
        x = tokens[:, self.backbone.host_order]
        if self.basis is None:
            return self.backbone.loss(x, labels, draws)
        with precision("float32", x.device):
            y = self.basis(x)
        loss = self.backbone.loss(y, labels, draws)
        if self.basis.config.learned:
            loss.notes["host_loss"] = loss.value.detach()
            with precision("float32", x.device):
                loss.value = self._basis_loss(x, y, loss)
        return loss

    def _basis_loss(self, x: Tensor, y: Tensor, loss: Loss) -> Float[Tensor, ""]:
        """(1 - share) L_BAR + share residual + regulariser."""
        assert self.basis is not None and loss.error is not None
        config, value = self.basis.config, loss.value
        if config.objective == "residual":
            levels = len(loss.error) // len(x)  # noise levels drawn per token
            residual = residual_loss(
                x.repeat(levels, 1, 1), y.repeat(levels, 1, 1), loss.error, self.basis.weight
            )
            value = torch.lerp(value, residual, config.residual_weight)
            loss.notes["residual_loss"] = residual.detach()
        return value + config.regulariser * self.basis.regulariser()

    def sample(self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: Any) -> Tensor:
        """Tokens in raster order, one image per label."""
        y = self.backbone.sample(labels, noise, sampler)
        with precision("float32", y.device):
            x = y if self.basis is None else self.basis.invert(y)
        return torch.empty_like(x).index_copy_(1, self.backbone.host_order, x)


def build_backbone(model: Any, order: OrderConfig, spec: TokenSpec) -> Backbone:
    """The backbone that a model's config names.

    Raises: ValueError if the backbone and the tokens do not fit each other.
    """
    if isinstance(model, RARConfig) != (spec.codebook_size > 0):
        wanted = "ids (a VQ tokenizer)" if isinstance(model, RARConfig) else "continuous tokens"
        raise ValueError(f"model.family={model.family} needs {wanted}; choose other tokens=…")
    if isinstance(model, MARConfig):
        return MAR(model, spec.grid, spec.channels, spec.num_classes)
    if isinstance(model, XARConfig):
        return XAR(model, spec.grid, spec.channels, spec.num_classes)
    return RAR(model, spec.grid, spec.codebook_size, spec.num_classes, order)


def build(model: Any, basis: BasisConfig, order: OrderConfig, spec: TokenSpec) -> Generator:
    """A generator with fresh weights and A = I."""
    backbone = build_backbone(model, order, spec)
    if spec.codebook_size:
        return Generator(backbone, None)
    return Generator(backbone, Basis(basis, torch.eye(spec.num_tokens)))
