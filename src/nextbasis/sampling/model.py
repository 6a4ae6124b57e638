"""A trained or imported model with its tokenizer: classes in, images out.

import nextbasis

model = nextbasis.load("xar_b_bar")  # a run of the default scale, or a folder
images = model.sample([0, 3, 3], seed=0)  # uint8 (3, 32, 32, 1)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nextbasis.config import SamplerBase, as_dict, section
from nextbasis.config.checks import check_seed
from nextbasis.data.pictures import to_uint8
from nextbasis.data.texts import load_texts
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.execution import precision
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.sampling.finding import TrainedHere, belongings, folder_of
from nextbasis.support.files import result_folder
from nextbasis.support.provenance import device
from nextbasis.support.words import listed
from nextbasis.tokenizers.common.tokenizer import Tokenizer


@dataclass(kw_only=True)
class Model:
    """A generator, its tokenizer, and the settings with which it is sampled."""

    folder: Path  # of its weights and config
    generator: Generator
    tokenizer: Tokenizer
    sampler: SamplerBase
    made_by: str  # the tokenizer, in words
    num_classes: int  # or captions, where they take the place of classes
    device: torch.device

    def sample(
        self, classes: Sequence[int], seed: int = 0, **settings: Any
    ) -> UInt8[np.ndarray, "b h w c"]:
        """One image a class; image i depends on its class, i and the seed alone.

        `settings` replace keys of the sampler for this call, such as guidance=1.5; `compile` is
        for the stages and has no effect here.

        Raises: ValueError naming the class or key, and what would be right.
        """
        return np.concatenate(list(self.batches(classes, seed, **settings)))

    def batches(
        self, classes: Sequence[int], seed: int = 0, **settings: Any
    ) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
        """The images of `sample` as they are made, `batch_size` of the sampler at a time.

        Raises: ValueError naming the class, the seed or the key, and what would be right.
        """
        check_seed(seed)
        sampler = self._settings(settings)
        labels = self._labels(classes)
        return self._made(labels, seed, sampler)

    def _settings(self, settings: dict[str, Any]) -> SamplerBase:
        known = [field.name for field in fields(self.sampler)]
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"the sampler has no {listed(unknown)}; it has {listed(known)}")
        return section("sampler", as_dict(self.sampler) | settings)

    def _labels(self, classes: Sequence[int]) -> Tensor:
        if not len(classes):
            raise ValueError("no classes were given: name at least one, such as [0]")
        whole = [isinstance(label, Integral) and 0 <= label < self.num_classes for label in classes]
        if wrong := [label for label, fits in zip(classes, whole, strict=True) if not fits]:
            raise ValueError(
                f"classes must be whole numbers in [0, {self.num_classes}), got "
                f"{listed(map(repr, wrong))}"
            )
        return torch.tensor([int(label) for label in classes])

    @torch.no_grad()
    def _made(
        self, labels: Tensor, seed: int, sampler: SamplerBase
    ) -> Iterator[UInt8[np.ndarray, "b h w c"]]:
        for start in range(0, len(labels), sampler.batch_size):
            batch = labels[start : start + sampler.batch_size]
            noise = ImageNoise(seed, range(start, start + len(batch)), self.device)
            with precision(sampler.precision, self.device):
                tokens = self.generator.sample(batch.to(self.device), noise, sampler)
            images = to_uint8(self.tokenizer.decode(tokens), sampler.rounding)
            yield images.transpose(0, 2, 3, 1)


def load(
    model: str | Path,
    *,
    scale: str = "",
    tokenizer: str | Path = "",
    sampler: str = "",
) -> Model:
    """A model that was trained here, imported, or shared, on the GPU if there is one.

    `model` is a folder with model.safetensors and config.json, or the name of a run of `scale`
    (empty: the default scale). `tokenizer` is a results folder, a folder or file that `nextbasis
    import` made, or an official file; empty: that of the run, or the one that the released model
    of these sizes was trained on, where config/tokenizer looks for its weights. `sampler` is a
    sampler's recipe such as imagenet256/xar_b; empty: that of the run, or of the released model.

    Raises: FileNotFoundError or ValueError naming what is missing and how to give it.
    """
    folder = folder_of(model, scale)
    generator, config = load_generator(folder)
    spec = generator.backbone.spec
    what = belongings(folder, config, spec, tokenizer, sampler)
    there = device()
    generator, decoder = generator.to(there), what.tokenizer.to(there).eval()
    if isinstance(generator.backbone, ReadsCodes):
        generator.backbone.attach_codes(decoder.codes())
    num_classes = spec.num_classes
    if isinstance(what.origin, TrainedHere):
        texts = load_texts(result_folder(what.origin.scale, "text", what.origin.captions))
        if texts is not None:
            generator.attach(texts)
            num_classes = len(texts)
    return Model(
        folder=folder,
        generator=generator,
        tokenizer=decoder.requires_grad_(False),
        sampler=what.sampler,
        made_by=what.made_by,
        num_classes=num_classes,
        device=there,
    )
