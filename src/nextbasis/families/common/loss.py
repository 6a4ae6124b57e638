"""What every backbone's loss returns."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(kw_only=True)
class Loss:
    """A training loss and what the basis objective and the curves need of it."""

    value: Tensor  # scalar, to minimise
    error: Tensor | None = None  # (b n d) prediction error, 0 at tokens that were given
    snr: Tensor | None = None  # (b n) signal-to-noise ratio of every token's noise level
    notes: dict[str, Tensor] = field(default_factory=dict)  # scalars for the curves
