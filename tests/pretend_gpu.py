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
from torch.utils._pytree import tree_leaves, tree_map

from cuda_rules import WORKSPACE, refuse, waits
from host_syncs import Sync, counting_syncs, note

__all__ = ["DEVICE", "CudaTensor", "Sync", "counting_syncs", "pretend_gpu"]

DEVICE = torch.device("cuda", 0)
HOST = torch.device("cpu")
READS = {  # what code calls, by the function that torch is asked for
    Tensor.__bool__: "bool",
    Tensor.__float__: "float",
    Tensor.__int__: "int",
    Tensor.__index__: "index",
    Tensor.item: "item",
    Tensor.tolist: "tolist",
}
FROM_THE_HOST = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)


class CudaTensor(Tensor):
    """A tensor on the pretend GPU; `numbers` holds its numbers."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> "CudaTensor":
        """Wrap a tensor of the CPU, whose memory it shares."""
        made = Tensor._make_wrapper_subclass(
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=HOST,
        )
        made.numbers = real.resolve_conj().resolve_neg()  # flags that the wrapper would not show
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        """The numbers and the device."""
        return f"CudaTensor({self.numbers})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved as a tensor of the CPU: what `torch.load` makes of it with map_location="cpu"."""
        return self.numbers.__reduce_ex__(protocol)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What does not reach the dispatcher: the device's name, and ways to the CPU."""
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return DEVICE
        if func in (Tensor.is_cuda.__get__, Tensor.is_cpu.__get__):
            return func == Tensor.is_cuda.__get__
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("a CUDA tensor has no .numpy(); take .cpu() first")
        if func in READS:
            note(READS[func])
            return func(args[0].numbers)
        if func in (Tensor.cpu, Tensor.to):
            return moved(*args, **kwargs) if func == Tensor.to else moved(args[0], HOST)
        if func == Tensor.__deepcopy__:
            return _copied(*args)
        if func == torch.nn.functional.one_hot:  # which asks torch itself for the device
            if len(args) + len(kwargs) == 1:
                note("one_hot")  # of as many classes as the largest id says
            return cls(func(args[0].numbers, *args[1:], **kwargs))
        with torch._C.DisableTorchFunctionSubclass():  # the dispatcher wraps what is there
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU what CUDA could compute.

        Raises: RuntimeError as CUDA would.
        """
        kwargs = kwargs or {}
        refuse(func, args, kwargs, _on_gpu)
        if waiting := waits(func, args, kwargs, _on_gpu):
            note(waiting)
        real_args, real_kwargs = tree_map(_real, (args, kwargs))
        out = func(*real_args, **real_kwargs)
        known = {id(leaf.numbers): leaf for leaf in tree_leaves((args, kwargs)) if _on_gpu(leaf)}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, cls):
                return value
            return known.get(id(value)) if id(value) in known else cls(value)

        return tree_map(wrapped, out)


def _on_gpu(value: Any) -> bool:
    return isinstance(value, CudaTensor)


def _real(value: Any) -> Any:
    return value.numbers if isinstance(value, CudaTensor) else value


def _copied(tensor: CudaTensor, memo: dict[int, Any]) -> CudaTensor:
    made = CudaTensor(tensor.numbers.clone()).requires_grad_(tensor.requires_grad)
    assert isinstance(made, CudaTensor)
    if getattr(tensor, "_is_param", False):
        made._is_param = True  # type: ignore[attr-defined]
    memo[id(tensor)] = made
    return made


class _Copy(torch.autograd.Function):
    """A copy to the other device; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.was_cuda = isinstance(x, CudaTensor)
        return x.numbers.clone() if isinstance(x, CudaTensor) else CudaTensor(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        if ctx.was_cuda == isinstance(gradient, CudaTensor):
            return gradient
        return CudaTensor(gradient) if ctx.was_cuda else _real(gradient)


def moved(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`: another dtype, another device, or those of another tensor."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    flags = [given for given in args if isinstance(given, bool)]  # non_blocking, then copy
    for given in args:
        if isinstance(given, Tensor):
            device, dtype = given.device, given.dtype
        elif isinstance(given, torch.dtype):
            dtype = given
        elif isinstance(given, str | torch.device):
            device = given
    if dtype is not None and dtype != x.dtype:
        x = x.type(dtype)
    if kwargs.get("copy") or any(flags[1:]):
        x = x.clone()
    if device is None or _is_cuda(device) == isinstance(x, CudaTensor):
        return x
    if not (kwargs.get("non_blocking") or any(flags[:1])):
        note(f"copy to {torch.device(device).type}")
    return _Copy.apply(x)


def _is_cuda(device: Any) -> bool:
    return torch.device(device).type == "cuda"


class _StandsFor(type(torch.Generator)):  # type: ignore[misc]
    """A subclass that is told apart from its base by no isinstance."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__base__ or object)


class _Generator(torch.Generator, metaclass=_StandsFor):
    """Random numbers of the CPU for either device, where the code can tell the devices apart."""

    _device: torch.device

    def __new__(cls, device: Any = HOST) -> "_Generator":
        made = super().__new__(cls)
        made._device = DEVICE if _is_cuda(device) else HOST
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
        kwargs = dict(kwargs or {})
        if func == Tensor.to:
            return moved(*args, **kwargs)
        if func == Tensor.cuda:
            return moved(args[0], DEVICE, **kwargs)
        if func == Tensor.pin_memory:
            return args[0].clone()
        kwargs.pop("pin_memory", None)
        device = kwargs.get("device")
        if generator := kwargs.get("generator"):
            at = next((a.device for a in args if isinstance(a, Tensor)), HOST)
            _check(generator, at if device is None else torch.device(device))
        if device is None or not _is_cuda(device):
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
                Generator=_Generator,
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
