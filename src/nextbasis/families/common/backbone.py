"""What every model of a family is: one constructor, and the four things that are asked of it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.config import OrderConfig
from nextbasis.families.common.execution import sent
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec


@runtime_checkable
class Draws(Protocol):
    """The random numbers of one training step, as data: a process takes its part of them."""

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""

    def share_level(self) -> "Draws":
        """Draws with one noise level for all tokens of an image."""


@runtime_checkable
class ReadsCodes(Protocol):
    """A model that is fed more of its tokens than their ids."""

    def attach_codes(self, codes: Mapping[str, Tensor]) -> None:
        """Take what ids stand for from here, before anything else is asked of it.

        Raises: ValueError if they are no codes of such tokens.
        """


def moved(draws: Any, device: torch.device) -> Any:
    """Draws, a dataclass, with all tensors on this device; numbers are drawn on the CPU."""
    tensors = {name: value for name, value in vars(draws).items() if isinstance(value, Tensor)}
    return replace(draws, **{name: sent(value, device) for name, value in tensors.items()})


class Backbone(nn.Module):
    """A network that models sequences of tokens; MODEL of a family's part `model` is its class."""

    host_order: Tensor  # (n,) the place in raster order of each token of its own order
    step_of: Tensor  # (n,) the step of sampling in which each token of its own order is drawn
    layout: tuple[int, int]  # groups and tokens of a group, or rows and columns: of a structured A
    grouped: ClassVar[bool]  # whether a step draws several tokens, in groups that are its own

    @abstractmethod
    def __init__(self, config: Any, spec: TokenSpec, order: OrderConfig) -> None:
        """A model with fresh weights, of these tokens.

        Raises: ValueError if config and tokens do not fit each other.
        """
        super().__init__()
        self.spec = spec

    @staticmethod
    @abstractmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """Whether weight decay acts on a parameter."""

    def prepare(self, tokens: Callable[[], Float[Tensor, "i n d"]]) -> None:
        """Learn what must be known before the first step, of training tokens in its own order.

        Nothing, unless a family says otherwise. It is no part of the state: a training that goes on
        after a kill learns it again.
        """
        return

    @abstractmethod
    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """The random numbers of one step; `progress` is the share of the training, from 0 to 1."""

    @abstractmethod
    def loss(
        self, tokens: Tensor, labels: Int[Tensor, " b"], draws: Any, target: Any = None
    ) -> Loss:
        """The loss of tokens in its own order; `target` replaces them where they are predicted."""

    @abstractmethod
    def sample(self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: Any) -> Tensor:
        """Tokens in its own order, one image a label."""
