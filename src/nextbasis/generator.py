"""A generator: a basis in front of and behind a backbone; tokens and labels in, tokens out."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from nextbasis.backbones.mar import MAR
from nextbasis.backbones.rar import RAR
from nextbasis.backbones.xar import XAR
from nextbasis.basis.objective import ENERGY_ONLY, Seen, total_loss
from nextbasis.basis.transform import BasisTransform
from nextbasis.config import BasisConfig, MARConfig, OrderConfig, RARConfig, XARConfig
from nextbasis.execution import precision
from nextbasis.heads.loss import Loss
from nextbasis.layers.text import Captions, TextEmbedding, TextSpec
from nextbasis.noise import ImageNoise

Backbone = MAR | XAR | RAR


@dataclass(kw_only=True)
class TokenSpec:
    """What the tokenizer's tokens look like, and how many coefficients their basis has."""

    grid: tuple[int, int]  # rows and columns
    channels: int  # numbers per continuous token
    codebook_size: int  # 0 for continuous tokens
    num_classes: int  # or captions
    num_rows: int = 0  # of an A that is not square: tokens that the backbone sees
    text: TextSpec | None = None  # of captions

    @classmethod
    def of(cls, values: dict[str, Any]) -> "TokenSpec":
        """What `dataclasses.asdict` and a JSON file made of one."""
        text = values.get("text")
        kept = {"grid": tuple(values["grid"]), "text": TextSpec(**text) if text else None}
        return cls(**values | kept)

    @property
    def num_tokens(self) -> int:
        """Tokens per image."""
        return self.grid[0] * self.grid[1]

    @property
    def sequence(self) -> tuple[int, int]:
        """The grid that the backbone sees: that of the image, or one row of coefficients."""
        return (1, self.num_rows) if self.num_rows else self.grid


class Generator(nn.Module):
    """Tokens are put into the host's own order, mapped by A, modelled, and mapped back.

    The backbone cannot tell whether a basis is there; ids have none (`basis` is None). A is applied
    in float32 whatever the precision around it. A basis with more or fewer rows than tokens is
    modelled as a sequence, and its columns follow the raster order.
    """

    host_order: Tensor

    def __init__(self, backbone: Backbone, basis: BasisTransform | None) -> None:
        """Take the parts as they are."""
        super().__init__()
        self.backbone, self.basis = backbone, basis
        host_order = backbone.host_order
        if basis is not None and basis.num_rows != basis.num_tokens:
            host_order = torch.arange(basis.num_tokens)
        self.register_buffer("host_order", host_order, persistent=False)

    def attach(self, captions: Captions) -> None:
        """Let labels stand for these captions.

        Raises: ValueError if the model knows classes only, or not so many captions.
        """
        embedding = getattr(self.backbone, "class_emb", None)
        if not isinstance(embedding, TextEmbedding):
            raise ValueError("this model was trained on classes; it reads no captions")
        embedding.attach(captions)

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Any:
        """The random numbers of one training step at a share of the training."""
        draws: Any = self.backbone.draw(batch, progress, generator)
        shared = self.basis is not None and self.basis.config.noise_level == "sequence"
        return draws.share_level() if shared else draws

    def loss(self, tokens: Tensor, labels: Int[Tensor, " b"], draws: Any) -> Loss:
        """The backbone's loss on y = A x, or what trains A with it (BAR, L_BAR and residual)."""
        x = tokens[:, self.host_order]
        if self.basis is None or isinstance(self.backbone, RAR):
            return self.backbone.loss(x, labels, draws)
        config = self.basis.config
        with precision("float32", x.device):
            y = self.basis(x)
        seen = y.detach() if config.objective in ENERGY_ONLY else y
        target = y.detach() if config.detach_target else None
        loss = self.backbone.loss(seen, labels, draws, target)
        if config.learned:
            loss.notes["host_loss"] = loss.value.detach()
            with precision("float32", x.device):
                self._add_basis_loss(x, y, loss)
        return loss

    def forward(self, tokens: Tensor, labels: Int[Tensor, " b"], draws: Any) -> Loss:
        """The loss, by the name under which torch's wrappers of modules know it."""
        return self.loss(tokens, labels, draws)

    def _add_basis_loss(self, x: Tensor, y: Tensor, loss: Loss) -> None:
        assert self.basis is not None and loss.error is not None and loss.snr is not None
        levels = len(loss.error) // len(x)  # noise levels drawn per token
        seen = Seen(
            x=x.repeat(levels, 1, 1), y=y.repeat(levels, 1, 1), error=loss.error, snr=loss.snr
        )
        config, a = self.basis.config, self.basis.matrix()
        value, notes = total_loss(config, loss.value, seen, a, self.basis.step_of)
        loss.value = value + config.regulariser * self.basis.regulariser()
        loss.notes |= notes

    def sample(self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: Any) -> Tensor:
        """Tokens in raster order, one image per label.

        Raises: ValueError if a learned A cannot be inverted.
        """
        y = self.backbone.sample(labels, noise, sampler)
        with precision("float32", y.device):
            x = y if self.basis is None else self.basis.invert(y)
        return torch.empty_like(x).index_copy_(1, self.host_order, x)


def build_backbone(model: Any, order: OrderConfig, spec: TokenSpec) -> Backbone:
    """The backbone that a model's config names.

    Raises: ValueError if the backbone and the tokens do not fit each other.
    """
    if isinstance(model, RARConfig) != (spec.codebook_size > 0):
        wanted = "ids (a VQ tokenizer)" if isinstance(model, RARConfig) else "continuous tokens"
        raise ValueError(f"model.family={model.family} needs {wanted}; choose other tokens=…")
    if isinstance(model, MARConfig):
        return MAR(model, spec.sequence, spec.channels, spec.num_classes, spec.text)
    if isinstance(model, XARConfig):
        return XAR(model, spec.sequence, spec.channels, spec.num_classes, spec.text)
    if spec.text is not None:
        raise ValueError("model.family=rar knows classes only; captions=… needs mar or xar")
    return RAR(model, spec.grid, spec.codebook_size, spec.num_classes, order)


def build(
    model: Any, basis: BasisConfig, order: OrderConfig, spec: TokenSpec, seed: int = 0
) -> Generator:
    """A generator with fresh weights; a dense A is the identity, `seed` starts a structured one.

    Raises: ValueError if the parts do not fit each other.
    """
    backbone = build_backbone(model, order, spec)
    if isinstance(backbone, RAR):
        return Generator(backbone, None)
    layout = spec.grid if spec.num_rows else backbone.layout
    return Generator(backbone, BasisTransform(basis, layout, spec.num_rows, seed))
