"""Official files of the published tokenizers."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from nextbasis.config import as_dict
from nextbasis.config.checks import check_type
from nextbasis.families.common.checkpoint import CONFIG
from nextbasis.official.names import check_family
from nextbasis.official.sizes import Votes
from nextbasis.support.files import read_json, staged_folder, write_json
from nextbasis.support.sections import Origin
from nextbasis.support.weights import apart, check_floats, read_checkpoint
from nextbasis.support.words import listed
from nextbasis.tokenizers.common.loading import WEIGHTS
from nextbasis.tokenizers.common.pretrained import OF_THE_LOSS, check_state
from nextbasis.tokenizers.kinds import find


@dataclass(kw_only=True)
class ImportedTokenizer:
    """An official tokenizer."""

    family: str
    origin: Origin  # of the weights in the file
    network: Any  # its sizes: NETWORK of its part `config`
    state: dict[str, Tensor]  # of its network
    left_out: list[str]  # tensors of the training's loss, which no network has


def import_tokenizer(
    family: str, path: Path, given: Mapping[str, Any], released: Any, part: str = ""
) -> ImportedTokenizer:
    """Read an official file; `given` are values of the config, which must agree with the shapes.

    What neither tells is as in the `released` config. `part` names a section of the file.

    Raises: FileNotFoundError; ValueError naming the wrong tensors, or what else is wrong.
    """
    state, origin = read_checkpoint(path, part)
    left_out = [name for name in state if name.startswith(OF_THE_LOSS)]
    state = {name: tensor for name, tensor in state.items() if name not in left_out}
    try:
        check_family(family, state)
        state = find(family).part("official").ours(state)
        network = _infer(family, state, given, released)
        check_state(family, network, state)
        check_floats(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ImportedTokenizer(
        family=family, origin=origin, network=network, state=state, left_out=left_out
    )


def _infer(
    family: str, state: Mapping[str, Tensor], given: Mapping[str, Any], released: Any
) -> Any:
    votes = Votes(family, {name: tuple(tensor.shape) for name, tensor in state.items()}, given)
    schema, told = find(family).part("config").NETWORK, find(family).part("official").sizes(votes)
    types = {field.name: field.type for field in fields(schema)}
    if unknown := [name for name in given if name not in types]:
        raise ValueError(f"{family} has no {listed(unknown)}; it has {listed(types)}")
    for name, value in given.items():
        check_type(name, value, types[name])
    wrong = [
        f"{name} is given as {given[name]} and {value} in the checkpoint"
        for name, value in told.items()
        if name in given and given[name] != value
    ]
    if wrong:
        raise ValueError(f"the checkpoint is of another size: {listed(wrong, '; ')}")
    return schema(**as_dict(released) | dict(given) | told)


def save_tokenizer(folder: Path, imported: ImportedTokenizer) -> None:
    """Write weights, for config key tokenizer.weights, and the network's config; all or nothing."""
    config = {"family": imported.family, "network": as_dict(imported.network)}
    with staged_folder(folder) as staged:
        save_file(apart(imported.state), staged / WEIGHTS)
        write_json(staged / CONFIG, config | {"imported": imported.origin.section})


def load_tokenizer(folder: Path) -> ImportedTokenizer:
    """Read what `save_tokenizer` wrote.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    config = read_json(folder / CONFIG)
    family = config["family"]
    network = find(family).part("config").NETWORK(**config["network"])
    state, origin = read_checkpoint(folder / WEIGHTS)
    check_state(family, network, state)
    return ImportedTokenizer(
        family=family, origin=origin, network=network, state=state, left_out=[]
    )
