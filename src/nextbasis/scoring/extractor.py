"""Which features an image has: the networks behind FID, IS, precision and recall.

`fashion128` and `emoji128` are small classifiers shipped with this package. `inception-v3-compat`
is torch-fidelity's conversion of the 2015 Inception graph, from a file that the user provides.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nextbasis.config import EvaluationConfig
from nextbasis.scoring.classifier import EMOJI, FASHION, SHAPES, Classifier, make_fast
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
    "or name yours: --weights PATH of `nextbasis score`, evaluation.weights=PATH of a stage",
}


class SmallNetwork(nn.Module):
    """A shipped classifier that reads nothing but what it was trained on."""

    def __init__(self, name: str, path: str | Path) -> None:
        """Load the weights of `fashion128` or `emoji128` from a file."""
        super().__init__()
        self.name, self.channels = name, SHAPES[name].channels
        self.classifier = Classifier(SHAPES[name])
        put_weights(self.classifier, load_file(path))
        make_fast(self)

    def forward(
        self, images: UInt8[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b 128"], Float[Tensor, "b k"]]:
        """Pooled features and logits.

        Raises: ValueError unless the images are uint8 with as many channels as in training.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"{self.name} reads uint8 images of shape (b, {self.channels}, h, w), "
                f"got {images.dtype} {tuple(images.shape)}"
            )
        return self.classifier(images)


class Extractor:
    """A loaded network together with what names it in a score."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        digest: str,
        device: torch.device,
        spatial: bool = False,
    ) -> None:
        """Keep the network of this name on `device`; `digest` is the SHA-256 of its weights file.

        With `spatial`, which only Inception has, the features of sFID are kept of every batch.
        """
        self.network, self.sha256, self.device = network.to(device), digest, device
        self.name, self.dim = name, int(LAYERS[name][0])
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
    return Extractor(config.extractor, network, digest, device, rule.spatial)


def _build(name: str, path: Path) -> nn.Module:
    if name in SHAPES:
        return SmallNetwork(name, path)
    from nextbasis.scoring.fidelity import inception  # takes seconds to import

    return inception(path, LAYERS[name])  # only reached with a verified hash: it unpickles freely
