"""The processes that share one stage: torchrun starts them, torch's process group joins them.

Without torchrun there is one, and nothing here does anything.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def count() -> int:
    """How many processes there are (torchrun's world size)."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; the process 0 writes results."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined() -> Iterator[None]:
    """Join torchrun's processes: by Gloo, and of tensors on GPUs, one a process, by NCCL.

    Raises: ValueError if there are fewer GPUs than processes on this machine.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    local, on_machine = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        if torch.cuda.device_count() < on_machine:
            raise ValueError(
                f"torchrun started {on_machine} processes on a machine with "
                f"{torch.cuda.device_count()} GPUs; use --nproc-per-node=gpu"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def gather(value: T) -> list[T]:
    """Every process's value in order of rank, in process 0; an empty list in the others."""
    if not dist.is_initialized():
        return [value]
    found: list[T] | None = [value] * count() if rank() == 0 else None
    dist.gather_object(value, found)
    return found or []


def mean_(values: Tensor) -> Tensor:
    """The mean over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
        values.div_(count())
    return values


def copy_from_first_(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


def any_of(flags: list[bool]) -> list[bool]:
    """Each flag, set if it is set in any process; asked between CPUs, so no GPU is waited for."""
    if not dist.is_initialized():
        return flags
    values = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(values, dist.ReduceOp.MAX)
    return [bool(value) for value in values.tolist()]
