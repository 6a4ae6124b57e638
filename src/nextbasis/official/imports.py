"""Official weights as ours and back, exactly; the folder of an imported model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nextbasis.basis.transform import BasisTransform
from nextbasis.config import BasisConfig, OrderConfig, as_dict, section
from nextbasis.families import check, find
from nextbasis.families.common.checkpoint import CONFIG, MODEL
from nextbasis.families.common.spec import TokenSpec
from nextbasis.official.names import check_family, official_name, official_shapes, our_name
from nextbasis.official.sizes import infer
from nextbasis.support.files import read_json, staged_folder, write_json
from nextbasis.support.weights import apart, check_floats, check_shapes, read_checkpoint
from nextbasis.support.words import listed

BUFFER_ERROR = 1e-5  # between stored and recomputed constants: other processors round otherwise
STATE, EXTRA = "ema.backbone.", "official."  # prefixes in an imported model's file


@dataclass(kw_only=True)
class Imported:
    """An official model in our terms."""

    family: str
    source: str  # what the file called the weights: model_ema, model, …; flat without sections
    model: Any  # the family's MODEL of its part `config`
    spec: TokenSpec
    state: dict[str, Tensor]  # a backbone's state dict
    extra: dict[str, Tensor]  # official.<name>: constants that others rounded otherwise


def import_checkpoint(
    family: str, path: Path, given: Mapping[str, Any], grid: tuple[int, int] | None = None
) -> Imported:
    """Read an official file of a family; the moving average where there is one.

    `given` are values of the model's config. It must hold those that shapes cannot tell; others
    must agree with the file. `grid` is needed if the tokens form no square.

    Raises: FileNotFoundError; ValueError naming every wrong tensor, or what else is wrong.
    """
    check(family)
    state, origin = read_checkpoint(path)
    try:
        return import_state(family, state, given, grid, origin.section)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def import_state(
    family: str,
    official: Mapping[str, Tensor],
    given: Mapping[str, Any],
    grid: tuple[int, int] | None = None,
    source: str = "flat",
) -> Imported:
    """Turn an official state dict into ours; see import_checkpoint.

    Raises: ValueError naming every wrong tensor, or what else is wrong.
    """
    part = find(family).part("official")
    official = renewed(family, official)
    check_family(family, official)
    shapes = {name: tuple(tensor.shape) for name, tensor in official.items()}
    levels = part.levels(official) if hasattr(part, "levels") else ()
    model, spec = infer(family, shapes, given, grid, levels)
    check_shapes(shapes, official_shapes(model, spec))
    extra = _take_constants(official, part.constants(model, spec))
    check_floats(official)
    state = {our_name(family, name): tensor for name, tensor in official.items()}
    return Imported(family=family, source=source, model=model, spec=spec, state=state, extra=extra)


def renewed(family: str, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict under today's names, where older files of the family had others."""
    part = find(family).part("official")
    return dict(part.current(official) if hasattr(part, "current") else official)


def _take_constants(official: dict[str, Tensor], computed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove constants from `official`; return those whose bits we would not recompute."""
    wrong, extra = [], {}
    for name, ours in computed.items():
        theirs = official.pop(name)
        if not torch.allclose(theirs.float(), ours.float(), rtol=0.0, atol=BUFFER_ERROR):
            wrong.append(name)
        if theirs.dtype != ours.dtype or not torch.equal(theirs, ours):
            extra[EXTRA + name] = theirs.clone()  # blocks may share one tensor
    if wrong:
        raise ValueError(
            f"constants differ from those of such a model: {listed(wrong)}; "
            "the checkpoint is damaged or of another variant"
        )
    return extra


def export_state(imported: Imported) -> dict[str, Tensor]:
    """The official state dict of an imported model, bit for bit as it was read."""
    official = {official_name(imported.family, n): t for n, t in imported.state.items()}
    official |= find(imported.family).part("official").constants(imported.model, imported.spec)
    return official | {key.removeprefix(EXTRA): tensor for key, tensor in imported.extra.items()}


def save_imported(folder: Path, imported: Imported, basis: BasisConfig, order: OrderConfig) -> None:
    """Write an imported model as `checkpoint.load_generator` reads it; all of it or nothing.

    `basis` must leave the tokens as they are: A = I, not learned.
    """
    spec, model = imported.spec, imported.model
    tensors = {STATE + name: tensor for name, tensor in imported.state.items()} | imported.extra
    tensors["host_order"] = find(model.family).part("official").host_order(model, spec)
    if find(model.family).has_basis:
        identity = BasisTransform(basis, spec.grid)
        tensors |= {f"ema.basis.{name}": t for name, t in identity.state_dict().items()}
        tensors["basis"] = identity.matrix().detach().clone()
    parts = {"model": model, "basis": basis, "order": order}
    config: dict[str, Any] = {name: as_dict(part) for name, part in parts.items()}
    config |= {"spec": spec.as_dict(), "imported": imported.source}
    with staged_folder(folder) as staged:
        save_file(apart(tensors), staged / MODEL)
        write_json(staged / CONFIG, config)


def load_imported(folder: Path) -> Imported:
    """Read what `save_imported` wrote.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    path = folder / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"no imported model {path}")
    config = read_json(folder / CONFIG)
    if "imported" not in config:
        raise ValueError(f"{folder} holds a model trained here, not an imported one")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is corrupt ({error}); import it again") from error
    spec = TokenSpec.of(config["spec"])
    return Imported(
        family=config["model"]["family"],
        source=config["imported"],
        model=section("model", config["model"]),
        spec=spec,
        state={k.removeprefix(STATE): t for k, t in tensors.items() if k.startswith(STATE)},
        extra={key: tensor for key, tensor in tensors.items() if key.startswith(EXTRA)},
    )
