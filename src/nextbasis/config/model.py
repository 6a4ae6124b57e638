"""What is modelled: what every model is told, bases and orders."""

from dataclasses import dataclass
from typing import Any

from nextbasis.basis.registry import is_brought, names, order_names
from nextbasis.config.checks import check_dropout, choose, fraction


@dataclass(kw_only=True)
class ModelBase:
    """What every model is told; the config of a family adds its own sizes."""

    family: str  # one of nextbasis.families.names()
    dropout: float
    label_drop: float  # probability of the null class, for guidance

    def __post_init__(self) -> None:
        """Check the probabilities."""
        check_dropout(self)


OBJECTIVES = ("l_bar", "r0", "r0_inverse", "r1", "r2", "r3", "r4")
STRUCTURES = ("dense", "kronecker", "blocks", "householder")


@dataclass(kw_only=True)
class BasisConfig:
    """How tokens are re-expressed before the backbone sees them: y = A x."""

    init: str  # A at the start: identity (in the host's order), a name, file:PATH, module:function
    options: dict[str, Any]  # of that basis, such as {scale: 0.93}
    gain: str  # none, or unit: rows divided by the deviation of their coefficients
    learned: bool
    structure: str  # dense, kronecker, blocks or householder
    reflections: int  # householder: how many
    objective: str  # l_bar, or a reading of the residual objective: r0, r0_inverse, r1, r2, r3, r4
    residual_weight: float  # share of the residual objective; open in the paper
    energy_weight: float  # r1, r3: weight of the energy part; open in the paper
    snr_clip: float  # r0, r0_inverse, r2: bound on the noise weight, 0 = none; open in the paper
    noise_level: str  # host (per token or cell) or sequence (one per image); open in the paper
    detach_target: bool  # cut the gradient of A through the host's target, as MAR's code does
    regulariser: float  # weight of |A^T A - I|_F^2; open in the paper
    projection: str  # none, hard or soft
    delta: float  # soft: singular values stay in [1 - delta, 1 + delta]
    lr: float  # learning rate of A; open in the paper

    def __post_init__(self) -> None:
        """Check choices and ranges."""
        if not is_brought(self.init):
            choose("basis.init", self.init, ("identity", *names()))
        choose("basis.gain", self.gain, ("none", "unit"))
        choose("basis.structure", self.structure, STRUCTURES)
        choose("basis.objective", self.objective, OBJECTIVES)
        choose("basis.noise_level", self.noise_level, ("host", "sequence"))
        choose("basis.projection", self.projection, ("none", "hard", "soft"))
        if not 0 <= self.delta < 1:
            raise ValueError(f"basis.delta must lie in [0, 1), got {self.delta}")
        fraction("basis", self, "residual_weight")
        for name in ("regulariser", "energy_weight", "snr_clip", "lr"):
            if getattr(self, name) < 0:
                raise ValueError(f"basis.{name} must not be negative, got {getattr(self, name)}")
        if self.objective in ("r1", "r3") and not self.energy_weight:
            raise ValueError(
                f"basis.energy_weight must be above 0 for basis.objective={self.objective}, where "
                "nothing else trains A"
            )
        if self.detach_target and self.objective != "l_bar":
            raise ValueError(
                f"basis.detach_target needs basis.objective=l_bar, got {self.objective}: the "
                "residual of a detached target is no loss of A"
            )
        if not self.learned and (self.objective != "l_bar" or self.structure != "dense"):
            raise ValueError(
                f"basis.objective={self.objective} and basis.structure={self.structure} "
                "need basis.learned=true: they are ways to train A"
            )


@dataclass(kw_only=True)
class OrderConfig:
    """In which order RAR's training visits the tokens."""

    scan: str  # the order annealed to; see nextbasis.basis.orders
    anneal_start: float  # fraction of training before which every order is random
    anneal_end: float  # fraction after which every order is the scan

    def __post_init__(self) -> None:
        """Check choice and ranges."""
        choose("order.scan", self.scan, order_names())
        fraction("order", self, "anneal_start", "anneal_end")
        if self.anneal_start > self.anneal_end:
            raise ValueError(
                f"order.anneal_start must not exceed order.anneal_end, "
                f"got {self.anneal_start} and {self.anneal_end}"
            )
