"""torch-fidelity's side: its Inception for us, and our small classifiers for it.

With the classifiers registered, its public `calculate_metrics` can use them too. Nothing else here
imports torch-fidelity, which takes longer than to compute a small score.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from nextbasis.scoring.classifier import EMOJI, FASHION, SHAPES, make_fast
from nextbasis.scoring.extractor import LAYERS, WEIGHTS, SmallNetwork
from nextbasis.scoring.rules import INCEPTION


class SmallExtractor(FeatureExtractorBase):
    """A small classifier behind torch-fidelity's interface, with features "128" and "logits"."""

    classifier: ClassVar[str]

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str | None = None,
        **_options: Any,  # torch-fidelity hands over everything that it was given
    ) -> None:
        """Load the weights: the shipped ones unless another file is named."""
        super().__init__(name, features_list)
        path = feature_extractor_weights_path or WEIGHTS / f"{name}.safetensors"
        self.network = SmallNetwork(name, path)

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        """Names of the features."""
        return LAYERS[cls.classifier]

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """IS reads the logits, every other metric the pooled features."""
        return "logits" if metric == "isc" else "128"

    @staticmethod
    def can_be_compiled() -> bool:
        """Compiling costs more than it gains at this size."""
        return False

    @classmethod
    def get_dummy_input_for_compile(cls) -> Tensor:
        """One black image."""
        shape = SHAPES[cls.classifier]
        size = (1, shape.channels, shape.image_size, shape.image_size)
        return torch.zeros(size, dtype=torch.uint8)

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        """The requested features, in the order of `features_list`.

        Raises: ValueError unless the images are uint8 with as many channels as in training.
        """
        found = dict(zip(self.get_provided_features_list(), self.network(images), strict=True))
        return tuple(found[name] for name in self.features_list)


class FashionExtractor(SmallExtractor):
    """`fashion128`."""

    classifier = FASHION


class EmojiExtractor(SmallExtractor):
    """`emoji128`."""

    classifier = EMOJI


def register() -> None:
    """Make the small classifiers known to torch-fidelity; a second call does nothing."""
    for extractor in (FashionExtractor, EmojiExtractor):
        if extractor.classifier not in FEATURE_EXTRACTORS_REGISTRY:
            register_feature_extractor(extractor.classifier, extractor)


def inception(path: Path, layers: Sequence[str]) -> FeatureExtractorInceptionV3:
    """Inception with these layers for features; whoever made the file runs code here."""
    network = FeatureExtractorInceptionV3(
        INCEPTION, list(layers), feature_extractor_weights_path=str(path)
    )
    make_fast(network)
    return network
