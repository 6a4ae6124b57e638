"""Compare with a fixture what REPA's released teacher, DINOv2, is shown of an image."""

import torch
from torch.nn import functional as F

from nextbasis.parity.fixture import Fixture

PIXELS, TEACHER_SIDE, EVERY = 256, 224, 9  # sides of an image and of what a teacher sees
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run(fixture: Fixture) -> None:
    """Compare what a teacher of pixels would see of an image that the metadata's rule makes."""
    *factors, divisor, levels = fixture["dino.rule"].tolist()
    index = torch.arange(len(factors) * PIXELS**2).view(1, len(factors), PIXELS, PIXELS)
    image = index * torch.tensor(factors).view(-1, 1, 1) // divisor % levels
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    seen = F.interpolate((image / 255.0 - mean) / std, (TEACHER_SIDE, TEACHER_SIDE), mode="bicubic")
    fixture.check("dino.shape", torch.tensor(seen.shape))
    fixture.check("dino.out_every_9", seen[..., ::EVERY, ::EVERY])
