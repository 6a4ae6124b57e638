"""What CUDA refuses and what it makes the CPU wait for: rules of torch 2.14, as data.

Which operations are not deterministic is told by torch's documentation of
`use_deterministic_algorithms`; a test compares NONDETERMINISTIC with it, so that another version
of torch which says otherwise is noticed.
"""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")
# What the documentation says to raise in deterministic mode, with the operations behind it.
NONDETERMINISTIC = {
    "torch.nn.AvgPool3d": ["avg_pool3d_backward"],
    "torch.nn.AdaptiveAvgPool2d": ["_adaptive_avg_pool2d_backward"],
    "torch.nn.AdaptiveAvgPool3d": ["_adaptive_avg_pool3d_backward"],
    "torch.nn.AdaptiveMaxPool2d": ["adaptive_max_pool2d_backward"],
    "torch.nn.FractionalMaxPool2d": ["fractional_max_pool2d_backward"],
    "torch.nn.FractionalMaxPool3d": ["fractional_max_pool3d_backward"],
    "torch.nn.MaxUnpool1d": ["max_unpool2d"],
    "torch.nn.MaxUnpool2d": ["max_unpool2d"],
    "torch.nn.MaxUnpool3d": ["max_unpool3d"],
    "torch.nn.functional.interpolate": [
        *("upsample_linear1d_backward", "upsample_trilinear3d_backward"),
        *("upsample_bilinear2d_backward", "_upsample_bilinear2d_aa_backward"),
        *("upsample_bicubic2d_backward", "_upsample_bicubic2d_aa_backward"),
    ],
    "torch.nn.ReflectionPad1d": ["reflection_pad1d_backward"],
    "torch.nn.ReflectionPad2d": ["reflection_pad2d_backward"],
    "torch.nn.ReflectionPad3d": ["reflection_pad3d_backward"],
    "torch.nn.NLLLoss": ["nll_loss2d_forward", "nll_loss2d_backward"],  # of images; others do
    "torch.nn.CTCLoss": ["_ctc_loss_backward"],
    "torch.nn.EmbeddingBag": ["_embedding_bag_dense_backward"],
    "torch.Tensor.put_": ["put", "put_"],
    "torch.histc": ["histc"],
    "torch.bincount": ["bincount"],
    "torch.median": ["median", "nanmedian"],
    "torch.nn.functional.grid_sample": ["grid_sampler_2d_backward", "grid_sampler_3d_backward"],
    "torch.Tensor.scatter_reduce": ["scatter_reduce", "scatter_reduce_"],
    "torch.Tensor.resize_": [],  # of quantized tensors
}
RAISING = {name for operations in NONDETERMINISTIC.values() for name in operations}
MAXIMUM = 2  # EmbeddingBag's number for mode="max"
# With which arguments they raise, where it is not with all. Of the operations that write to
# places given by an index, put_ and scatter_reduce alone are not deterministic: scatter,
# scatter_add, index_add, index_copy and index_put have other kernels for that mode.
CONDITIONS: dict[str, Callable[[str, Any], bool]] = {
    "histc": lambda _, args: args[0].is_floating_point(),
    "bincount": lambda _, args: any(weights is not None for weights in args[1:2]),
    "median": lambda overload, _: overload == "dim",
    "nanmedian": lambda overload, _: overload == "dim",
    "scatter_reduce": lambda _, args: args[4] == "prod",
    "scatter_reduce_": lambda _, args: args[4] == "prod",
    "_embedding_bag_dense_backward": lambda _, args: MAXIMUM in args[7:8],
}
PRODUCTS = {  # of cuBLAS
    *("mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "linear", "matmul"),
}
# Operations that take no CPU tensor beside a CUDA one, not even of a single number.
WHOLE = {
    *("cat", "stack", "gather", "embedding", "index_select", "index_add", "index_add_"),
    *("index_copy", "index_copy_", "scatter", "scatter_", "scatter_add", "scatter_add_"),
}
COPIES = {"copy_", "_to_copy"}
# Operations whose kernels wait for a number, whatever their arguments are.
SYNCHRONISING = {
    *("_local_scalar_dense", "equal", "allclose", "is_nonzero", "nonzero", "masked_select"),
    *("unique", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"),
    *("multinomial", "_linalg_check_errors", "_linalg_svd", "linalg_lstsq", "linalg_matrix_exp"),
}
Where = Callable[[Any], bool]  # whether a tensor is on the GPU


def refuse(name: str, overload: str, args: Any, tensors: list[Tensor], on_gpu: Where) -> None:
    """Raise RuntimeError if CUDA does not do an operation of these arguments and tensors."""
    if name not in COPIES and not all(on_gpu(tensor) for tensor in tensors):
        _refuse_mixes(name, args, [tensor for tensor in tensors if not on_gpu(tensor)], on_gpu)
    if not torch.are_deterministic_algorithms_enabled():
        return
    if name in RAISING and CONDITIONS.get(name, lambda *_: True)(overload, args):
        raise RuntimeError(f"{name} does not have a deterministic implementation on CUDA")
    if name in PRODUCTS and os.environ.get(WORKSPACE) not in DETERMINISTIC_WORKSPACES:
        raise RuntimeError(f"{name} is deterministic on CUDA only with {WORKSPACE}=:4096:8")


def _refuse_mixes(name: str, args: Any, strangers: list[Tensor], on_gpu: Where) -> None:
    if name.startswith(("index", "_index_put")) and not on_gpu(args[0]):
        raise RuntimeError(f"{name} of a CPU tensor by CUDA indices")
    if _indexes(name, args):  # by indices of either device
        strangers = [value for value in args[2:3] if not on_gpu(value)]
    writes = name.endswith("_") and not on_gpu(args[0])
    if any(each.ndim > 0 for each in strangers) or (strangers and name in WHOLE) or writes:
        raise RuntimeError(f"{name} mixes a CUDA tensor and one of the CPU, {strangers[0].shape}")


def waits(name: str, args: Any, kwargs: Any, on_gpu: Where) -> str:
    """What the CPU waits for in an operation, or nothing."""
    if name in SYNCHRONISING:
        return name
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return name
    if name == "copy_" and on_gpu(args[0]) != on_gpu(args[1]):
        is_blocking = not (kwargs.get("non_blocking") or any(args[2:]))
        return f"copy to {'cuda' if on_gpu(args[0]) else 'cpu'}" if is_blocking else ""
    if _indexes(name, args):
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return "" if _fills(args, on_gpu) else "boolean mask"
        if not all(on_gpu(index) for index in indices):
            return "copy to cuda"
    return ""


def _indexes(name: str, args: Any) -> bool:
    """Whether an operation is x[i] or x[i] = y with tensors i."""
    return name.startswith(("index", "_index_put")) and isinstance(args[1], list | tuple)


def _fills(args: Any, on_gpu: Where) -> bool:
    """Whether x[mask] = y is masked_fill on CUDA: of one number that the CPU knows."""
    is_one = len(args) > 2 and args[2].numel() == 1 and not on_gpu(args[2])
    return is_one and not any(args[3:4])
