"""Score a tokenizer alone: test images encoded, decoded and compared with the training images."""

import math

import numpy as np
import torch
from jaxtyping import UInt8

from nextbasis.config import ReconstructStage
from nextbasis.data.arrays import batches, open_array, read_index
from nextbasis.data.pictures import save_grid, to_uint8
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.score import score_images
from nextbasis.stages import run
from nextbasis.support.files import result_folder, staged_folder, write_json
from nextbasis.support.progress import track
from nextbasis.support.provenance import device, record
from nextbasis.tokenizers.common.loading import load_tokenizer
from nextbasis.tokenizers.common.tokenizer import Tokenizer

ROUNDING = "round"
COLUMNS, ROWS = 16, 4  # pairs of rows in grid.png: originals above, reconstructions below


def main(config: ReconstructStage) -> None:
    """Write score.json and grid.png to results/<scale>/reconstruct/<key>."""
    source = result_folder(config.scale, "dataset")
    index = read_index(source, ("image_size", "channels", "num_test"))
    size = index["image_size"]
    shape = (index["num_test"], size, size, index["channels"])
    images = open_array(source / "test_images.npy", np.uint8, shape)
    labels = open_array(source / "test_labels.npy", np.int64, shape[:1])
    reference = load_reference(result_folder(config.scale, "reference"), config.evaluation)
    tokenizer = load_tokenizer(result_folder(config.scale, "tokenizer", config.key)).to(device())
    decoded = reconstruct(tokenizer, images, config.evaluation.batch_size)
    score = score_images(decoded, labels, reference, config.evaluation, device())
    score["values"] |= distortion(images, decoded)
    score["protocol"] |= {"rounding": ROUNDING, "images": "reconstructed test images"}
    score["provenance"] = record(config)
    with staged_folder(result_folder(config.scale, "reconstruct", config.key)) as folder:
        save_grid(pair_rows(images, decoded), folder / "grid.png", COLUMNS)
        write_json(folder / "score.json", score)


@torch.inference_mode()
def reconstruct(
    tokenizer: Tokenizer, images: UInt8[np.ndarray, "n h w c"], batch_size: int
) -> UInt8[np.ndarray, "n h w c"]:
    """Images after a round trip through the tokenizer."""
    out = np.empty(images.shape, np.uint8)
    count = -(-len(images) // batch_size)
    for position, batch in enumerate(
        track(batches(images, batch_size, device()), count, "batches", "reconstruct")
    ):
        start = position * batch_size
        decoded = to_uint8(tokenizer.decode(tokenizer.encode(batch)), ROUNDING)
        out[start : start + len(decoded)] = decoded.transpose(0, 2, 3, 1)
    return out


def distortion(
    images: UInt8[np.ndarray, "n h w c"], decoded: UInt8[np.ndarray, "n h w c"]
) -> dict[str, float | None]:
    """Mean squared error of pixels in [0, 255] over all images, and PSNR in dB of that mean.

    The PSNR of a lossless tokenizer is infinite and written as null.
    """
    total = sum(
        float(((first.astype(np.float32) - second) ** 2).sum(dtype=np.float64))
        for first, second in zip(images, decoded, strict=True)
    )
    mse = total / images.size
    return {"mse": mse, "psnr": 10 * math.log10(255**2 / mse) if mse else None}


def pair_rows(
    images: UInt8[np.ndarray, "n h w c"], decoded: UInt8[np.ndarray, "n h w c"]
) -> UInt8[np.ndarray, "m h w c"]:
    """The first images in rows, each row of originals followed by its reconstructions."""
    count = min(COLUMNS * ROWS, len(images)) // COLUMNS * COLUMNS or len(images)
    width = min(COLUMNS, count)
    rows = [
        part[start : start + width]
        for start in range(0, count, width)
        for part in (images, decoded)
    ]
    return np.concatenate(rows)


if __name__ == "__main__":
    run("reconstruct", main, __doc__)
