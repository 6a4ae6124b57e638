"""Checks of values that several sections share; each raises ValueError naming the key."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, get_args, get_origin

from nextbasis.support.words import nearest

SEEDS = 2**32  # PyTorch's CPU generator takes no more of a seed than 32 bits


def choose(key: str, value: str, choices: Sequence[str]) -> None:
    """One of a few names."""
    if value not in choices:
        raise ValueError(f"{key} must be one of {nearest(choices, value)}; got '{value}'")


def positive(section: str, part: object, *names: str) -> None:
    """Numbers above 0."""
    for name in names:
        if not getattr(part, name) > 0:
            raise ValueError(f"{section}.{name} must be above 0, got {getattr(part, name)}")


def fraction(section: str, part: object, *names: str) -> None:
    """Numbers from 0 to 1."""
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise ValueError(f"{section}.{name} must lie in [0, 1], got {getattr(part, name)}")


def check_file_name(key: str, name: str) -> None:
    """A name that a folder can have, in any language; blanks may stand inside."""
    is_plain = name.isprintable() and name == name.strip() and "/" not in name
    if not is_plain or name in ("", ".", ".."):
        raise ValueError(f"{key} must be a plain file name, without slashes; got {name!r}")


def check_type(key: str, value: object, wanted: Any) -> None:
    """A value of the type of a config's field, such as list[int]; numbers are finite."""
    if get_origin(wanted) is list and isinstance(value, list):
        for part in value:
            check_type(f"a part of {key}", part, get_args(wanted)[0])
        return
    fitting = (int, float) if wanted is float else get_origin(wanted) or wanted
    if not isinstance(value, fitting) or (isinstance(value, bool) and wanted is not bool):
        name = wanted.__name__ if isinstance(wanted, type) else wanted
        raise ValueError(f"{key} must be of type {name}, got {value!r}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{key} must be finite, got {value}")


def check_seed(seed: int) -> None:
    """A seed of PyTorch's generators."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"seed must lie in [0, {SEEDS}), got {seed}")


def check_heads(model: Any, width: str, heads: str) -> None:
    """Attention heads divide the width."""
    positive("model", model, width, heads)
    if getattr(model, width) % getattr(model, heads):
        raise ValueError(
            f"model.{heads} must divide model.{width}, "
            f"got {getattr(model, heads)} and {getattr(model, width)}"
        )


def check_dropout(model: Any) -> None:
    """Probabilities of dropping something."""
    if not 0 <= model.dropout < 1:
        raise ValueError(f"model.dropout must lie in [0, 1), got {model.dropout}")
    fraction("model", model, "label_drop")
