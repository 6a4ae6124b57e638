"""Families of generative models: one folder each, found by name; README.md tells how to add one."""

from nextbasis.families.family import Family, check, find, names

__all__ = ["Family", "check", "find", "names"]
