"""What ids of several levels stand for: a map that the levels add up to, coarse to fine (VAR).

The multi-scale residual quantiser of Tian et al. 2024, "Visual Autoregressive Modeling", section
3.2: codes of a level are upsampled to the finest grid and convolved, and each level quantises what
those before it left over. The tokenizer that makes ids and the model that is fed them share it.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.data.layout import Grid
from nextbasis.support.words import listed

KERNEL = 3  # side of a level's convolution
NAMES = ("codebook", "kernels", "biases")  # of the tensors that tell all of it


class Pyramid(nn.Module):
    """Maps (b, c, h, w) of the finest grid, and vectors of levels (b, n, c) in raster order.

    b images, c channels of v codes, n tokens of a level or of all s levels, h x w the last level.
    """

    codebook: Float[Tensor, "v c"]

    def __init__(self, levels: tuple[Grid, ...]) -> None:
        """Of grids from coarse to fine."""
        super().__init__()
        self.levels = levels
        self.lengths = [rows * columns for rows, columns in levels]
        for level, grid in enumerate(levels):
            for axis, (size, finest) in enumerate(zip(grid, levels[-1], strict=True)):
                up, down = resizing(size, finest, "bicubic"), resizing(finest, size, "area")
                self.register_buffer(f"up_{level}_{axis}", up, persistent=False)
                self.register_buffer(f"down_{level}_{axis}", down, persistent=False)

    @abstractmethod
    def phi(self, level: int) -> tuple[Float[Tensor, "c c 3 3"], Float[Tensor, " c"]]:
        """Kernel and bias of the convolution that a level's upsampled codes go through."""

    def tensors(self) -> dict[str, Tensor]:
        """All that a `KnownPyramid` of these levels is told."""
        kernels, biases = zip(*(self.phi(k) for k in range(len(self.levels))), strict=True)
        tensors = (self.codebook, torch.stack(kernels), torch.stack(biases))
        return {n: t.detach().clone() for n, t in zip(NAMES, tensors, strict=True)}

    def start(self, batch: int) -> Float[Tensor, "b c h w"]:
        """The map before the first level: zeros."""
        return self.codebook.new_zeros(batch, self.codebook.shape[1], *self.levels[-1])

    def up(self, level: int, vectors: Float[Tensor, "b n c"]) -> Float[Tensor, "b c h w"]:
        """What vectors of a level add to the map: bicubic upsampling, then the convolution."""
        grid = vectors.mT.unflatten(2, self.levels[level])
        return F.conv2d(self._resized("up", level, grid), *self.phi(level), padding=1)

    def down(self, level: int, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
        """Means of the map over the areas of a level's tokens."""
        return self._resized("down", level, x).flatten(2).mT

    def _resized(self, way: str, level: int, x: Tensor) -> Tensor:
        """By products, whose gradients are deterministic on GPUs, unlike those of `interpolate`."""
        if self.levels[level] == self.levels[-1]:
            return x
        rows, columns = (self.get_buffer(f"{way}_{level}_{axis}") for axis in (0, 1))
        return rows @ x @ columns.T

    def split(self, ids: Int[Tensor, "b n"]) -> list[Int[Tensor, "b k"]]:
        """Ids of each level."""
        return list(ids.split(self.lengths, 1))

    def maps(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "s b c h w"]:
        """The map after each level; the last one is what all ids stand for."""
        x, maps = self.start(len(ids)), []
        for level, part in enumerate(self.split(ids)):
            x = x + self.up(level, self.codebook[part])
            maps.append(x)
        return torch.stack(maps)

    def inputs(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b m c"]:
        """For each token of all levels but the first: the map before its level, where it lies."""
        before = self.maps(ids)[:-1]
        return torch.cat([self.down(k, x) for k, x in enumerate(before, 1)], 1)


class KnownPyramid(Pyramid):
    """Of given tensors, which no gradient flows to and which are in no state."""

    kernels: Float[Tensor, "s c c 3 3"]
    biases: Float[Tensor, "s c"]

    def __init__(self, levels: tuple[Grid, ...], tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors that `Pyramid.tensors` told.

        Raises: ValueError if they are others, or not of such levels.
        """
        super().__init__(levels)
        if sorted(tensors) != sorted(NAMES):
            got = listed(tensors) or "nothing"
            raise ValueError(f"ids of several levels are told by {listed(NAMES)}; got {got}")
        channels, count = tensors["codebook"].shape[-1], len(levels)
        shapes: dict[str, tuple[int, ...]] = {"biases": (count, channels)}
        shapes |= {"kernels": (count, channels, channels, KERNEL, KERNEL)}
        for name, shape in shapes.items():
            if (found := tuple(tensors[name].shape)) != shape:
                raise ValueError(f"{name} of {count} levels have shape {found}, expected {shape}")
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().clone(), persistent=False)

    def phi(self, level: int) -> tuple[Float[Tensor, "c c 3 3"], Float[Tensor, " c"]]:
        """Kernel and bias of a level."""
        return self.kernels[level], self.biases[level]


def resizing(size: int, target: int, mode: str) -> Float[Tensor, "target size"]:
    """PyTorch's `interpolate` of one axis as a matrix; `area` or `bicubic`."""
    units = torch.eye(size, dtype=torch.float64)[:, None, :, None]
    return F.interpolate(units, (target, 1), mode=mode)[:, 0, :, 0].T.float().contiguous()
