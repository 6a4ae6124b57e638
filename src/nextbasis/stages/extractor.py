"""Train `fashion128` or `emoji128`, the feature extractors of small images, and write its weights.

This was run once each: the weights are shipped and no user needs it, because training again moves
every FID by about a tenth (and changes the SHA-256 that each score records).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from nextbasis.config import ExtractorStage
from nextbasis.data.arrays import Dataset
from nextbasis.scoring.classifier import EMOJI, FASHION, SHAPES, Classifier
from nextbasis.scoring.extractor import WEIGHTS
from nextbasis.stages import run
from nextbasis.support.files import read_json, result_folder, sha256, write_atomic, write_json
from nextbasis.support.progress import Progress
from nextbasis.support.provenance import record

GROUPS = WEIGHTS / "emoji_groups.json"  # Unicode's categories and subcategories: names of emoji
PEAK_LR, WEIGHT_DECAY, WARMUP, LABEL_SMOOTHING = 5e-3, 0.02, 0.25, 0.05
WHITE = 255  # what comes into view when an image is shifted


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What differs between trainings; changing it makes another file than the shipped one."""

    epochs: int
    batch_size: int
    shift: int = 0  # pixels at most, up or down and left or right
    noise: float = 0.0  # standard deviation, grey levels; the same in each channel


RECIPES = {
    FASHION: Recipe(epochs=4, batch_size=128),
    EMOJI: Recipe(epochs=8, batch_size=64, shift=4, noise=8.0),
}


def main(config: ExtractorStage) -> None:
    """Train, test, write the weights and, beside them, a JSON file with the accuracy."""
    name = config.evaluation.extractor
    if name not in RECIPES:
        raise ValueError(
            f"evaluation.extractor must be {' or '.join(RECIPES)}: nothing else is trained here, "
            f"got '{name}'"
        )
    data = load_data(config.scale, name)
    classes, new = targets(data, name)
    train = as_tensors(data.train_images, classes[data.train_labels])
    test = as_tensors(data.test_images, classes[data.test_labels])
    torch.manual_seed(config.seed)
    classifier = Classifier(SHAPES[name]).to(memory_format=torch.channels_last)
    fit(classifier, *train, torch.Generator().manual_seed(config.seed), RECIPES[name])
    path = Path(config.evaluation.weights)
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    write_atomic(path, lambda temporary: save_file(state, temporary))
    summary = {
        "train_accuracy": accuracy(classifier, *train),
        "test_accuracy": accuracy(classifier, *test),
        "parameters": sum(part.numel() for part in classifier.parameters()),
        "epochs": RECIPES[name].epochs,
        "seed": config.seed,
        "sha256": sha256(path),
    }
    if new.any():
        unseen = torch.from_numpy(new)
        summary["test_accuracy_of_new_emoji"] = accuracy(classifier, *(x[unseen] for x in test))
    write_json(path.with_suffix(".json"), record(config) | summary)
    print(f"test accuracy {summary['test_accuracy']:.4f}; SHA-256 of {path}: {summary['sha256']}")


def load_data(scale: str, extractor: str) -> Dataset:
    """The dataset of `scale`.

    Raises: ValueError unless it holds images as the extractor reads them.
    """
    data, shape = Dataset(result_folder(scale, "dataset")), SHAPES[extractor]
    captioned = extractor == EMOJI  # which has more captions than classes
    found = (data.image_size, data.channels, *([] if captioned else [data.num_classes]))
    wanted = (shape.image_size, shape.channels, *([] if captioned else [shape.num_classes]))
    if found != wanted:
        parts = "size and channels" if captioned else "size, channels and classes"
        raise ValueError(
            f"{data.folder} holds images of {parts} {found}; {extractor} is trained on {wanted}: "
            f"use scale={'emoji' if captioned else 'cpu'}"
        )
    return data


def targets(
    data: Dataset, extractor: str
) -> tuple[Int64[np.ndarray, " labels"], Bool[np.ndarray, " test"]]:
    """The class that each label stands for, and which test images show an emoji never trained on.

    A label of Fashion-MNIST is a class. An emoji's caption is its name, some with a tone of skin
    behind a colon; its class is the name's category and subcategory.

    Raises: ValueError naming a caption that is no emoji's.
    """
    if extractor == FASHION:
        return np.arange(data.num_classes), np.zeros(len(data.test_labels), bool)
    groups: list[list[str]] = list(read_json(GROUPS).values())
    known = {name: number for number, names in enumerate(groups) for name in names}
    captions = data.captions
    names = [caption if caption in known else caption.rpartition(": ")[0] for caption in captions]
    for name, caption in zip(names, captions, strict=True):
        if name not in known:
            raise ValueError(f"{data.folder}/captions.json: '{caption}' is no emoji of {GROUPS}")
    trained = {names[label] for label in data.train_labels}
    new = [names[label] not in trained for label in data.test_labels]
    return np.asarray([known[name] for name in names]), np.asarray(new)


def as_tensors(
    images: UInt8[np.ndarray, "n h w c"], classes: Int64[np.ndarray, " n"]
) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"]]:
    """One split in memory, channels first."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2), torch.from_numpy(classes)


def fit(
    classifier: Classifier,
    images: UInt8[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    generator: torch.Generator,
    recipe: Recipe,
) -> None:
    """AdamW with a one-cycle rate, augmentation and label smoothing."""
    steps_per_epoch = len(images) // recipe.batch_size
    optimiser = torch.optim.AdamW(classifier.parameters(), PEAK_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LR, recipe.epochs * steps_per_epoch, pct_start=WARMUP
    )
    progress = Progress(recipe.epochs * steps_per_epoch, "steps", "extractor")
    classifier.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order[: steps_per_epoch * recipe.batch_size].split(recipe.batch_size):
            _, logits = classifier(augment(images[chosen], generator, recipe))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            progress.update(loss=loss.item())
    progress.close()
    classifier.eval()


def augment(
    images: UInt8[Tensor, "b c h w"], generator: torch.Generator, recipe: Recipe
) -> UInt8[Tensor, "b c h w"]:
    """Flip half of the images left to right, shift all of them alike, add noise without colour."""
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    batch = torch.where(flip, images.flip(3), images)
    height, width = batch.shape[2:]
    if recipe.shift:
        top, left = torch.randint(2 * recipe.shift + 1, (2,), generator=generator).tolist()
        wide = functional.pad(batch, (recipe.shift,) * 4, value=WHITE)
        batch = wide[:, :, top : top + height, left : left + width]
    if recipe.noise:
        noise = recipe.noise * torch.randn(len(batch), 1, height, width, generator=generator)
        batch = (batch + noise).round_().clamp_(0, WHITE).to(torch.uint8)
    return batch


@torch.inference_mode()
def accuracy(
    classifier: Classifier, images: UInt8[Tensor, "n c h w"], labels: Int64[Tensor, " n"]
) -> float:
    """Share of the images whose class the classifier finds."""
    hits = [
        (classifier(batch)[1].argmax(1) == wanted).sum().item()
        for batch, wanted in zip(images.split(128), labels.split(128), strict=True)
    ]
    return sum(hits) / len(images)


if __name__ == "__main__":
    run("extractor", main, __doc__)
