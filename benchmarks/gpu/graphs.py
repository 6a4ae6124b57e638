"""MAR's head as a CUDA graph: a thousand small steps that are recorded once and then replayed.

Without one the host starts each of some thirty operations of every denoising step, which takes
longer than the device takes to compute them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from nextbasis.families.common.ancestral import AncestralSampler
from nextbasis.families.mar import model as mar

WARMUPS = 2  # before recording: libraries choose kernels and workspaces in the first calls

Replay = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Replay]]


def cuda_graph(call: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
    """A call's result, and what computes it anew into the same memory, from the same memory."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUPS):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()
    return result, graph.replay


class Recorded:
    """A function of tensors that is recorded once for all tensors of the same shapes."""

    def __init__(self, function: Callable[..., Tensor], record: Record) -> None:
        """Nothing is recorded yet."""
        self.function, self.record = function, record
        self.kept: dict[tuple[torch.Size, ...], tuple[list[Tensor], Tensor, Replay]] = {}

    def __call__(self, *given: Tensor) -> Tensor:
        """The function's result."""
        shapes = tuple(tensor.shape for tensor in given)
        if shapes not in self.kept:
            inputs = [tensor.clone() for tensor in given]
            result, replay = self.record(lambda: self.function(*inputs))
            self.kept[shapes] = inputs, result, replay
        inputs, result, replay = self.kept[shapes]
        for kept, tensor in zip(inputs, given, strict=True):
            kept.copy_(tensor)
        replay()
        return result.clone()


@contextmanager
def recorded_head(record: Record = cuda_graph) -> Iterator[None]:
    """A block in which MAR draws tokens by recordings, one for each number of rows.

    They live as long as one sample, as do the copies of weights that autocast keeps for them.
    """

    class Sampler(AncestralSampler):
        def __init__(self, *settings: Any) -> None:
            super().__init__(*settings)
            self.recorded = Recorded(super().__call__, record)

        def __call__(self, z: Tensor, guidance: Tensor, noise: Tensor) -> Tensor:
            return self.recorded(z, guidance, noise)

    with patch.object(mar, "AncestralSampler", Sampler):
        yield
