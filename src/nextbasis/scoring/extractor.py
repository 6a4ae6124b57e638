"""Which features an image has: the networks behind FID, IS, precision and recall.

`fashion128` and `emoji128` are small classifiers shipped with this package; they are registered
with torch-fidelity, so that its public `calculate_metrics` can use them too. `inception-v3-compat`
is torch-fidelity's conversion of the 2015 Inception graph, from a file that the user provides.
"""

import pickle
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from nextbasis.config import EvaluationConfig
from nextbasis.scoring.classifier import EMOJI, FASHION, SHAPES, Classifier, Shape, make_fast
from nextbasis.scoring.rules import INCEPTION, find_rule
from nextbasis.support.files import sha256
from nextbasis.support.weights import check_finite, put_weights

WEIGHTS = Path(__file__).parents[1] / "extractors"  # of the small classifiers, shipped
# sFID (Nash et al. 2021): "the first 7 channels of mixed_6/conv", 17 x 17 x 7 numbers.
SPATIAL_LAYER, SPATIAL_CHANNELS = "Mixed_6d.branch1x1", 7
# Names of the pooled features and the logits, as torch-fidelity is asked for them.
LAYERS = {
    FASHION: ("128", "logits"),
    EMOJI: ("128", "logits"),
    INCEPTION: ("2048", "logits_unbiased"),
}
SHIPPED = "it is shipped with nextbasis: restore it with git"
OBTAIN = {
    FASHION: SHIPPED,
    EMOJI: SHIPPED,
    INCEPTION: "download weights-inception-2015-12-05-6726825d.pth from release v0.2.0 "
    "of toshas/torch-fidelity on GitHub (96 MB; it is never fetched for you) and save it there, "
    "or pass evaluation.weights=PATH",
}


class SmallExtractor(FeatureExtractorBase):
    """A small classifier behind torch-fidelity's interface, with features "128" and "logits"."""

    shape: ClassVar[Shape]

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str | None = None,
        **_options: Any,  # torch-fidelity hands over everything that it was given
    ) -> None:
        """Load the weights: the shipped ones unless another file is named."""
        super().__init__(name, features_list)
        self.classifier = Classifier(self.shape)
        weights = feature_extractor_weights_path or WEIGHTS / f"{name}.safetensors"
        put_weights(self.classifier, load_file(weights))
        make_fast(self)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Names of the features."""
        return "128", "logits"

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
        size = cls.shape.image_size
        return torch.zeros(1, cls.shape.channels, size, size, dtype=torch.uint8)

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        """The requested features, in the order of `features_list`.

        Raises: ValueError unless the images are uint8 with as many channels as in training.
        """
        channels = self.shape.channels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels:
            raise ValueError(
                f"{self.name} reads uint8 images of shape (b, {channels}, h, w), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        found = dict(zip(("128", "logits"), self.classifier(images), strict=True))
        return tuple(found[name] for name in self.features_list)


class FashionExtractor(SmallExtractor):
    """`fashion128`."""

    shape = SHAPES[FASHION]


class EmojiExtractor(SmallExtractor):
    """`emoji128`."""

    shape = SHAPES[EMOJI]


SMALL = {FASHION: FashionExtractor, EMOJI: EmojiExtractor}


def register() -> None:
    """Make the small classifiers known to torch-fidelity; a second call does nothing."""
    for name, extractor in SMALL.items():
        if name not in FEATURE_EXTRACTORS_REGISTRY:
            register_feature_extractor(name, extractor)


class Extractor:
    """A loaded network together with what names it in a score."""

    def __init__(
        self,
        network: FeatureExtractorBase,
        digest: str,
        device: torch.device,
        spatial: bool = False,
    ) -> None:
        """Keep `network` on `device`; `digest` is the SHA-256 of its weights file.

        With `spatial`, which only Inception has, the features of sFID are kept of every batch.
        """
        self.network, self.sha256, self.device = network.to(device), digest, device
        self.name = network.get_name()
        self.dim = int(LAYERS[self.name][0])
        self.spatial: Tensor | None = None  # (b, 2023) of the last batch
        if spatial:
            network.get_submodule(SPATIAL_LAYER).register_forward_hook(self._keep)

    def _keep(self, _layer: nn.Module, _inputs: Any, output: Float[Tensor, "b c h w"]) -> None:
        # Rows, columns, channels: the order of ADM's files of statistics.
        self.spatial = output[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1).float().cpu()

    @torch.no_grad()
    def features(
        self, images: UInt8[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k"]]:
        """Pooled features and logits, float32 on the CPU."""
        pooled, logits = self.network(images.to(self.device))
        return pooled.float().cpu(), logits.float().cpu()


def load_extractor(config: EvaluationConfig, device: torch.device) -> Extractor:
    """Load the network that `config` names, after checking its file's SHA-256.

    Raises: FileNotFoundError or ValueError naming the file and what to do.
    """
    register()
    rule = find_rule(config)
    path, obtain = Path(config.weights), OBTAIN[config.extractor]
    if not path.is_file():
        raise FileNotFoundError(
            f"evaluation.weights: {config.extractor} needs the file {path}, which is not there; "
            f"{obtain}"
        )
    digest = sha256(path)
    if digest != config.weights_sha256:
        raise ValueError(
            f"evaluation.weights: {path} has SHA-256 {digest}, expected {config.weights_sha256} "
            f"(evaluation.weights_sha256); {obtain}"
        )
    try:
        network = _build(config.extractor, path)
        check_finite(network.state_dict())
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        KeyError,
        ValueError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold weights of {config.extractor}: {reason}") from error
    return Extractor(network, digest, device, rule.spatial)


def _build(name: str, path: Path) -> FeatureExtractorBase:
    layers = list(LAYERS[name])
    if name in SMALL:
        return SMALL[name](name, layers, str(path))
    # Only reached with a verified hash, since torch-fidelity unpickles without restriction.
    network = FeatureExtractorInceptionV3(name, layers, feature_extractor_weights_path=str(path))
    make_fast(network)
    return network
