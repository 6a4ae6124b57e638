"""A pretend GPU: tensors that say they are on cuda:0 while the CPU computes them.

Code that mixes devices, or uses what CUDA cannot compute deterministically where it is told to,
fails here as it would there; everything else gives the CPU's numbers, for a test to compare.

    with pretend_gpu(), counting_syncs() as syncs:
        model.to(DEVICE)  # or whatever code does that was told of this device
    assert not syncs  # the CPU never waited for the GPU

What CUDA refuses is data from torch's documentation of `use_deterministic_algorithms` (2.14).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
# Operations whose kernels on CUDA wait for a number, whatever their arguments are.
SYNCHRONISING = {
    *(
        "_local_scalar_dense",
        "equal",
        "allclose",
        "is_nonzero",
        "nonzero",
        "masked_select",
        "multinomial",
    ),
    *("unique", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"),
    *("_linalg_check_errors", "_linalg_svd", "linalg_lstsq", "linalg_matrix_exp"),
}
CALLERS = {  # what code calls, by the function that torch is asked for
    Tensor.__bool__: "bool",
    Tensor.__float__: "float",
    Tensor.__int__: "int",
    Tensor.__index__: "index",
    Tensor.item: "item",
}
ROOT = Path(__file__).parents[1]


class Sync(NamedTuple):
    """One time that the CPU waits for the GPU."""

    operation: str  # "item", "nonzero", "copy to cpu", ...
    place: str  # "src/nextbasis/....py:12", the innermost line of src, else of the test


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
            _note("tolist")
            return args[0].numbers.tolist()
        if func in (Tensor.cpu, Tensor.to):
            return moved(*args, **kwargs) if func == Tensor.to else moved(args[0], "cpu")
        if func == Tensor.__deepcopy__:
            return _copied(*args)
        if func == torch.nn.functional.one_hot:  # which asks torch itself for the device
            if len(args) + len(kwargs) == 1:
                _note("one_hot")  # of as many classes as the largest id says
            return cls(func(args[0].numbers, *args[1:], **kwargs))
        if func in CALLERS:
            _note(CALLERS[func])
            return func(args[0].numbers)
        return super().__torch_function__(func, types, args, kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute on the CPU what CUDA could compute.

        Raises: RuntimeError as CUDA would.
        """
        kwargs, name = kwargs or {}, func._schema.name.partition("::")[2]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        _refuse(name, args, tensors)
        if waiting := _waits(name, args, kwargs):
            _note(waiting)
        real_args, real_kwargs = tree_map(_real, (args, kwargs))
        out = func(*real_args, **real_kwargs)
        known = {id(tensor.numbers): tensor for tensor in tensors if isinstance(tensor, cls)}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, cls):
                return value
            return known.get(id(value)) if id(value) in known else cls(value)

        return tree_map(wrapped, out)


_lists: list[list[Sync]] = []  # of the blocks that count, innermost last


@contextmanager
def counting_syncs() -> Iterator[list[Sync]]:
    """A block of `pretend_gpu` and every time that the CPU waits for the GPU in it.

    Those are what `torch.cuda.set_sync_debug_mode` would tell of: numbers that are read, shapes
    that depend on numbers, copies from one device to the other without `non_blocking`.
    """
    found: list[Sync] = []
    _lists.append(found)
    try:
        yield found
    finally:
        _lists.pop()


def _note(operation: str) -> None:
    """Tell the blocks that count of an operation, with its place."""
    if not _lists:
        return
    frame, place = sys._getframe(1), ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__):
            here = f"{path.relative_to(ROOT)}:{frame.f_lineno}"
            if here.startswith("src"):
                place = here
                break
            place = place or here
        frame = frame.f_back  # type: ignore[assignment]
    for found in _lists:
        found.append(Sync(operation, place))


def _waits(name: str, args: Any, kwargs: Any) -> str:
    """What an operation waits for on CUDA, or nothing."""
    if name in SYNCHRONISING:
        return name
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return name
    if name == "copy_":
        into, source = args[:2]
        is_blocking = not (kwargs.get("non_blocking") or any(args[2:]))
        if is_blocking and isinstance(into, CudaTensor) != isinstance(source, CudaTensor):
            return f"copy to {'cuda' if isinstance(into, CudaTensor) else 'cpu'}"
    if name.startswith(("index", "_index_put")) and isinstance(args[1], list | tuple):
        indices = [index for index in args[1] if index is not None]
        is_mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        if is_mask and not _fills(name, args):
            return "boolean mask"
        if not all(isinstance(index, CudaTensor) for index in indices):
            return "copy to cuda"
    return ""


def _fills(name: str, args: Any) -> bool:
    """Whether x[mask] = number, which is masked_fill on CUDA."""
    if "put" not in name or any(args[3:4]):
        return False
    return args[2].numel() == 1 and not isinstance(args[2], CudaTensor)


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
    if device is None or (torch.device(device).type == "cuda") == isinstance(x, CudaTensor):
        return x
    if not (kwargs.get("non_blocking") or any(flags[:1])):
        _note(f"copy to {torch.device(device).type}")
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
        if func in (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor):
            _note("copy to cuda")
        out = func(*args, **kwargs | {"device": "cpu"})
        if isinstance(out, CudaTensor):
            return out
        return CudaTensor(out.detach()).requires_grad_(out.requires_grad)


@contextmanager
def pretend_gpu(deterministic: bool = False, workspace: bool = True) -> Iterator[None]:
    """A block in which DEVICE exists; without `workspace` cuBLAS is not deterministic."""
    before, mode = os.environ.get(WORKSPACE), torch.get_deterministic_debug_mode()
    if workspace:
        os.environ[WORKSPACE] = ":4096:8"
    else:
        os.environ.pop(WORKSPACE, None)
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
