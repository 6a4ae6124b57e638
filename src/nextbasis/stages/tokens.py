"""Stage tokens: encode the views of every training image once, into shards that are memory maps.

Of a tokenizer with a posterior, its moments are kept: each training step draws from them anew.
Under torchrun the processes share the shards. A finished one waits in scratch/ for the others and
is not encoded again after a kill; its bits do not depend on who encodes it.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from nextbasis.config import DatasetConfig, TokensStage
from nextbasis.data.arrays import Dataset, as_images, batches, create
from nextbasis.data.shards import FOLDER, Shards, entry, name_of, ranges, sha256_of
from nextbasis.data.tokens import CODES, stored
from nextbasis.data.views import VIEWS, Views
from nextbasis.pipeline.stagelist import code_hash
from nextbasis.sources.readers import load
from nextbasis.stages import run
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
from nextbasis.support.provenance import config_hash, device, record
from nextbasis.tokenizers.common.loading import load_tokenizer
from nextbasis.tokenizers.common.tokenizer import PosteriorTokenizer, Tokenizer

Batches = Iterator[Float[Tensor, "b c h w"]]
Images = Callable[[slice], Batches]  # some of the training images, in order


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
    inputs = [trained["sha256"], sha256(data.folder / "index.json")]
    code = code_hash("tokens", coder=trained["tokenizer"]["kind"])
    identity = [config_hash(config), *inputs, code, torch.__version__]
    scratch = scratch_folder(config.scale, "tokens", config.key, identity)
    encoder = Encoder(tokenizer, views, data.image_size)
    parts = ranges(len(data.train_labels), config.shard_images)
    encode_all(encoder, images, parts, scratch, f"tokens {config.key}")
    processes.wait_for_all()
    if processes.rank() == 0:
        entries = [read_json(entry_path(scratch, number)) for number in range(len(parts))]
        Shards(scratch, entries, encoder.dtype, encoder.shape).verify()
        index = describe(tokenizer, trained, data, config.views) | {"shards": entries}
        index |= {"tokens_sha256": sha256_of(entries)}
        assemble(config, scratch, index, data, tokenizer.codes())


def describe(
    tokenizer: Tokenizer, trained: dict[str, Any], data: Dataset, views: str
) -> dict[str, Any]:
    """What the index says of all shards together."""
    return {
        "kind": trained["tokenizer"]["kind"],
        "layout": tokenizer.layout.as_dict(),
        "posterior": isinstance(tokenizer, PosteriorTokenizer),
        "num_classes": data.num_classes,
        "views": views,
        "num_views": VIEWS[views].count,
        "mean": trained["mean"],
        "scale": trained["scale"],
        "tokenizer_sha256": trained["sha256"],
    }


def assemble(
    config: TokensStage,
    scratch: Path,
    index: dict[str, Any],
    data: Dataset,
    codes: dict[str, Tensor],
) -> None:
    """Move finished shards to where they belong, and add labels, codes, index and metrics."""
    with staged_folder(result_folder(config.scale, "tokens", config.key)) as folder:
        np.save(folder / "labels.npy", data.train_labels)
        save_file({name: tensor.cpu() for name, tensor in codes.items()}, folder / CODES)
        write_json(folder / "index.json", index)
        summary = {"num_images": len(data.train_labels), "tokens_sha256": index["tokens_sha256"]}
        write_json(folder / "metrics.json", record(config) | summary)
        (folder / FOLDER).mkdir()
        for each in index["shards"]:
            shutil.move(scratch / each["name"], folder / FOLDER / each["name"])
    shutil.rmtree(scratch)


def images_of(data: Dataset, config: DatasetConfig, views: Views, batch_size: int) -> Images:
    """The training images, as large as their views need them.

    Wider ones are made from the dataset's source: to shrink a photograph to 281 pixels and cut 256
    of them is not the same as to shrink it to 256, which is what stage dataset keeps.

    Raises: FileNotFoundError if no source works; ValueError if it holds other images.
    """
    side = views.side(data.image_size)
    if side == data.image_size:
        return lambda part: batches(data.train_images[part], batch_size, device())
    split = load(replace(config, image_size=side))[0]["train"]
    if not np.array_equal(split.labels, data.train_labels):
        raise ValueError(
            f"dataset.sources hold other images than {data.folder}: the labels differ; "
            "rerun stage dataset"
        )

    def wider(part: slice) -> Batches:
        images = split.images(part)
        while batch := list(islice(images, batch_size)):
            yield as_images(np.stack(batch), device())

    return wider


class Encoder:
    """A tokenizer and the views it is given; what comes of each is what `data.tokens` keeps."""

    def __init__(self, tokenizer: Tokenizer, views: Views, image_size: int) -> None:
        """Choose what is kept of a view."""
        self.views, self.image_size = views, image_size
        self.encode: Callable[[Tensor], Tensor] = tokenizer.encode
        if isinstance(tokenizer, PosteriorTokenizer):
            self.encode = tokenizer.moments
        self.dtype, shape = stored(tokenizer.layout, isinstance(tokenizer, PosteriorTokenizer))
        self.shape = (views.count, *shape)

    @torch.no_grad()
    def write(
        self, images: Batches, part: slice, path: Path, progress: Progress, what: str
    ) -> None:
        """Encode the images of one shard.

        Raises: ValueError naming the first image of a batch whose tokens are not finite.
        """
        array = create(path, (part.stop - part.start, *self.shape), self.dtype)
        start = 0
        for batch in images:
            for number, view in enumerate(self.views.cut(batch, self.image_size)):
                tokens = self.encode(view)
                assert tokens.shape[1:] == self.shape[1:]  # else NumPy might repeat them
                if not tokens.isfinite().all():
                    first = part.start + start
                    raise ValueError(f"{what}: tokens of images from {first} on are not finite")
                array[start : start + len(batch), number] = tokens.cpu().numpy()
            start += len(batch)
            progress.update(len(batch))
        assert start == len(array)
        array.flush()


def encode_all(
    encoder: Encoder, images: Images, parts: list[slice], scratch: Path, what: str
) -> None:
    """Encode this process's share of the shards, but those that are finished."""
    mine = range(processes.rank(), len(parts), processes.count())
    sizes = {number: parts[number].stop - parts[number].start for number in mine}
    todo = [number for number in mine if not is_finished(scratch, number)]
    left = sum(sizes[number] for number in todo)
    if left < sum(sizes.values()):
        print(f"resuming with {len(todo)} of {len(mine)} shards to encode", flush=True)
    progress = Progress(sum(sizes.values()), "images", what, sum(sizes.values()) - left)
    for number in todo:
        part, path = parts[number], scratch / name_of(number)

        def write(temporary: Path, part: slice = part) -> None:
            encoder.write(images(part), part, temporary, progress, what)

        write_atomic(path, write)
        write_json(entry_path(scratch, number), entry(path, sizes[number]))
    progress.close()


def entry_path(scratch: Path, number: int) -> Path:
    """Where the index's entry of a finished shard waits."""
    return scratch / f"{number:05}.json"


def is_finished(scratch: Path, number: int) -> bool:
    """Whether a shard need not be encoded any more."""
    return (scratch / name_of(number)).is_file() and entry_path(scratch, number).is_file()


if __name__ == "__main__":
    run("tokens", main, __doc__)
