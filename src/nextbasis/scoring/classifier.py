"""The small classifiers whose features stand in for Inception's where images are small.

`fashion128` is trained on Fashion-MNIST, `emoji128` on emoji; both have 128 pooled features.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

FASHION, EMOJI = "fashion128", "emoji128"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What images a classifier reads, and how many classes it tells apart."""

    channels: int
    image_size: int  # pixels a side that it was trained on
    num_classes: int
    stride: int  # of the first convolution, so that larger images cost no more


SHAPES = {
    FASHION: Shape(channels=1, image_size=32, num_classes=10, stride=1),
    EMOJI: Shape(channels=3, image_size=64, num_classes=99, stride=2),
}


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Classifier(nn.Module):
    """Four 3x3 convolutions (32-64-64-128), global average pool, classes."""

    def __init__(self, shape: Shape) -> None:
        """Build the layers with PyTorch's initialisation."""
        super().__init__()
        self.image_size = shape.image_size
        self.body = nn.Sequential(
            _block(shape.channels, 32, shape.stride),
            nn.MaxPool2d(2),
            _block(32, 64),
            nn.MaxPool2d(2),
            _block(64, 64),
            _block(64, 128),
        )
        self.classify = nn.Linear(128, shape.num_classes)

    def forward(
        self, images: UInt8[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b 128"], Float[Tensor, "b k"]]:
        """Pooled features and logits."""
        x = images.to(self.classify.weight.dtype) / 127.5 - 1
        size = (self.image_size, self.image_size)
        if x.shape[-2:] != size:  # only the tiny scale: plumbing, no claim
            x = functional.interpolate(x, size, mode="bilinear")
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        pooled = x.mean(dim=(2, 3))
        return pooled, self.classify(pooled)


def make_fast(network: nn.Module) -> None:
    """Prepare a trained network for inference: the same function up to rounding.

    Each batch normalisation that follows a convolution becomes part of it, since with fixed
    statistics it is linear; and channels come last in memory.
    """
    network.requires_grad_(False).eval()
    for module in list(network.modules()):
        for (name, part), (following, norm) in pairwise(list(module.named_children())):
            if isinstance(part, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(part, norm))
                setattr(module, following, nn.Identity())
    network.to(memory_format=torch.channels_last)
