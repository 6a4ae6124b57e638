"""How a network is run: in which precision, recomputed or kept activations, compiled or not.

None of it changes a model's parameters or the names in its state. Only the precision changes
results by more than rounding; weights, losses and the samplers' arithmetic stay float32 in any.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nextbasis.config.checks import choose
from nextbasis.config.running import PRECISIONS

ENTRIES = ("forward", "step")  # a block's methods; `step` takes what was computed beforehand


def precision(name: str, device: torch.device) -> torch.autocast:
    """A context in which matrix products are computed in this precision, weights as they are.

    "float32" inside a "bfloat16" context means float32. Raises: ValueError for another name.
    """
    choose("precision", name, PRECISIONS)
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on this device; the host does not wait for a copy to a GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def blocks(network: nn.Module) -> list[nn.Module]:
    """The layers that a network repeats: the entries of its lists, encoder, decoder and head."""
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList)]
    return [block for part in lists for block in part]


def compile_blocks(network: nn.Module) -> None:
    """Compile the blocks, each kind of them once; the code around them stays as it is.

    Results differ by rounding, and dropout draws other numbers.
    Raises: ValueError if there is no C++ compiler, which is needed at the first call.
    """
    from torch._inductor import cpp_builder  # takes seconds to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        cpp_builder.get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError(
            "compile=true needs a C++ compiler, and none was found: install g++ or clang++ "
            "(CXX may name it), or set compile=false"
        ) from error
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(True)  # nextbasis.stages.run does not tell the compiler
    for block in blocks(network):
        for name in ENTRIES:
            if hasattr(block, name):
                setattr(block, name, torch.compile(getattr(block, name)))


def recompute_blocks(network: nn.Module) -> None:
    """Keep only the inputs of blocks for the backward pass, which computes the rest again.

    Gradients stay the same to the bit, dropout included. Blocks to be compiled are compiled before.
    """
    for block in blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
