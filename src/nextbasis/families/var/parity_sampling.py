"""Compare VAR's sampler with a fixture: it runs as in production, on the fixture's numbers."""

from typing import Any

import torch
from torch import Tensor

from nextbasis.data.pyramid import KnownPyramid
from nextbasis.families.common.execution import precision
from nextbasis.families.var import model as backbone
from nextbasis.families.var.config import VARSamplerConfig
from nextbasis.families.var.model import VAR
from nextbasis.families.var.parity_tokenizer import OfficialTokenizer
from nextbasis.parity.fixture import Fixture
from nextbasis.parity.sampling import SAMPLER, Draw, RecordedUniform, greedy, recording

MAPS, PROBABILITIES, SMOOTH = 2e-4, 1e-4, 5e-3  # absolute
HOTTEST, COLDEST, COOLING = 0.27, 0.005, 0.95  # temperature of smooth sampling, level by level


class SmoothPyramid(KnownPyramid):
    """Codes in proportions instead of the drawn ones: the demo's `more_smooth`.

    It smooths pictures and is in no published number. Images are of no ids then.
    """

    def __init__(self, plain: KnownPyramid, exponential: Tensor) -> None:
        """Take a pyramid and exponential numbers (b, n, v)."""
        super().__init__(plain.levels, plain.tensors())
        self.to(exponential.device)
        self.numbers = exponential.split(self.lengths, 1)
        self.logits: list[Tensor] = []  # filtered, of each level (b m v)
        self.total = self.start(len(exponential))  # of the levels so far

    def up(self, level: int, vectors: Tensor) -> Tensor:
        """What the level adds, by its logits and not by the drawn vectors."""
        share = level / (len(self.levels) - 1)
        temperature = max(HOTTEST * (1 - COOLING * share), COLDEST)
        gumbel = -self.numbers[level].log()
        weights = ((self.logits[level] * (1 + share) + gumbel) / temperature).softmax(-1)
        added = super().up(level, weights @ self.codebook)
        self.total = self.total + added
        return added

    def finished(self) -> Tensor:
        """The map after the last level, which the sampler has no use for."""
        last = len(self.levels) - 1
        self.up(last, self.codebook)
        return self.total


def run(fixture: Fixture, model: VAR, tokenizer: OfficialTokenizer) -> None:
    """Compare ids, what they add up to, images and probabilities of every run."""
    if not fixture.holds("out.gen"):
        return
    plain = model.pyramid
    for i, settings in enumerate(fixture.value("generation")):
        for mode, draw in {"icdf": backbone.draw, "greedy": greedy}.items():
            if not fixture.holds(f"out.gen{i}.{mode}."):
                continue
            model.pyramid = plain
            if settings.get("more_smooth", False):
                assert plain is not None
                model.pyramid = SmoothPyramid(plain, fixture[f"in.gen{i}.exponential"])
            check_run(fixture, f"out.gen{i}.{mode}", settings, model, draw, tokenizer)


def check_run(
    fixture: Fixture,
    name: str,
    settings: dict[str, Any],
    model: VAR,
    draw: Draw,
    tokenizer: OfficialTokenizer,
) -> None:
    """Compare one run."""
    sampler = VARSamplerConfig(
        family="var",
        **SAMPLER,
        guidance=1 + settings["cfg"],
        top_k=settings["top_k"],
        top_p=settings["top_p"] or 1.0,  # the official code writes 0 for any
    )
    labels, pyramid = fixture["in.class_ids"], model._known()
    with recording(backbone, draw, len(labels)) as levels:
        if isinstance(pyramid, SmoothPyramid):
            pyramid.logits = levels
        ids = model.sample(labels, RecordedUniform(fixture["in.uniforms"]), sampler)
    fixture.check(f"{name}.ids", ids)
    with precision("float32", fixture.device):
        if isinstance(pyramid, SmoothPyramid):
            total, limits = pyramid.finished(), (SMOOTH, SMOOTH)
        else:
            total, limits = pyramid.maps(ids)[-1], (MAPS, PROBABILITIES)
        images = tokenizer.decode(total)
    fixture.check(f"{name}.probs", torch.cat(levels, 1).softmax(-1), absolute=limits[1])
    fixture.check(f"{name}.f_hat", total, absolute=limits[0])
    fixture.check(f"{name}.images", images, absolute=limits[0])
