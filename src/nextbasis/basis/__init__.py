"""y = A x: bases, their objectives and their construction."""

from nextbasis.basis.constructions import NAMES, make
from nextbasis.basis.definition import Basis

__all__ = ["NAMES", "Basis", "make"]
