"""What the official codes call our tensors, and whose weights a file holds by their names."""

import torch
from torch import Tensor

from nextbasis.config import ModelBase, OrderConfig
from nextbasis.families import Family, find, names
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.spec import TokenSpec
from nextbasis.support.words import listed
from nextbasis.tokenizers import kinds
from nextbasis.tokenizers.kinds import Kind

RASTER = OrderConfig(scan="raster", anneal_start=0.0, anneal_end=0.0)


def our_name(family: str, official: str) -> str:
    """Our name of an official tensor."""
    return _rename(official, _renames(family))


def official_name(family: str, ours: str) -> str:
    """The official name of one of our tensors."""
    return _rename(ours, {new: old for old, new in _renames(family).items()})


def _renames(family: str) -> dict[str, str]:
    """Official parts of names to ours, whole words between dots; all others are the same."""
    return find(family).part("official").RENAMES


def _rename(name: str, renames: dict[str, str]) -> str:
    name = f".{name}."
    for old, new in renames.items():
        name = name.replace(f".{old}.", f".{new}.")
    return name[1:-1]


def official_shapes(model: ModelBase, spec: TokenSpec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the official state dict of this model.

    Raises: ValueError if the model and the tokens do not fit each other.
    """
    family = model.family
    with torch.device("meta"):
        state = build_backbone(model, RASTER, spec).state_dict()
    shapes = {official_name(family, name): tuple(t.shape) for name, t in state.items()}
    constants = find(family).part("official").constants(model, spec)
    return shapes | {name: tuple(t.shape) for name, t in constants.items()}


# Tensors of official files that nothing here reads, so that they are not taken for others.
UNREAD = {"titok": ("latent_tokens", "pixel_quantize.embedding.weight")}


def check_family(family: str, state: dict[str, Tensor]) -> None:
    """Nothing if most tensors typical of the family are there.

    Raises: ValueError naming the family found.
    """
    known: list[Family | Kind] = [find(name) for name in names()]
    known += [kinds.find(name) for name in kinds.published()]
    signatures = {each.name: each.part("official").SIGNATURE for each in known} | UNREAD
    found = {
        name: sum(key in state for key in keys) / len(keys) for name, keys in signatures.items()
    }
    # The signature of one may be part of another's, which then tells more.
    best = max(found, key=lambda name: (found[name], len(signatures[name])))
    other = f"the checkpoint is of family {best}, not {family}"
    if found[family] == 1:
        if len(signatures[best]) > len(signatures[family]):
            raise ValueError(other)
        return
    ends = tuple(f".{key}" for key in signatures[family])
    if longer := [name for name in state if name.endswith(ends)]:
        prefix = next(longer[0].removesuffix(end[1:]) for end in ends if longer[0].endswith(end))
        count = sum(name.startswith(prefix) for name in state)
        raise ValueError(
            f"{count} of {len(state)} tensors have '{prefix}' in front of their names, "
            f"which those of {family} have not: take it off, and leave out all others"
        )
    if found[family] > 0.5 or best == family and found[family] > 0:
        return
    if found[best] > 0.5:
        raise ValueError(other)
    raise ValueError(
        f"the checkpoint is not of family {family}: it lacks {listed(signatures[family])}; "
        f"it has {listed(state)}"
    )
