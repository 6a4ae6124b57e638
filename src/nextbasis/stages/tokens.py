"""Stage tokens: encode every training image once, as it is and mirrored, into a memory map."""

from pathlib import Path

import numpy as np
import torch

from nextbasis.config import TokensStage
from nextbasis.data.arrays import Dataset, batches, create
from nextbasis.files import read_json, result_folder, sha256, staged_folder, write_json
from nextbasis.launch import run
from nextbasis.progress import Progress
from nextbasis.provenance import device, record
from nextbasis.tokenizers import Tokenizer, load_tokenizer

BATCH = 250  # images encoded together
FLIPS = 2  # plain, mirrored


def main(config: TokensStage) -> None:
    """Write results/<scale>/tokens/<key>."""
    data = Dataset(result_folder(config.scale, "dataset"))
    source = result_folder(config.scale, "tokenizer", config.key)
    tokenizer = load_tokenizer(source).to(device())
    trained = read_json(source / "index.json")
    if trained["image"] != {"size": data.image_size, "channels": data.channels}:
        raise ValueError(
            f"{source} was trained for images {trained['image']}, but {data.folder} holds size "
            f"{data.image_size} and {data.channels} channels; rerun stage tokenizer"
        )
    with staged_folder(result_folder(config.scale, "tokens", config.key)) as folder:
        encode_all(tokenizer, data.train_images, folder / "tokens.npy", f"tokens {config.key}")
        np.save(folder / "labels.npy", data.train_labels)
        index = {
            "kind": trained["tokenizer"]["kind"],
            "grid": list(tokenizer.grid),
            "channels": tokenizer.channels,
            "codebook_size": tokenizer.codebook_size,
            "num_classes": data.num_classes,
            "flips": FLIPS,
            "mean": trained["mean"],
            "scale": trained["scale"],
            "tokens_sha256": sha256(folder / "tokens.npy"),
            "tokenizer_sha256": trained["sha256"],
        }
        write_json(folder / "index.json", index)
        summary = {"num_images": len(data.train_images), "tokens_sha256": index["tokens_sha256"]}
        write_json(folder / "metrics.json", record(config) | summary)


@torch.no_grad()
def encode_all(tokenizer: Tokenizer, images: np.ndarray, path: Path, what: str) -> None:
    """Fill tokens.npy: (N, 2, n, d) float32, or (N, 2, n) int32 for ids.

    Raises: ValueError naming the first image whose tokens are not finite.
    """
    count = tokenizer.grid[0] * tokenizer.grid[1]
    discrete = tokenizer.codebook_size > 0
    shape = (len(images), FLIPS, count) + (() if discrete else (tokenizer.channels,))
    array = create(path, shape, np.int32 if discrete else np.float32)
    progress = Progress(len(images), "images", what)
    start = 0
    for batch in batches(images, BATCH, device()):
        for flip, view in enumerate((batch, batch.flip(3))):
            tokens = tokenizer.encode(view)
            if not tokens.isfinite().all():
                raise ValueError(f"{what}: tokens of images from {start} on are not finite")
            array[start : start + len(batch), flip] = tokens.cpu().numpy()
        start += len(batch)
        progress.update(len(batch))
    progress.close()
    array.flush()


if __name__ == "__main__":
    run("tokens", main, __doc__)
