"""A generator: a basis in front of and behind a backbone; tokens and labels in, tokens out."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.basis.definition import Basis
from nextbasis.basis.objective import ENERGY_ONLY, Seen, total_loss
from nextbasis.basis.start import start
from nextbasis.basis.transform import BasisTransform
from nextbasis.config import BasisConfig, ModelBase, OrderConfig
from nextbasis.data.layout import TokenLayout
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.execution import precision, sent
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import Captions, TextEmbedding
from nextbasis.families.family import find, names


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

    @torch.no_grad()
    def prepare(self, tokens: Callable[[], Float[Tensor, "i n d"]]) -> None:
        """Let the backbone learn what it must know beforehand, of training tokens in raster order.

        It sees them as it does in training: y = A x, with A at its start.
        """

        def seen() -> Tensor:
            x = sent(tokens(), self.host_order.device)[:, self.host_order]
            return x if self.basis is None else self.basis(x)

        self.backbone.prepare(seen)

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Any:
        """The random numbers of one training step at a share of the training."""
        draws: Any = self.backbone.draw(batch, progress, generator)
        shared = self.basis is not None and self.basis.config.noise_level == "sequence"
        return draws.share_level() if shared else draws

    def loss(self, tokens: Tensor, labels: Int[Tensor, " b"], draws: Any) -> Loss:
        """The backbone's loss on y = A x, or what trains A with it (BAR, L_BAR and residual)."""
        x = tokens[:, self.host_order]
        if self.basis is None:
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


def build_backbone(model: ModelBase, order: OrderConfig, spec: TokenSpec) -> Backbone:
    """The model that a config names by its family, without a basis.

    Raises: ValueError if the model and the tokens do not fit each other.
    """
    family = find(model.family, "model.family")
    if family.tokens != spec.kind:
        raise ValueError(
            f"model.family={family.name} needs tokens that are {family.tokens} and these are "
            f"{spec.kind}; choose other tokens=…"
        )
    if spec.text is not None and not family.captions:
        able = [name for name in names() if find(name).captions]
        raise ValueError(
            f"model.family={family.name} knows classes only; captions=… needs {' or '.join(able)}"
        )
    backbone = family.part("model").MODEL(model, spec, order)
    assert isinstance(backbone, Backbone)
    return backbone


def start_of(
    config: BasisConfig,
    layout: TokenLayout,
    tokens: Callable[[], Float[Tensor, "i n d"]],
    seed: int,
) -> Basis | None:
    """The basis of these tokens that a config names, None for the identity; see `basis.start`.

    Raises: ValueError naming the key if they cannot be mixed, or the basis is impossible.
    """
    if layout.has_basis:
        return start(config, layout.grid, tokens, seed)
    if config.learned or config.init != "identity":
        raise ValueError(
            f"basis.init={config.init} and basis.learned={config.learned} need tokens that are "
            f"numbers on one grid, and these are {layout}; choose other tokens=… or basis=identity"
        )
    return None


def build(
    model: ModelBase, basis: BasisConfig, order: OrderConfig, spec: TokenSpec, seed: int = 0
) -> Generator:
    """A generator with fresh weights; a dense A is the identity, `seed` starts a structured one.

    Raises: ValueError if the parts do not fit each other.
    """
    backbone = build_backbone(model, order, spec)
    if not find(model.family).has_basis:
        return Generator(backbone, None)
    layout = spec.grid if spec.num_rows else backbone.layout
    return Generator(backbone, BasisTransform(basis, layout, spec.num_rows, seed))
