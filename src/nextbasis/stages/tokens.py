"""Stage tokens: encode the views of every training image once, into a memory map.

Of a tokenizer with a posterior, its moments are kept: each training step draws from them anew.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nextbasis.config import DatasetConfig, TokensStage
from nextbasis.data.arrays import Dataset, as_images, batches, create
from nextbasis.data.sources import load
from nextbasis.data.views import VIEWS, Views
from nextbasis.files import read_json, result_folder, sha256, staged_folder, write_json
from nextbasis.launch import run
from nextbasis.progress import Progress
from nextbasis.provenance import device, record
from nextbasis.tokenizers import KL16Tokenizer, Tokenizer, load_tokenizer

Batches = Iterator[Float[Tensor, "b c h w"]]


def main(config: TokensStage) -> None:
    """Write results/<scale>/tokens/<key>."""
    data = Dataset(result_folder(config.scale, "dataset"))
    source = result_folder(config.scale, "tokenizer", config.key)
    tokenizer = load_tokenizer(source).to(device())
    trained, views = read_json(source / "index.json"), VIEWS[config.views]
    if trained["image"] != {"size": data.image_size, "channels": data.channels}:
        raise ValueError(
            f"{source} was trained for images {trained['image']}, but {data.folder} holds size "
            f"{data.image_size} and {data.channels} channels; rerun stage tokenizer"
        )
    images = images_of(data, config.dataset, views, trained["tokenizer"]["encode_batch_size"])
    with staged_folder(result_folder(config.scale, "tokens", config.key)) as folder:
        encode_all(tokenizer, images, views, data, folder / "tokens.npy", f"tokens {config.key}")
        np.save(folder / "labels.npy", data.train_labels)
        index = {
            "kind": trained["tokenizer"]["kind"],
            "grid": list(tokenizer.grid),
            "channels": tokenizer.channels,
            "codebook_size": tokenizer.codebook_size,
            "posterior": isinstance(tokenizer, KL16Tokenizer),
            "num_classes": data.num_classes,
            "views": config.views,
            "num_views": views.count,
            "mean": trained["mean"],
            "scale": trained["scale"],
            "tokens_sha256": sha256(folder / "tokens.npy"),
            "tokenizer_sha256": trained["sha256"],
        }
        write_json(folder / "index.json", index)
        summary = {"num_images": len(data.train_images), "tokens_sha256": index["tokens_sha256"]}
        write_json(folder / "metrics.json", record(config) | summary)


def images_of(data: Dataset, config: DatasetConfig, views: Views, batch_size: int) -> Batches:
    """The training images, as large as their views need them.

    Wider ones are made from the dataset's source: to shrink a photograph to 281 pixels and cut 256
    of them is not the same as to shrink it to 256, which is what stage dataset keeps.

    Raises: FileNotFoundError if no source works; ValueError if it holds other images.
    """
    side = views.side(data.image_size)
    if side == data.image_size:
        return batches(data.train_images, batch_size, device())
    split = load(replace(config, image_size=side))[0]["train"]
    if not np.array_equal(split.labels, data.train_labels):
        raise ValueError(
            f"dataset.sources hold other images than {data.folder}: the labels differ; "
            "rerun stage dataset"
        )
    parts = iter(lambda: list(islice(split.images, batch_size)), [])
    return (as_images(np.stack(part), device()) for part in parts)


@torch.no_grad()
def encode_all(
    tokenizer: Tokenizer, images: Batches, views: Views, data: Dataset, path: Path, what: str
) -> None:
    """Fill tokens.npy: (N, views, n, d) float32, of moments 2d; of ids (N, views, n) int32.

    Raises: ValueError naming the first image whose tokens are not finite.
    """
    encode = tokenizer.moments if isinstance(tokenizer, KL16Tokenizer) else tokenizer.encode
    shape = (len(data.train_images), views.count, *token_shape(tokenizer))
    array = create(path, shape, np.int32 if tokenizer.codebook_size else np.float32)
    progress = Progress(len(array), "images", what)
    start = 0
    for batch in images:
        for number, view in enumerate(views.cut(batch, data.image_size)):
            tokens = encode(view)
            if not tokens.isfinite().all():
                raise ValueError(f"{what}: tokens of images from {start} on are not finite")
            array[start : start + len(batch), number] = tokens.cpu().numpy()
        start += len(batch)
        progress.update(len(batch))
    progress.close()
    array.flush()


def token_shape(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Shape of what is kept of one view."""
    count = tokenizer.grid[0] * tokenizer.grid[1]
    if tokenizer.codebook_size:
        return (count,)
    return count, tokenizer.channels * (2 if isinstance(tokenizer, KL16Tokenizer) else 1)


if __name__ == "__main__":
    run("tokens", main, __doc__)
