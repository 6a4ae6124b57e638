"""Sample images from a trained model: results/<scale>/sample/<evaluation>.

Equally many images of every class, in class order; image i depends on the seed and i alone, so
neither batch size nor a kill nor the number of processes (torchrun's) changes it. Also measures one
process's seconds per image at batch 1 and images per second at the configured batch, decoding
included.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from nextbasis.config import SampleStage
from nextbasis.data.arrays import create
from nextbasis.data.pictures import save_grid, to_uint8
from nextbasis.data.texts import Texts, load_prompts, load_texts
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.checkpoint import CONFIG, load_generator
from nextbasis.families.common.execution import compile_blocks, precision
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.pipeline.stagelist import code_hash
from nextbasis.stages import check_trained, run
from nextbasis.support import processes
from nextbasis.support.files import (
    read_json,
    result_folder,
    scratch_folder,
    sha256,
    staged_folder,
    write_atomic,
    write_json,
)
from nextbasis.support.progress import Progress
from nextbasis.support.provenance import config_hash, device, processor, record
from nextbasis.tokenizers.common.loading import load_tokenizer

GRID_PER_CLASS = 8  # images of each class in grid.png
SAMPLES, SECONDS = "samples.npy", "seconds.npy"  # of every batch, 0 until it is complete
SHEET, SHEET_COLUMNS = 48, 8  # images in grid.png where captions take the place of classes
WARMUP_IMAGES = 2  # sampled before latency is measured


class Sampler:
    """A trained generator and its tokenizer, ready to make images."""

    def __init__(self, config: SampleStage) -> None:
        """Load both; a model that reads captions gets those of the dataset.

        Raises: FileNotFoundError or ValueError naming the file or key.
        """
        self.config, self.device = config, device()
        folder = result_folder(config.scale, "train", config.run)
        generator, trained = load_generator(folder)
        family = trained["model"]["family"]
        if family != config.sampler.family:
            raise ValueError(f"sampler.family={config.sampler.family} cannot sample a {family}")
        check_trained(folder / CONFIG, trained)
        self.generator: Generator = generator.to(self.device)
        if config.sampler.compile:
            compile_blocks(self.generator.backbone)
        tokenizer = result_folder(config.scale, "tokenizer", trained["tokens"])
        self.tokenizer = load_tokenizer(tokenizer).to(self.device).eval()
        if isinstance(self.generator.backbone, ReadsCodes):
            self.generator.backbone.attach_codes(self.tokenizer.codes())
        self.coder = read_json(tokenizer / "index.json")["tokenizer"]["kind"]
        self.classes: Int64[np.ndarray, " c"] = np.arange(trained["spec"]["num_classes"])
        texts = result_folder(config.scale, "text", trained["captions"])
        self.texts: Texts | None = load_texts(texts)
        self.prompts: dict[int, str] = {}
        if self.texts is not None:
            self.generator.attach(self.texts)
            prompts = load_prompts(texts)
            self.prompts = dict(prompts)
            self.classes = np.array([label for label, _ in prompts], np.int64)

    def labels(self) -> Int64[np.ndarray, " n"]:
        """The class of every image, sorted; of captions, those of the test images.

        Raises: ValueError if the images cannot be shared equally.
        """
        per_class, rest = divmod(self.config.sampler.num_images, len(self.classes))
        if rest or not per_class:
            raise ValueError(
                f"sampler.num_images must be a multiple of the {len(self.classes)} "
                f"{'classes' if self.texts is None else 'captions of test images'}, "
                f"got {self.config.sampler.num_images}"
            )
        return np.repeat(self.classes, per_class)

    @torch.no_grad()
    def images(
        self, indices: range, labels: Int64[np.ndarray, " b"]
    ) -> UInt8[np.ndarray, "b h w c"]:
        """The images with these indices.

        Raises: ValueError naming the first index whose tokens or pixels are not finite.
        """
        noise = ImageNoise(self.config.seed, indices, self.device)
        classes = torch.from_numpy(labels).to(self.device)
        with precision(self.config.sampler.precision, self.device):
            tokens = self.generator.sample(classes, noise, self.config.sampler)
        decoded = self.tokenizer.decode(tokens)
        finite = decoded.isfinite().flatten(1).all(1)
        if not finite.all():
            first = indices[int((~finite).nonzero()[0])]
            raise ValueError(f"image {first} of {self.config.key} is not finite: training diverged")
        return to_uint8(decoded, self.config.sampler.rounding).transpose(0, 2, 3, 1)


def latency(sampler: Sampler, labels: Int64[np.ndarray, " n"]) -> float:
    """Median seconds of sampling and decoding one image at batch 1."""
    seconds = []
    for index in range(WARMUP_IMAGES + sampler.config.sampler.latency_images):
        started = time.perf_counter()
        sampler.images(range(index, index + 1), labels[index : index + 1])
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[WARMUP_IMAGES:]))


def fill(
    sampler: Sampler, labels: Int64[np.ndarray, " n"], scratch: Path
) -> tuple[np.ndarray, float]:
    """Sample all images into a file in scratch; returns them and one process's images per second.

    Processes take the batches in turn. A batch that has its time in seconds.npy is complete, so a
    killed stage makes only those that have none, with however many processes.
    """
    settings = sampler.config.sampler
    first = sampler.images(range(1), labels[:1])
    if settings.compile:  # for whole batches, outside the measured time
        batch = range(min(settings.batch_size, len(labels)))
        sampler.images(batch, labels[: len(batch)])
    size = settings.batch_size
    batches = [range(i, min(i + size, len(labels))) for i in range(0, len(labels), size)]
    if processes.rank() == 0:
        prepare(scratch, (len(labels), *first.shape[1:]), len(batches))
    processes.wait_for_all()
    images = np.load(scratch / SAMPLES, mmap_mode="r+", allow_pickle=False)
    seconds = np.load(scratch / SECONDS, mmap_mode="r+", allow_pickle=False)
    mine = range(processes.rank(), len(batches), processes.count())
    total = sum(len(batches[number]) for number in mine)
    done = sum(len(batches[number]) for number in mine if seconds[number])
    progress = Progress(total, "images", f"sample {sampler.config.key}", done)
    for number in mine:
        if seconds[number]:
            continue
        batch = batches[number]
        began = time.perf_counter()
        images[batch.start : batch.stop] = sampler.images(batch, labels[batch.start : batch.stop])
        images.flush()
        seconds[number] = time.perf_counter() - began
        seconds.flush()
        progress.update(len(batch))
    progress.close()
    processes.wait_for_all()
    return images, len(labels) / float(seconds.sum())


def prepare(scratch: Path, shape: tuple[int, ...], num_batches: int) -> None:
    """Create the files that processes fill, unless a killed stage has left them."""
    scratch.mkdir(parents=True, exist_ok=True)
    if not (scratch / SECONDS).exists():
        create(scratch / SAMPLES, shape, np.uint8)
        write_atomic(scratch / SECONDS, lambda path: np.save(path, np.zeros(num_batches)))


def speed(
    config: SampleStage, seconds_per_image: float, images_per_second: float
) -> dict[str, Any]:
    """What speed.json holds: times and what they were measured on."""
    return {
        "seconds_per_image": seconds_per_image,
        "latency_images": config.sampler.latency_images,
        "images_per_second": images_per_second,
        "batch_size": config.sampler.batch_size,
        "decoding_included": True,
        "device": device().type,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "dtype": config.sampler.precision,
        "compiled": config.sampler.compile,
    }


def save_picture(
    sampler: Sampler,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int64[np.ndarray, " n"],
    path: Path,
) -> None:
    """Some images of every class, or one of every so many-th caption below its words."""
    if sampler.texts is None:
        per_class = min(GRID_PER_CLASS, len(labels) // len(sampler.classes))
        shown = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in np.unique(labels)])
        save_grid(images[shown[: 8 * 32]], path, columns=per_class * 2)
        return
    from nextbasis.data.sheets import save_sheet

    shown = np.unique(labels, return_index=True)[1]
    shown = shown[:: max(1, len(shown) // SHEET)][:SHEET]
    words = [sampler.prompts[label] for label in labels[shown].tolist()]
    save_sheet(images[shown], words, SHEET_COLUMNS, "one image of each caption", path)


def main(config: SampleStage) -> None:
    """Sample and write images, labels, a grid and speeds."""
    sampler = Sampler(config)
    labels = sampler.labels()
    model = result_folder(config.scale, "train", config.run) / "model.safetensors"
    identity = [
        config_hash(config),
        sha256(model),
        code_hash("sample", family=config.sampler.family, coder=sampler.coder),
    ]
    scratch = scratch_folder(config.scale, "sample", config.key, identity)
    images, images_per_second = fill(sampler, labels, scratch)
    if processes.rank() > 0:
        return
    seconds_per_image = latency(sampler, labels)
    how = {"num_images": len(labels), "weights": "ema"}
    how |= {"rounding": config.sampler.rounding, "dtype": config.sampler.precision}
    with staged_folder(result_folder(config.scale, "sample", config.key)) as folder:
        np.save(folder / "samples.npy", images)
        np.save(folder / "labels.npy", labels)
        save_picture(sampler, images, labels, folder / "grid.png")
        write_json(folder / "speed.json", speed(config, seconds_per_image, images_per_second))
        write_json(folder / "metrics.json", record(config) | how)
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()


if __name__ == "__main__":
    run("sample", main, __doc__)
