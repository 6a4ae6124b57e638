"""Every named basis: its method, and how it is made for a grid."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from nextbasis.basis import frequency, permutations, pyramids, statistics
from nextbasis.basis.definition import Basis

METHODS: dict[str, tuple[str, Callable[..., Basis]]] = {
    "raster": ("row after row: A = I", partial(permutations.scanned, "raster")),
    "alternate": ("every second row backwards", partial(permutations.scanned, "alternate")),
    "zcurve": ("Morton order", partial(permutations.scanned, "zcurve")),
    "spiral_in": ("inward spiral", partial(permutations.scanned, "spiral_in")),
    "spiral_out": ("outward spiral", partial(permutations.scanned, "spiral_out")),
    "subsample": ("one of each quadrant in turn", partial(permutations.scanned, "subsample")),
    "hilbert": ("Hilbert curve", partial(permutations.scanned, "hilbert")),
    "xar": ("xAR: cells", permutations.xar),
    "par": ("PAR: regions in parallel", permutations.par),
    "fractalgen": ("FractalGen: nested blocks", permutations.fractalgen),
    "var": ("VAR: residual scales", pyramids.var),
    "var_pool": ("VAR as BAR words it: average pools", pyramids.var_pool),
    "far": ("FAR: low-pass chain, then x", pyramids.far),
    "far_telescoped": ("FAR: what each level adds", pyramids.far_telescoped),
    "far_dct": ("FAR, invertible: DCT by max(u, v)", frequency.far_dct),
    "titok": ("TiTok, linear stand-in: first KLT rows", statistics.titok),
    "dct": ("DCT-II, zigzag", frequency.dct),
    "haar": ("Haar wavelets, coarse to fine", frequency.haar),
    "walsh": ("Walsh-Hadamard by sequency, zigzag", frequency.walsh),
    "klt": ("Karhunen-Loeve (PCA) of tokens", statistics.karhunen_loeve),
    "random": ("random orthogonal", statistics.random),
    "scaled": ("control: scale I", statistics.scaled),
    "rar": ("RAR: random orders", permutations.rar),
}
NAMES = tuple(METHODS)


def make(name: str, height: int, width: int, **options: Any) -> Basis:
    """The named basis for height x width tokens; see README for the options of each.

    Raises: ValueError for an unknown name or option, a missing one, or a grid that the basis
    cannot have.
    """
    if name not in METHODS:
        raise ValueError(f"basis must be one of {', '.join(NAMES)}; got '{name}'")
    if height < 1 or width < 1:
        raise ValueError(f"a grid has sides of at least 1, got {height} x {width}")
    construct = METHODS[name][1]
    known = option_names(name)
    if unknown := sorted(set(options) - set(known)):
        choices = f"its options are {', '.join(known)}" if known else "it has no options"
        raise ValueError(f"basis '{name}' has no option '{unknown[0]}': {choices}")
    missing = [option for option, required in known.items() if required and option not in options]
    if missing:
        raise ValueError(f"basis '{name}' needs the option '{missing[0]}'")
    try:
        return construct(height, width, **options)
    except ValueError as error:
        prefix = f"basis '{name}': "
        raise ValueError(prefix + str(error).removeprefix(prefix)) from None


def option_names(name: str) -> dict[str, bool]:
    """Options of a named basis, and whether each is required."""
    parameters = inspect.signature(METHODS[name][1]).parameters.values()
    return {
        parameter.name: parameter.default is parameter.empty
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
