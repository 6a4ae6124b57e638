"""A pretend GPU: tensors that say they are on cuda:0 while the CPU computes them.

Code that mixes devices, or uses what CUDA cannot compute deterministically where it is told to,
fails here as it would there; everything else gives the CPU's numbers, for a test to compare.

    with pretend_gpu(), counting_syncs() as syncs:
        stage.main(config)  # nextbasis.support.provenance.device() says cuda
    assert not syncs  # the CPU never waited for the GPU
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode

from cuda_rules import WORKSPACE
from cuda_tensor import DEVICE, HOST, CudaTensor, is_cuda, moved
from host_syncs import Sync, counting_syncs, note

__all__ = ["DEVICE", "CudaTensor", "Sync", "counting_syncs", "pretend_gpu"]

FROM_THE_HOST = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)


class _StandsFor(type(torch.Generator)):  # type: ignore[misc]
    """A subclass that is told apart from its base by no isinstance."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__base__ or object)


class Generator(torch.Generator, metaclass=_StandsFor):
    """Random numbers of the CPU for either device, where the code can tell the devices apart."""

    _device: torch.device

    def __new__(cls, device: Any = HOST) -> "Generator":
        made = super().__new__(cls)
        made._device = DEVICE if is_cuda(device) else HOST
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._device


class _Autocast(torch.autocast, metaclass=_StandsFor):
    """Autocast of the CPU under the name of cuda."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


class _Mode(TorchFunctionMode):
    """Tensors made on, or moved to, the pretend GPU; generators of the wrong device refused."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.to:
            return moved(*args, **kwargs or {})
        if func == Tensor.cuda:
            return moved(args[0], DEVICE, **kwargs or {})
        if func == Tensor.pin_memory:
            return args[0].clone()
        if not kwargs:
            return func(*args)
        kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        device = kwargs.get("device")
        if generator := kwargs.get("generator"):
            at = next((a.device for a in args if isinstance(a, Tensor)), HOST)
            _check(generator, at if device is None else torch.device(device))
        if device is None or not is_cuda(device):
            return func(*args, **kwargs)
        if func in FROM_THE_HOST:
            note("copy to cuda")
        out = func(*args, **kwargs | {"device": HOST})
        if isinstance(out, CudaTensor):
            return out
        return CudaTensor(out.detach()).requires_grad_(out.requires_grad)


def _check(generator: torch.Generator, device: torch.device) -> None:
    if generator.device.type != device.type:
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found "
            f"'{generator.device.type}'"
        )


def _autocast_device(device: str = "cpu") -> str:
    return "cpu" if device == "cuda" else device


_group = optimizer._group_tensors_by_device_and_dtype


def _grouped(lists: Any, with_indices: bool = False) -> Any:
    """Lists of tensors by device and dtype; torch's C++ knows these tensors as those of a CPU."""
    groups = _group(lists, with_indices)
    if isinstance(lists[0][0], CudaTensor):
        return {(DEVICE, dtype): group for (_, dtype), group in groups.items()}
    return groups


@contextmanager
def pretend_gpu(deterministic: bool = False, workspace: bool = True) -> Iterator[None]:
    """A block in which there is a GPU, DEVICE; without `workspace` cuBLAS is not deterministic."""
    mode = torch.get_deterministic_debug_mode()
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    is_enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    found: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_name": lambda *_: "pretend GPU",
        "is_bf16_supported": lambda *_: True,
        "synchronize": lambda *_: note("synchronize"),
    }
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(torch.cuda, **found))
        # Optimisers would ask it whether a CUDA graph is being captured.
        stack.enter_context(
            patch.object(torch.accelerator, "current_accelerator", lambda **_: None)
        )
        stack.enter_context(
            patch.multiple(
                torch,
                Generator=Generator,
                autocast=_Autocast,
                is_autocast_enabled=lambda *name: is_enabled(_autocast_device(*name)),
                get_autocast_dtype=lambda name: dtype(_autocast_device(name)),
            )
        )
        for user in (clip_grad, optimizer):
            stack.enter_context(patch.object(user, "_group_tensors_by_device_and_dtype", _grouped))
        stack.enter_context(patch.dict(os.environ, {WORKSPACE: ":4096:8"}))
        if not workspace:
            del os.environ[WORKSPACE]
        try:
            # Parameters that are moved become new ones: these tensors have no memory to swap.
            torch.__future__.set_overwrite_module_params_on_conversion(True)
            torch.set_deterministic_debug_mode("error" if deterministic else "default")
            with _Mode():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
            torch.set_deterministic_debug_mode(mode)
