"""One training in several processes: copies that average gradients (DDP), or shards (FSDP2).

Both are torch's own. Of shards there are the backbone and its average; A, a small matrix, is whole
everywhere. A saved state is whole as well, so any number of processes can go on from it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.utils._pytree import tree_map

from nextbasis.families.common.execution import blocks
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.loss import Loss
from nextbasis.support import processes

CALLED_ALONE = {"ada_lin"}  # parts of blocks that are called outside of them: shards of their own


def loss_of(generator: Generator, ema: Generator, kind: str) -> Callable[..., Loss]:
    """What computes the loss of this process's part of a batch; its gradients are averaged.

    Of kind "fsdp" the backbones of both models are sharded in place. One process needs neither.
    """
    if processes.count() == 1:
        return generator
    if kind == "fsdp":
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        for model in (generator.backbone, ema.backbone):
            for block in blocks(model):
                for name in CALLED_ALONE & dict(block.named_children()).keys():
                    fully_shard(block.get_submodule(name))
                fully_shard(block)
            fully_shard(model)
            register_fsdp_forward_method(model, "loss")
        return generator
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(generator, broadcast_buffers=False)


def share(batch_size: int) -> slice:
    """The items of a batch that belong to this process.

    Raises: ValueError if the processes cannot share them equally.
    """
    size, rest = divmod(batch_size, processes.count())
    if rest:
        raise ValueError(
            f"train.batch_size must be a multiple of the {processes.count()} processes, "
            f"got {batch_size}"
        )
    return slice(processes.rank() * size, (processes.rank() + 1) * size)


def clip_gradients_(generator: Generator, limit: float, is_sharded: bool) -> Tensor:
    """Scale all gradients down to a total norm of `limit`, 0 = any; returns the norm before.

    Those of A beside shards, which no wrapper knows, are averaged first.
    """
    parts: list[nn.Module] = [generator.backbone]
    if generator.basis is not None:
        parts.append(generator.basis)
        if is_sharded:
            for gradient in _gradients(generator.basis):
                processes.mean_(gradient)
    norms = [whole(get_total_norm(found)) for part in parts if (found := _gradients(part))]
    norm = torch.stack(norms).norm()
    for part in parts if limit else []:
        clip_grads_with_norm_(part.parameters(), limit, norm)
    return norm


def whole(value: Any) -> Any:
    """The whole of a sharded tensor, which all processes must ask for; else the value itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with whole tensors."""
    return tree_map(whole, dict(state))


def load_whole(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a whole state dict into a model, sharded or not."""
    mine = model.state_dict()
    model.load_state_dict({name: _placed(value, mine[name]) for name, value in state.items()})


def load_whole_optimiser(optim: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a whole state into the optimiser of a model, sharded or not."""
    parameters = [p for group in optim.param_groups for p in group["params"]]
    placed = {
        index: {
            name: _placed(value, parameters[index]) if value.ndim else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optim.load_state_dict(state | {"state": placed})


def _placed(value: Tensor, mine: Tensor) -> Tensor:
    if not isinstance(mine, DTensor):
        return value
    value = value.to(mine.device)
    return distribute_tensor(value, mine.device_mesh, mine.placements, src_data_rank=None)


def _gradients(part: nn.Module) -> list[Tensor]:
    parameters: Iterable[nn.Parameter] = part.parameters()
    return [p.grad for p in parameters if p.grad is not None]
