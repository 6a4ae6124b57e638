"""What is modelled: what every model is told, bases and orders."""

from dataclasses import dataclass
from typing import Any

from nextbasis.basis.registry import is_brought, names, order_names
from nextbasis.config.checks import check_dropout, choose, fraction


@dataclass(kw_only=True)
class ModelBase:
    """What every model is told; the config of a family adds its own sizes."""

    family: str  # a folder of nextbasis.families
    dropout: float  # probability; officially 0.1 of MAR, xAR and RAR
    label_drop: float  # probability of the null class in place of the label; officially 0.1

    def __post_init__(self) -> None:
        """Check the probabilities."""
        check_dropout(self)


OBJECTIVES = ("l_bar", "r0", "r0_inverse", "r1", "r2", "r3", "r4")
STRUCTURES = ("dense", "kronecker", "blocks", "householder")


@dataclass(kw_only=True)
class BasisConfig:
    """How tokens are re-expressed before the backbone sees them: y = A x."""

    # A at the start: `identity` (in the host's own order of the tokens), a basis that `nextbasis
    # bases` lists, or one that you bring: `file:PATH` (.npy or .safetensors) or `module:function`
    # (docs/basis.md, section 9). klt and titok are of 10,000 training images, uncentred.
    init: str
    # Of that basis. xar: cells_per_side (2); par: region (2); fractalgen: sizes (4, 1),
    # guiding_pixel (false); var, var_pool: scales; far, far_telescoped: levels; titok: num_rows (a
    # quarter); scaled: scale (0.93); random: seed.
    options: dict[str, Any]
    # none, or unit: every row is divided by the root mean square of its coefficients. An extension;
    # frames need it, because their rows differ in scale.
    gain: str
    learned: bool  # whether A is trained with the model
    # Of a learned A: dense; kronecker (rows times columns of the grid, or cells times tokens of a
    # cell), blocks (one for each row of the grid, or cell) or householder, which start at identity
    # or random.
    structure: str
    reflections: int  # of structure householder: how many, an even number
    # l_bar (the host's loss on y = A x), or a reading of the residual objective (docs/basis.md): r0
    # literal, r0_inverse with A^-1 for A^T, r1 prediction part for the model and energy part for A,
    # r2 prefixes of whole steps, r3 energy part for A only, r4 no energy part.
    objective: str
    # Share of the residual objective in the loss; open in the paper. 1 leaves late tokens almost
    # untrained, since their weight falls as n - k + 1.
    residual_weight: float
    energy_weight: float  # of r1, r3: weight of the energy part; open in the paper
    # Of r0, r0_inverse, r2: bound on the signal-to-noise ratio that weights the sum, 0 = none; open
    # in the paper. Unbounded it has a mean of 86 under MAR's schedule, most of it from one step in
    # a hundred.
    snr_clip: float
    noise_level: str  # host (per token or cell) or sequence (one per image); open in the paper
    # Of l_bar: no gradient of A through the host's target, as in MAR's released code; open in the
    # paper.
    detach_target: bool
    regulariser: float  # weight of the squared Frobenius norm of A^T A - I; open in the paper
    projection: str  # after every step: none, hard (singular values become 1) or soft
    delta: float  # of soft: singular values stay in [1 - delta, 1 + delta]; 0.5 in the paper
    lr: float  # learning rate of A (Adam, no weight decay, the model's schedule); open in the paper

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
    """In which order RAR's training visits the tokens; models of numbers ignore it."""

    # The order annealed to: raster, alternate, zcurve, spiral_in, spiral_out, subsample, hilbert,
    # xar, par or fractalgen.
    scan: str
    anneal_start: float  # fraction of training before which every order is random; RAR: 0.5
    anneal_end: float  # fraction of training after which every order is the scan; RAR: 0.75

    def __post_init__(self) -> None:
        """Check choice and ranges."""
        choose("order.scan", self.scan, order_names())
        fraction("order", self, "anneal_start", "anneal_end")
        if self.anneal_start > self.anneal_end:
            raise ValueError(
                f"order.anneal_start must not exceed order.anneal_end, "
                f"got {self.anneal_start} and {self.anneal_end}"
            )
