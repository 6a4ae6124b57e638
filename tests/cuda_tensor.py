"""Tensors that say they are on cuda:0 while the CPU computes them; see `pretend_gpu`."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from cuda_rules import refuse, waits
from host_syncs import note

DEVICE = torch.device("cuda", 0)
HOST = torch.device("cpu")
IS_CUDA, IS_CPU = (getattr(Tensor, name).__get__ for name in ("is_cuda", "is_cpu"))
READS = {  # what code calls, by the function that torch is asked for
    Tensor.__bool__: "bool",
    Tensor.__float__: "float",
    Tensor.__int__: "int",
    Tensor.__index__: "index",
    Tensor.item: "item",
    Tensor.tolist: "tolist",
}


class CudaTensor(Tensor):
    """A tensor on the pretend GPU; `numbers` holds its numbers."""

    numbers: Tensor
    # Shapes are checked so often that torch is not asked.
    shape = property(lambda self: self.numbers.shape)
    dtype = property(lambda self: self.numbers.dtype)
    ndim = property(lambda self: self.numbers.ndim)

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
        """What does not reach the dispatcher: the device's name, ways to the CPU, copies."""
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return DEVICE
        if func in (IS_CUDA, IS_CPU):
            return func == IS_CUDA
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
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Compute on the CPU what CUDA could compute.

        Raises: RuntimeError as CUDA would.
        """
        kwargs, (name, overload) = kwargs or {}, _names(func)
        tensors: list[Tensor] = []

        def real(value: Tensor) -> Tensor:
            tensors.append(value)
            return value.numbers if isinstance(value, cls) else value

        real_args, real_kwargs = _each(args, real), _each(kwargs, real)
        refuse(name, overload, args, tensors, _on_gpu)
        if waiting := waits(name, args, kwargs, _on_gpu):
            note(waiting)
        out = func(*real_args, **real_kwargs)
        known = {id(each.numbers): each for each in tensors if isinstance(each, cls)}

        def wrapped(value: Tensor) -> Tensor:
            if isinstance(value, cls):
                return value
            return known[id(value)] if id(value) in known else cls(value)

        return _each(out, wrapped)


@cache
def _names(func: Any) -> tuple[str, str]:
    """An operation's name without its namespace, and that of its overload."""
    return func._schema.name.partition("::")[2], func._schema.overload_name


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_each(each, change) for each in value])
    if isinstance(value, dict):
        return {name: _each(each, change) for name, each in value.items()}
    return value


def _on_gpu(value: Any) -> bool:
    return isinstance(value, CudaTensor)


def _copied(tensor: CudaTensor, memo: dict[int, Any]) -> CudaTensor:
    made = CudaTensor(tensor.numbers.clone()).requires_grad_(tensor.requires_grad)
    assert isinstance(made, CudaTensor)
    if getattr(tensor, "_is_param", False):
        made._is_param = True
    memo[id(tensor)] = made
    return made


class _Copy(torch.autograd.Function):
    """A copy to the other device; its gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.was_cuda = isinstance(x, CudaTensor)
        return x.numbers.clone() if isinstance(x, CudaTensor) else CudaTensor(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if ctx.was_cuda == isinstance(gradient, CudaTensor):
            return gradient
        return gradient.numbers if isinstance(gradient, CudaTensor) else CudaTensor(gradient)


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
    if device is None or is_cuda(device) == isinstance(x, CudaTensor):
        return x
    if not (kwargs.get("non_blocking") or any(flags[:1])):
        note(f"copy to {torch.device(device).type}")
    return _Copy.apply(x)


def is_cuda(device: Any) -> bool:
    return torch.device(device).type == "cuda"
