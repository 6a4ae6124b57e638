"""The weights of a published tokenizer, from its official file or from an imported one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nextbasis.config import PublishedTokenizer
from nextbasis.support.files import sha256
from nextbasis.support.weights import check_floats, check_shapes, read_checkpoint
from nextbasis.support.words import listed
from nextbasis.tokenizers.kinds import find

OF_THE_LOSS = "loss."  # how latent diffusion's code names the parts that only its training needs


def read_weights(config: PublishedTokenizer) -> tuple[dict[str, Tensor], str]:
    """The weights of the configured file, under the network's names, and the file's SHA-256.

    Raises: FileNotFoundError, or ValueError naming the wrong tensors or what else is wrong.
    """
    path = Path(config.weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"tokenizer.weights: no file {path}. Put the published checkpoint of {config.kind} "
            "there (docs/reference/configuration.md says which), or name yours with "
            "tokenizer.weights=<file>"
        )
    if (found := sha256(path)) != (config.weights_sha256 or found):
        raise ValueError(
            f"tokenizer.weights: {path} has SHA-256 {found}, but tokenizer.weights_sha256 is "
            f"{config.weights_sha256}: it is damaged or another version"
        )
    state, origin = read_checkpoint(path)
    print(f"{path}: weights {origin}")
    if of_the_loss := [name for name in state if name.startswith(OF_THE_LOSS)]:
        print(f"{path}: not read, being of its training's loss: {listed(of_the_loss)}")
    state = {name: tensor for name, tensor in state.items() if name not in of_the_loss}
    try:
        check_floats(state)
    except ValueError as error:
        raise ValueError(f"tokenizer.weights: {path}: {error}") from error
    try:
        check_state(config.kind, config.network, state)
    except ValueError as error:
        raise ValueError(
            f"tokenizer.weights: {path} is no {config.kind} of the sizes in tokenizer.network: "
            f"{error}"
        ) from error
    return state, found


def check_state(kind: str, sizes: Any, state: Mapping[str, Tensor]) -> None:
    """Nothing if these are the weights of such a network, under its names.

    Raises: ValueError naming the tensors that do not fit.
    """
    with torch.device("meta"):
        network: nn.Module = find(kind).part("model").NETWORK(sizes)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, wanted)
