"""Which weights of a checkpoint are meant: its sections by name, and the names of its tensors.

Official codes keep a moving average of the weights beside those that are trained, under several
names, and evaluate with the average.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nextbasis.support.pickles import Unread
from nextbasis.support.words import listed

FLAT = "flat"  # the tensors that are in no section
# Sections by their names, best first; an average is also known by a word of its name.
AVERAGED = ("model_ema", "ema_model", "ema", "params_ema", "state_dict_ema", "ema_state_dict")
TRAINED = ("model", "state_dict", "model_state_dict", "module", "params", "net", "network")
AVERAGE = re.compile(r"(?:^|[^a-z])(?:ema|Ema|averaged?|shadow)(?:[^a-z]|$)|EMA")
# What PyTorch's wrappers add to names: in front of all of them, or anywhere in some.
IN_FRONT = "module."
ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel, beside the weights

Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where in a file its weights were."""

    section: str  # as the file calls it
    averaged: bool  # as the file calls it
    removed: tuple[str, ...]  # from the tensors' names
    beside: tuple[str, ...]  # what else the file has, which was not read

    def __str__(self) -> str:
        """What was taken and what was not."""
        parts = [f"{self.section}, averaged" if self.averaged else self.section]
        if self.removed:
            parts.append(f"without {' and '.join(map(repr, self.removed))} in the tensors' names")
        if self.beside:
            parts.append(f"not read: {listed(self.beside)}")
        return "; ".join(parts)


def choose_weights(content: Any, section: str = "") -> tuple[Tensors, Origin]:
    """The averaged weights of a checkpoint if it has some, else those it has; or a named section.

    Raises: ValueError saying what the content is instead, or which weights there are.
    """
    if not isinstance(content, Mapping):
        raise ValueError(
            f"holds a {type(content).__name__}; a checkpoint is a dict with model_ema, ema, model, "
            "state_dict, or the tensors themselves"
        )
    found = _sections(content)
    name = section or _best(found)
    if name not in found:
        raise ValueError(_lacking(content, section, found))
    tensors, removed = _unwrapped(found[name])
    if unfit := [key for key, tensor in tensors.items() if not _is_plain(tensor)]:
        raise ValueError(f"holds tensors that are not stored as plain numbers: {listed(unfit)}")
    top = name.split("/")[0]
    others = {key: value for key, value in content.items() if str(key) != top}
    if top == FLAT:
        others = {key: value for key, value in others.items() if not isinstance(value, Tensor)}
    tops = {each.split("/")[0] for each in found}
    beside = [
        str(key) if str(key) in tops else _described(str(key), value)
        for key, value in others.items()
    ]
    beside += [key for key in found if key != name and key.split("/")[0] == top]
    averaged = bool(AVERAGE.search(name))
    return tensors, Origin(section=name, averaged=averaged, removed=removed, beside=tuple(beside))


def _sections(content: Mapping[Any, Any]) -> dict[str, Tensors]:
    """All dictionaries of tensors by name; of those in a section as section/name."""
    found: dict[str, Tensors] = {}
    tensors = _tensors(content)
    if any(tensor.ndim for tensor in tensors.values()):  # else they are counters
        found |= _split(FLAT, tensors)
    for key, value in content.items():
        if isinstance(value, Mapping):
            own = _tensors(value)
            parts = {f"{key}/{name}": _tensors(part) for name, part in value.items()}
            inner = {name: tensors for name, tensors in parts.items() if tensors}
            if own and _count(own) >= sum(map(_count, inner.values())):  # else they are counters
                found |= _split(str(key), own)
            else:
                found |= inner
    return found


def _count(tensors: Tensors) -> int:
    """How many numbers there are."""
    return sum(tensor.numel() for tensor in tensors.values())


def _tensors(value: Any) -> Tensors:
    """Those directly in a dictionary; nothing of anything else."""
    if not isinstance(value, Mapping):
        return {}
    return {str(name): each.detach() for name, each in value.items() if isinstance(each, Tensor)}


def _split(section: str, tensors: Tensors) -> dict[str, Tensors]:
    """A section, and those that a module of averages wrote into it.

    It is ema_pytorch's, which keeps names, or latent diffusion's, which removes their dots and has
    parameters only.
    """
    found = {}
    for module in AVERAGED:
        inner = {n.partition(".")[2]: t for n, t in tensors.items() if n.startswith(f"{module}.")}
        if inner:
            tensors = {n: t for n, t in tensors.items() if not n.startswith(f"{module}.")}
            if any(name.replace(".", "") in inner for name in tensors if "." in name):
                inner = {n: inner.get(n.replace(".", ""), t) for n, t in tensors.items()}
            found[f"{section}/{module}"] = inner
    return found | ({section: tensors} if tensors else {})


def _best(found: Mapping[str, Tensors]) -> str:
    """The section that is meant where none is named; empty where that is not clear."""
    averaged = [name for name in found if AVERAGE.search(name)]
    for candidates, known in ((averaged, AVERAGED), (list(found), TRAINED)):
        for name in known:
            if chosen := [each for each in candidates if each.split("/")[-1] == name]:
                return chosen[0]
        if candidates:
            break
    return candidates[0] if len(candidates) == 1 else ""


def _unwrapped(tensors: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """Tensors under the names that they had before a model was wrapped; what was removed.

    Raises: ValueError if two have one name then, or some have a prefix that all should have.
    """
    removed = []
    tensors = {name: tensor for name, tensor in tensors.items() if name != COUNTER}
    for part in ANYWHERE:
        if any(part in name for name in tensors):
            removed.append(part)
            tensors = _without(part, tensors)
    while tensors and all(name.startswith(IN_FRONT) for name in tensors):
        removed.append(IN_FRONT)
        tensors = {name.removeprefix(IN_FRONT): tensor for name, tensor in tensors.items()}
    if count := sum(name.startswith(IN_FRONT) for name in tensors):
        raise ValueError(
            f"holds weights of which {count} of {len(tensors)} have '{IN_FRONT}' in front of their "
            "names; all must have it, or none"
        )
    return tensors, tuple(dict.fromkeys(removed))


def _without(part: str, tensors: Tensors) -> Tensors:
    """The tensors without a part of their names.

    Raises: ValueError naming those whose names are others' then.
    """
    names = {name: name.replace(part, "") for name in tensors}
    counts = Counter(names.values())
    if twice := [name for name, short in names.items() if counts[short] > 1]:
        raise ValueError(
            f"holds weights twice, with '{part}' in their names and without: {listed(twice)}; "
            "keep those that are meant"
        )
    return {names[name]: tensor for name, tensor in tensors.items()}


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not (tensor.is_meta or tensor.is_quantized)


def _described(key: str, value: Any) -> str:
    """What else a file has; why it cannot be the averaged weights, although it is called so."""
    if AVERAGE.search(key) and (value is None or isinstance(value, Mapping | list | tuple)):
        return f"{key} ({'no tensors by name' if value else 'empty'})"
    return key


def _lacking(content: Mapping[Any, Any], section: str, found: Mapping[str, Tensors]) -> str:
    if found and section:
        return f"holds no weights '{section}'; it has {listed(found)}"
    if found:
        return f"holds several weights; name those that are meant (--section): {listed(found)}"
    unread = any(isinstance(value, Unread) for value in content.values())
    return (
        f"holds no tensors: {listed(content) or 'nothing at all'}"
        f"{' (NumPy arrays and other objects are not read)' if unread else ''}; a checkpoint has "
        "model_ema, ema, model, state_dict, or the tensors themselves"
    )
