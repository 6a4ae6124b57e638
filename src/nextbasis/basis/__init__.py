"""y = A x: bases, their objectives and their construction. Importing it imports no torch."""

from nextbasis.basis.registry import find, make, names

__all__ = ["find", "make", "names"]
