"""How well a trained run predicts test images, none of which it is sampled for.

Written to results/<scale>/heldout/<key>, of the averaged weights and the same random numbers for
every run. Of ids it is the mean cross-entropy in nats per token, in the order that the run samples
in: the likelihood, of an autoregressive model. Of numbers it is a squared error in the space of the
tokens x, so that a smaller A gains nothing; see `squared_error`.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.config import HeldoutStage
from nextbasis.data.arrays import Dataset, as_images
from nextbasis.families.common.backbone import ReadsCodes, moved
from nextbasis.families.common.checkpoint import CONFIG, load_generator
from nextbasis.families.common.execution import precision
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.loss import Loss
from nextbasis.stages import check_trained, run
from nextbasis.support.files import result_folder, staged_folder, write_json
from nextbasis.support.progress import track
from nextbasis.support.provenance import device, record
from nextbasis.tokenizers.common.loading import load_tokenizer

BATCH = 100  # images
SEED = 0  # of noise, noise levels and what is hidden; the same for every run


def main(config: HeldoutStage) -> None:
    """Write metrics.json.

    Raises: FileNotFoundError or ValueError naming the file or key.
    """
    folder = result_folder(config.scale, "train", config.run)
    generator, trained = load_generator(folder)
    check_trained(folder / CONFIG, trained)
    if generator.backbone.spec.text is not None:
        raise ValueError(f"run={config.run} reads captions; held-out losses are of class labels")
    generator = generator.to(device()).eval()
    tokenizer = load_tokenizer(result_folder(config.scale, "tokenizer", trained["tokens"]))
    tokenizer = tokenizer.to(device()).eval()
    if isinstance(generator.backbone, ReadsCodes):
        generator.backbone.attach_codes(tokenizer.codes())
    data = Dataset(result_folder(config.scale, "dataset"))
    every = max(1, len(data.test_images) // config.num_images)
    images, labels = data.test_images[::every], np.array(data.test_labels[::every])
    random, total, count = torch.Generator().manual_seed(SEED), 0.0, 0
    what = f"heldout {config.key}"
    for start in track(range(0, len(images), BATCH), -(-len(images) // BATCH), "batches", what):
        part = slice(start, start + BATCH)
        tokens = tokenizer.encode(as_images(images[part], device()))
        classes = torch.from_numpy(labels[part]).to(device())
        value, weight = held_out(generator, tokens, classes, random)
        total, count = total + value * weight, count + weight
    with staged_folder(result_folder(config.scale, "heldout", config.key)) as folder:
        found = {"held_out": total / count, "num_images": len(images)}
        write_json(folder / "metrics.json", record(config) | found)


@torch.no_grad()
def held_out(
    generator: Generator, tokens: Tensor, labels: Tensor, random: torch.Generator
) -> tuple[float, int]:
    """The mean over a batch of tokens in raster order, and how many tokens it is of.

    Labels are never dropped.
    """
    x = tokens[:, generator.host_order]
    draws: Any = generator.backbone.draw(len(x), 1.0, random)
    draws = replace(draws, label_drop=torch.zeros(len(x), dtype=torch.bool))
    with precision("float32", x.device):
        y = x if generator.basis is None else generator.basis(x)
        loss = generator.backbone.loss(y, labels, moved(draws, x.device))
        if loss.error is None:
            return loss.value.item(), x.numel()
        return squared_error(generator, loss)


def squared_error(generator: Generator, loss: Loss) -> tuple[float, int]:
    """Mean squared error of the clean tokens per channel, and how many tokens it is of.

    The error of predicted noise or velocity, over the root of the signal-to-noise ratio, is that of
    the clean coefficients y; S carries it to x. Where noise is stronger than the signal the ratio
    counts as 1, since no prediction could be right there. Tokens that were given do not count.
    """
    assert loss.error is not None and loss.snr is not None
    error: Float[Tensor, "b n d"] = loss.error * loss.snr.clamp(min=1).rsqrt()[..., None]
    asked = int((error != 0).any(2).sum().item())
    if generator.basis is not None:
        error = generator.basis.invert(error)
    return error.double().square().sum().item() / (asked * error.shape[2]), asked


if __name__ == "__main__":
    run("heldout", main, __doc__)
