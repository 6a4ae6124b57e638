"""Train `fashion128`, the feature extractor of the cpu scale, and write its weights.

This was run once: the weights are shipped and no user needs it, because training again moves
every FID by about a tenth (and changes the SHA-256 that each score records).
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from nextbasis.config import ExtractorStage
from nextbasis.data.arrays import Dataset
from nextbasis.files import result_folder, sha256, write_atomic, write_json
from nextbasis.launch import run
from nextbasis.metrics.extractor import FASHION, FashionClassifier
from nextbasis.progress import Progress
from nextbasis.provenance import record

# The recipe belongs to the shipped file rather than to a config: changing it makes another file.
EPOCHS, BATCH_SIZE, LABEL_SMOOTHING = 4, 128, 0.05
PEAK_LR, WEIGHT_DECAY, WARMUP = 5e-3, 0.02, 0.25


def main(config: ExtractorStage) -> None:
    """Train, test, write the weights and, beside them, a JSON file with the accuracy."""
    if config.evaluation.extractor != FASHION:
        raise ValueError(
            f"evaluation.extractor must be {FASHION}: nothing else is trained here, "
            f"got '{config.evaluation.extractor}'"
        )
    data = load_data(config.scale)
    train = as_tensors(data.train_images, data.train_labels)
    test = as_tensors(data.test_images, data.test_labels)
    torch.manual_seed(config.seed)
    classifier = FashionClassifier().to(memory_format=torch.channels_last)
    fit(classifier, *train, torch.Generator().manual_seed(config.seed))
    path = Path(config.evaluation.weights)
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    write_atomic(path, lambda temporary: save_file(state, temporary))
    summary = {
        "test_accuracy": accuracy(classifier, *test),
        "parameters": sum(part.numel() for part in classifier.parameters()),
        "epochs": EPOCHS,
        "seed": config.seed,
        "sha256": sha256(path),
    }
    write_json(path.with_suffix(".json"), record(config) | summary)
    print(f"test accuracy {summary['test_accuracy']:.4f}; SHA-256 of {path}: {summary['sha256']}")


def load_data(scale: str) -> Dataset:
    """The dataset of `scale`.

    Raises: ValueError unless the images are 32x32 with one channel and ten classes.
    """
    data = Dataset(result_folder(scale, "dataset"))
    found = (data.image_size, data.channels, data.num_classes)
    if found != (32, 1, 10):
        raise ValueError(
            f"{data.folder} holds images of size, channels and classes {found}; {FASHION} is "
            "trained on (32, 1, 10): use scale=cpu"
        )
    return data


def as_tensors(
    images: UInt8[np.ndarray, "n 32 32 1"], labels: Int64[np.ndarray, " n"]
) -> tuple[UInt8[Tensor, "n 1 32 32"], Int64[Tensor, " n"]]:
    """One split in memory, channels first."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2), torch.from_numpy(
        np.array(labels)
    )


def fit(
    classifier: FashionClassifier,
    images: UInt8[Tensor, "n 1 32 32"],
    labels: Int64[Tensor, " n"],
    generator: torch.Generator,
) -> None:
    """AdamW with a one-cycle rate, horizontal flips and label smoothing."""
    steps_per_epoch = len(images) // BATCH_SIZE
    optimiser = torch.optim.AdamW(classifier.parameters(), PEAK_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LR, EPOCHS * steps_per_epoch, pct_start=WARMUP
    )
    progress = Progress(EPOCHS * steps_per_epoch, "steps", "extractor")
    classifier.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order[: steps_per_epoch * BATCH_SIZE].split(BATCH_SIZE):
            flip = torch.rand(BATCH_SIZE, 1, 1, 1, generator=generator) < 0.5
            batch = torch.where(flip, images[chosen].flip(3), images[chosen])
            _, logits = classifier(batch)
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            progress.update(loss=loss.item())
    progress.close()
    classifier.eval()


@torch.inference_mode()
def accuracy(
    classifier: FashionClassifier,
    images: UInt8[Tensor, "n 1 32 32"],
    labels: Int64[Tensor, " n"],
) -> float:
    """Share of the images whose label the classifier finds."""
    hits = [
        (classifier(batch)[1].argmax(1) == wanted).sum().item()
        for batch, wanted in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True)
    ]
    return sum(hits) / len(images)


if __name__ == "__main__":
    run("extractor", main, __doc__)
