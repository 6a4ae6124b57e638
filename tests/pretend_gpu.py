"""A pretend GPU: tensors that say they are on cuda:0 while the CPU computes them.

Code that mixes devices, or uses what CUDA cannot compute deterministically where it is told to,
fails here as it would there; everything else gives the CPU's numbers, for a test to compare.

    with pretend_gpu():
        model.to(DEVICE)  # or whatever code does that was told of this device

What CUDA refuses is data from torch's documentation of `use_deterministic_algorithms` (2.14).
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
# Operations that raise on CUDA while deterministic algorithms are on, where they are of floats.
NONDETERMINISTIC = {
    *("cumsum", "histc", "kthvalue", "put_", "bincount", "median", "_ctc_loss", "grid_sampler_2d"),
    *("nll_loss2d_forward", "nll_loss2d_backward", "reflection_pad2d_backward"),
    *("replication_pad2d_backward", "_adaptive_avg_pool2d_backward", "avg_pool3d_backward"),
    *("upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward"),
    *("max_pool3d_with_indices_backward", "grid_sampler_2d_backward"),
}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "linear", "matmul"}  # of cuBLAS
# Operations between a CUDA tensor and CPU tensors of any size: copies, and indices of the CPU.
MIXES = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"}


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
            device=torch.device("cpu"),
        )
        made.numbers = real.resolve_conj().resolve_neg()  # flags that the wrapper would not show
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        """The numbers and the device."""
        return f"CudaTensor({self.numbers})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What does not reach the dispatcher: the device's name, and ways to the CPU."""
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return DEVICE
        if func in (Tensor.is_cuda.__get__, Tensor.is_cpu.__get__):
            return func == Tensor.is_cuda.__get__
        if func == Tensor.numpy:
            raise TypeError("a CUDA tensor has no .numpy(); take .cpu() first")
        if func == Tensor.tolist:
            COUNTS["tolist"] += 1
            return args[0].numbers.tolist()
        if func in (Tensor.cpu, Tensor.to):
            return moved(*args, **kwargs) if func == Tensor.to else moved(args[0], "cpu")
        if func == Tensor.__deepcopy__:
            return _copied(*args)
        if func == torch.nn.functional.one_hot:  # which asks torch itself for the device
            return cls(func(args[0].numbers, *args[1:], **kwargs))
        return super().__torch_function__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU what CUDA could compute.

        Raises: RuntimeError as CUDA would.
        """
        kwargs, name = kwargs or {}, func._schema.name.partition("::")[2]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        _refuse(name, args, tensors)
        if name == "_local_scalar_dense":
            COUNTS["item"] += 1
        real_args, real_kwargs = tree_map(_real, (args, kwargs))
        out = func(*real_args, **real_kwargs)
        known = {id(tensor.numbers): tensor for tensor in tensors if isinstance(tensor, cls)}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, cls):
                return value
            return known.get(id(value)) if id(value) in known else cls(value)

        return tree_map(wrapped, out)


COUNTS: Counter[str] = Counter()  # times that a number was read from the GPU: .item(), .tolist()


def _refuse(name: str, args: Any, tensors: list[Tensor]) -> None:
    """What CUDA does not do, as RuntimeError."""
    strangers = [t for t in tensors if not isinstance(t, CudaTensor) and t.ndim > 0]
    if strangers and name not in MIXES:
        raise RuntimeError(f"{name} mixes a CUDA tensor and one of the CPU, {strangers[0].shape}")
    if name.startswith(("index", "_index_put")) and not isinstance(args[0], CudaTensor):
        raise RuntimeError(f"{name} of a CPU tensor by CUDA indices")
    if not torch.are_deterministic_algorithms_enabled():
        return
    if name in NONDETERMINISTIC and tensors[0].is_floating_point():
        raise RuntimeError(f"{name} does not have a deterministic implementation on CUDA")
    if name in PRODUCTS and WORKSPACE not in os.environ:
        raise RuntimeError(f"{name} is deterministic on CUDA only with {WORKSPACE}=:4096:8")


def _real(value: Any) -> Any:
    return value.numbers if isinstance(value, CudaTensor) else value


def _copied(tensor: CudaTensor, memo: dict[int, Any]) -> CudaTensor:
    made = CudaTensor(tensor.numbers.clone()).requires_grad_(tensor.requires_grad)
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
    for given in args:
        if isinstance(given, Tensor):
            device, dtype = given.device, given.dtype
        elif isinstance(given, torch.dtype):
            dtype = given
        elif isinstance(given, str | torch.device):
            device = given
    if dtype is not None and dtype != x.dtype:
        x = x.type(dtype)
    if kwargs.get("copy"):
        x = x.clone()
    if device is None or (torch.device(device).type == "cuda") == isinstance(x, CudaTensor):
        return x
    return _Copy.apply(x)


class _Factories(TorchFunctionMode):
    """Tensors made on, or moved to, the pretend GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.to:
            return moved(*args, **kwargs)
        device = kwargs.get("device")
        if device is None or torch.device(device).type != "cuda":
            return func(*args, **kwargs)
        out = func(*args, **kwargs | {"device": "cpu"})
        return out if isinstance(out, CudaTensor) else CudaTensor(out)


@contextmanager
def pretend_gpu(deterministic: bool = False, workspace: bool = True) -> Iterator[None]:
    """A block in which DEVICE exists; without `workspace` cuBLAS is not deterministic."""
    before, mode = os.environ.get(WORKSPACE), torch.get_deterministic_debug_mode()
    if workspace:
        os.environ[WORKSPACE] = ":4096:8"
    else:
        os.environ.pop(WORKSPACE, None)
    COUNTS.clear()
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    try:
        # Parameters that are moved become new ones, as these tensors have no memory to swap.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch.set_deterministic_debug_mode("error" if deterministic else "default")
        with _Factories():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
        torch.set_deterministic_debug_mode(mode)
        os.environ.pop(WORKSPACE, None)
        if before is not None:
            os.environ[WORKSPACE] = before
