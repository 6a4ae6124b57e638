"""What a comparison found: one row per output, with its error and its tolerance."""

import math
from dataclasses import dataclass

from torch import Tensor

TOLERANCE = 1e-4  # of an output's largest magnitude: re-implementations agree to about 4e-6
LEAST_UNIT = 1e-4  # of the largest magnitude
FLOOR = 1e-6  # smallest tolerance, for outputs that are nearly zero


@dataclass(kw_only=True)
class Row:
    """One compared output."""

    name: str
    error: float  # largest absolute difference; infinite if shapes differ or numbers are not finite
    tolerance: float  # 0 for integers but of pixels: they must be equal

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


def compare(
    name: str,
    ours: Tensor,
    official: Tensor,
    relative: bool = False,
    absolute: float = 0.0,
    tolerance: float = TOLERANCE,
) -> Row:
    """Compare one output; `tolerance` is a share of the largest official magnitude.

    An `absolute` tolerance above 0 replaces it.

    `relative` compares every row in units of its own largest magnitude, or of LEAST_UNIT times
    the largest of all rows where that is more: what is zero but for rounding has no digits.
    """
    exact = not official.is_floating_point()
    ours, official = ours.detach().cpu().double(), official.double()
    if ours.shape != official.shape:
        return Row(name=f"{name} {list(ours.shape)}", error=float("inf"), tolerance=0.0)
    if relative:
        unit = official.abs()
        unit = unit.amax(tuple(range(1, unit.ndim)), keepdim=True) if unit.ndim > 1 else unit
        unit = unit.clamp(min=LEAST_UNIT * max(_largest(official.abs()), FLOOR))
        ours, official = ours / unit, official / unit
    error = _largest((ours - official).abs())
    limit = 0.0 if exact else max(FLOOR, tolerance * _largest(official.abs()))
    limit = absolute or (limit if math.isfinite(limit) else 0.0)
    return Row(name=f"{name} (relative)" if relative else name, error=error, tolerance=limit)


def _largest(values: Tensor) -> float:
    """The maximum, infinite where a value is not a number; 0 of nothing."""
    if not values.numel():
        return 0.0
    return values.nan_to_num(nan=float("inf"), posinf=float("inf")).max().item()


def table(rows: list[Row]) -> str:
    """Rows under a header, aligned."""
    cells = [("name", "max abs error", "tolerance", "pass")]
    for row in rows:
        verdict = "yes" if row.passed else "NO"
        cells.append((row.name, f"{row.error:.2e}", f"{row.tolerance:.2e}", verdict))
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    lines = [
        " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in cells
    ]
    lines.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
