"""Stage tokenizer: make the map between images and tokens, and measure its reconstructions.

It is trained here, or its published weights are read.
"""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.config import PublishedTokenizer, TokenizerStage, TrainedConfig
from nextbasis.data.arrays import Dataset, as_images, batches
from nextbasis.data.epochs import Epochs
from nextbasis.stages import run
from nextbasis.support.files import result_folder, staged_folder, write_json
from nextbasis.support.progress import Progress
from nextbasis.support.provenance import device, record
from nextbasis.tokenizers.common.loading import build, save_tokenizer
from nextbasis.tokenizers.common.pretrained import read_weights
from nextbasis.tokenizers.common.tokenizer import Tokenizer, TrainedTokenizer

WARMUP = 0.03  # fraction of the steps with linearly rising learning rate; then a half cosine to 0
ROWS = 100  # of curve.csv, about
Curve = list[tuple[int, float]]


def main(config: TokenizerStage) -> None:
    """Write results/<scale>/tokenizer/<key>."""
    settings, curve, measured = config.tokenizer, Curve(), dict[str, Any]()
    weights = None
    if isinstance(settings, PublishedTokenizer):  # before the images, whose check takes long
        weights, measured["weights_sha256"] = read_weights(settings)
    data = Dataset(result_folder(config.scale, "dataset"))
    torch.manual_seed(config.seed)
    tokenizer = build(settings, data.image_size, data.channels).to(device())
    if weights is not None:
        tokenizer.get_submodule("network").load_state_dict(weights)
    if isinstance(tokenizer, TrainedTokenizer):
        assert isinstance(settings, TrainedConfig)
        what = f"tokenizer {config.key}"
        curve = train(tokenizer, settings, data.train_images, config.seed, what)
    tokenizer.fit(batches(data.train_images, settings.encode_batch_size, device()))
    measured["train_loss"] = curve[-1][1] if curve else 0.0
    measured |= measure(tokenizer, data, settings.encode_batch_size)
    with staged_folder(result_folder(config.scale, "tokenizer", config.key)) as folder:
        image = {"size": data.image_size, "channels": data.channels}
        save_tokenizer(tokenizer, settings, image, folder)
        _write_curve(folder / "curve.csv", curve)
        write_json(folder / "metrics.json", record(config) | measured)


def train(
    tokenizer: TrainedTokenizer,
    config: TrainedConfig,
    images: np.ndarray,
    seed: int,
    what: str,
) -> Curve:
    """Minimise the tokenizer's own loss on randomly flipped images; rows (step, mean loss).

    Raises: ValueError naming the step if the loss is not finite.
    """
    generator = torch.Generator(device()).manual_seed(seed)
    order = Epochs(len(images), config.batch_size, seed)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), config.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_cosine(config.steps))
    curve, losses, every = [], [], max(1, config.steps // ROWS)
    progress = Progress(config.steps, "steps", what)
    for step in range(config.steps):
        batch = as_images(images[np.sort(order.batch(step))], device())
        loss = tokenizer.loss(random_flip(batch, generator), generator)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ValueError(
                f"{what}: the loss is {losses[-1]} at step {step}; "
                f"tokenizer.lr is {config.lr}, try a smaller one"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.update(loss=losses[-1])
        if (step + 1) % every == 0 or step + 1 == config.steps:
            curve.append((step + 1, float(np.mean(losses))))
            losses = []
    progress.close()
    return curve


def warm_cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step."""
    warm = max(1, round(WARMUP * steps))
    return lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def random_flip(
    images: Float[Tensor, "b c h w"], generator: torch.Generator
) -> Float[Tensor, "b c h w"]:
    """Mirror each image left to right with probability one half."""
    coins = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return torch.where(coins < 0.5, images.flip(3), images)


@torch.no_grad()
def measure(tokenizer: Tokenizer, data: Dataset, batch_size: int) -> dict[str, float]:
    """PSNR of the test reconstructions (dB, pixels in [-1, 1]) and, if not numbers, how codes are
    used.

    Every id or bit of a token has codes of its own. `codes_used` counts codes seen at all (at most
    as many as there are); `perplexity` is exp(mean entropy of their frequencies).
    """
    error = 0.0
    counts = [torch.zeros(size, dtype=torch.float64) for size in tokenizer.layout.choices]
    for images in batches(data.test_images, batch_size, device()):
        tokens = tokenizer.encode(images)
        again = tokenizer.decode(tokens).clamp(-1, 1)
        error += (again - images).double().square().sum().item()
        for place, count in enumerate(counts):
            codes = tokens.reshape(-1, len(counts))[:, place].long()
            count += codes.bincount(minlength=len(count)).double().cpu()
    mean = error / data.test_images.size
    measured = {"mse": mean, "psnr": 10 * math.log10(4 / max(mean, 1e-12))}
    if counts:
        shares = [count / count.sum() for count in counts]
        entropies = [-torch.special.xlogy(share, share).sum().item() for share in shares]
        measured |= {
            "codes_used": sum(int((count > 0).sum()) for count in counts),
            "perplexity": math.exp(sum(entropies) / len(entropies)),
        }
    return measured


def _write_curve(path: Path, curve: Curve) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("step", "loss"))
        writer.writerows(curve)


if __name__ == "__main__":
    run("tokenizer", main, __doc__)
