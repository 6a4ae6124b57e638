"""From an official file to a folder of ours, and back to a file of the official layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nextbasis.config import CONFIG_FOLDER, as_dict, section
from nextbasis.families import find, names
from nextbasis.families.common.checkpoint import CONFIG, MODEL
from nextbasis.official import autoencoders
from nextbasis.official.imports import (
    export_state,
    import_state,
    load_imported,
    renewed,
    save_imported,
)
from nextbasis.official.names import check_family
from nextbasis.official.sizes import complete, model_config
from nextbasis.support.files import check_new, read_json, sha256, write_atomic
from nextbasis.support.sections import Origin
from nextbasis.support.weights import read_checkpoint
from nextbasis.support.words import listed
from nextbasis.support.yamls import read_keys
from nextbasis.tokenizers import kinds
from nextbasis.tokenizers.common.loading import WEIGHTS


def import_file(
    family: str,
    checkpoint: Path,
    out: Path,
    values: Mapping[str, Any],
    model: str = "",
    grid: tuple[int, int] | None = None,
    part: str = "",
) -> dict[str, str]:
    """Turn an official file into a new folder; what was read and written, as lines of a report.

    `values` overrule those of the config named `model`; see `sizes.complete` for the others.
    `part` names the section of the file whose weights are meant, averaged ones if it is empty.

    Raises: FileNotFoundError, FileExistsError, or ValueError naming the wrong tensors.
    """
    check_new(out)
    if not CONFIG_FOLDER.is_dir():
        raise FileNotFoundError(f"no {CONFIG_FOLDER} here; run from the repository's root")
    if family in names():
        given = (model_config(family, model) if model else {}) | dict(values)
        return _import_backbone(family, checkpoint, out, given, grid, part)
    if model or grid:
        raise ValueError(f"--model and --grid are for {listed(names())}, not for {family}")
    return _import_tokenizer(family, checkpoint, out, values, part)


def export_folder(folder: Path, out: Path) -> dict[str, str]:
    """Write what `import_file` read into a new file of the official layout, bit for bit.

    Raises: FileNotFoundError, FileExistsError or ValueError naming the file.
    """
    check_new(out)
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} is no imported model: it has no {CONFIG}")
    if "network" in read_json(folder / CONFIG):
        tokenizer = autoencoders.load_tokenizer(folder)
        family = tokenizer.family
        official = kinds.find(family).part("official")
        state = official.theirs(tokenizer.state, tokenizer.network)
    else:
        imported = load_imported(folder)
        family, state = imported.family, export_state(imported)
        official = find(family).part("official")
    sections = official.SECTIONS
    content: Any = {name: state for name in sections} or state
    write_atomic(out, lambda path: _save(content, path))
    return {
        "family": family,
        "wrote": f"{out} ({', '.join(sections) or 'flat'}), {len(state)} tensors",
        "sha256": sha256(out),
    }


def _save(content: Any, path: Path) -> None:
    """The same bytes for the same content: torch would write a path's name into the file."""
    with path.open("wb") as stream:
        torch.save(content, stream)


def _import_backbone(
    family: str,
    checkpoint: Path,
    out: Path,
    given: Mapping[str, Any],
    grid: tuple[int, int] | None,
    part: str,
) -> dict[str, str]:
    state, origin = read_checkpoint(checkpoint, part)
    try:
        state = renewed(family, state)
        check_family(family, state)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        given = complete(family, shapes, given)
        imported = import_state(family, state, given, grid, origin.section)
    except ValueError as error:
        raise ValueError(f"{checkpoint}: {error}") from error
    basis = section("basis", _group("basis", "identity"))
    order = section("order", _group("order", find(family).order))
    save_imported(out, imported, basis, order)
    spec = imported.spec
    return {
        **_read(family, checkpoint, origin, imported.state),
        "tokens": f"{spec}, {spec.num_classes} classes",
        "config": _words(as_dict(imported.model)),
        **_wrote(out / MODEL),
    }


def _import_tokenizer(
    family: str, checkpoint: Path, out: Path, values: Mapping[str, Any], part: str
) -> dict[str, str]:
    released = section("tokenizer", _group("tokenizer", family)).network
    imported = autoencoders.import_tokenizer(family, checkpoint, values, released, part)
    autoencoders.save_tokenizer(out, imported)
    report = _read(family, checkpoint, imported.origin, imported.state)
    if imported.left_out:
        report["left out"] = listed(imported.left_out)
    return report | {"config": _words(as_dict(imported.network))} | _wrote(out / WEIGHTS)


def _group(name: str, choice: str) -> dict[str, Any]:
    return read_keys(CONFIG_FOLDER / name / f"{choice}.yaml")


def _read(family: str, path: Path, origin: Origin, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        "family": family,
        "read": f"{path} ({origin.section})",
        "weights": str(origin),
        "sha256": sha256(path),
        "parameters": f"{sum(tensor.numel() for tensor in tensors.values()):,}",
    }


def _wrote(path: Path) -> dict[str, str]:
    return {"wrote": str(path), "its sha256": sha256(path)}


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())
