"""How fast training could read ImageNet's tokens, beside what the planned GPUs would need.

The set has its real shape and takes no disk: its files are holes, which read as zeros. So this
times the loader alone; a small file that is on the disk, and in no cache, times the two together.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from tabulate import tabulate

from nextbasis.data.layout import TokenLayout
from nextbasis.data.shards import FOLDER, name_of, ranges
from nextbasis.data.tokens import TokenCache, stored
from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.runs import runs_of
from nextbasis.support.files import write_json

IMAGES, SHARD = 1_281_167, 10_000  # of ImageNet, and of a shard in dvc.yaml
BATCH = 2048  # of a step
PROCESSES = 8  # GPUs that share a batch, as resources.yaml of imagenet256 gives them
GPU = "H100"
COLD_BYTES = 80e6  # of the file on the disk
CHUNK = 1 << 20

NOTE = """\
1,281,167 images in files without blocks, batches of 2,048 at random. Own MB: one process's beyond
what it had before the first batch; they must not grow. `share` is one of 8 processes, which reads
an eighth of a batch but draws the views, and the seeds of the posterior's noise, of all of it:
images/s are the whole batch's.
GPUs need: images/s that 8 H100 train of the fastest planned run (`nextbasis plan`). `cold` reads a
file that is on this disk and in no cache, at random, beside reading it from end to end.
"""


@dataclass(kw_only=True)
class LoaderRow:
    """One line of the table: what is stored of an image, and the runs that read it."""

    key: str
    what: str
    views: int
    index: dict[str, Any]
    runs: tuple[str, ...]

    @property
    def stored(self) -> tuple[type, tuple[int, ...]]:
        """Type and shape of what is stored of a view."""
        return stored(TokenLayout.of(self.index["layout"]), self.index["posterior"])

    @property
    def image_bytes(self) -> int:
        """Of all views of an image."""
        dtype, shape = self.stored
        return self.views * int(np.prod(shape)) * np.dtype(dtype).itemsize


NUMBERS = TokenLayout.of_grid((16, 16), channels=16).as_dict()
CODES = TokenLayout.of_grid((16, 16), codebook_size=1024).as_dict()
COMMON = {"num_classes": 1000, "tokens_sha256": ""}
KL16 = COMMON | {"layout": NUMBERS, "posterior": True}
KL16 |= {"mean": [0.0] * 16, "scale": [0.2325] * 16}
IDS = COMMON | {"layout": CODES, "posterior": False, "mean": [], "scale": []}
LOADER = [
    LoaderRow(
        key="loader-kl16",
        what="KL-16 moments, 2 views",
        views=2,
        index=KL16,
        runs=("mar_b", "xar_b"),
    ),
    LoaderRow(key="loader-ids", what="ids, 10 views", views=10, index=IDS, runs=("rar_b",)),
]


def write_set(row: LoaderRow, folder: Path, images: int, fill: bool = False) -> TokenCache:
    """A token set of the real shape: holes, or ones that are on the disk and in no cache."""
    (folder / FOLDER).mkdir(parents=True)
    entries, (dtype, shape) = [], row.stored
    for number, part in enumerate(ranges(images, SHARD)):
        path, size = folder / FOLDER / name_of(number), part.stop - part.start
        array = open_memmap(path, "w+", dtype, (size, row.views, *shape))
        if fill:
            array[:] = 1
            array.flush()
        del array
        forget(path)
        entries.append({"name": path.name, "images": size, "sha256": ""})
    open_memmap(folder / "labels.npy", "w+", np.int64, (images,)).flush()
    write_json(folder / "index.json", row.index | {"num_views": row.views, "shards": entries})
    return TokenCache(folder)


def forget(path: Path) -> None:
    """Write a file to the disk and drop it from the system's cache."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def memory() -> float:
    """MB of this process's own memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1e3


def measure_row(row: LoaderRow, repeats: int, images: int = IMAGES) -> dict[str, Any]:
    """Images per second of the set, of a share of each batch and of the disk; memory."""
    with tempfile.TemporaryDirectory() as name:
        cache, cold = write_set(row, Path(name) / "set", images), Path(name) / "cold"
        before = memory()
        whole, own = time_draws(cache, slice(None), repeats)
        share, _ = time_draws(cache, slice(0, BATCH // PROCESSES), repeats)
        blocks = sum(path.stat().st_blocks for path in Path(name).rglob("*")) * 512
        return {
            "key": row.key,
            "what": row.what,
            "set_gb": images * row.image_bytes / 1e9,
            "disk_mb": blocks / 1e6,
            "images_per_second": BATCH / whole,
            "tokens_per_second": BATCH / whole * row.stored[1][0],
            "share_images_per_second": BATCH / share,
            "own_mb": [value - before for value in own],
            "gpus_need": needed(row),
            "cold": read_cold(row, cold),
        }


def time_draws(cache: TokenCache, part: slice, repeats: int) -> tuple[float, list[float]]:
    """Median seconds of a batch, and this process's own memory after each."""
    random, order = torch.Generator().manual_seed(0), np.random.default_rng(0)
    seconds, own = [], []
    for _ in range(repeats + 1):
        items = order.integers(len(cache.labels), size=BATCH)
        seconds.append(timed(lambda items=items: cache.draw(items, random, part)))
        own.append(memory())
    return statistics.median(seconds[1:]), own


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def read_cold(row: LoaderRow, folder: Path) -> dict[str, float]:
    """Images per second at random, and MB per second at random and from end to end."""
    size = row.image_bytes
    count = min(SHARD, int(COLD_BYTES / size))
    seconds = _seconds_at_random(write_set(row, folder, count, fill=True))
    path = folder / FOLDER / name_of(0)
    forget(path)  # which it could not while the file was mapped
    with path.open("rb") as stream:
        whole = timed(lambda: sum(len(part) for part in iter(lambda: stream.read(CHUNK), b"")))
    return {
        "images_per_second": count / seconds,
        "mb_per_second": count * size / row.views / seconds / 1e6,
        "end_to_end_mb_per_second": path.stat().st_size / whole / 1e6,
    }


def _seconds_at_random(cache: TokenCache) -> float:
    items = np.random.default_rng(0).permutation(len(cache.labels))
    return timed(lambda: cache.tokens.take(items, items % cache.num_views))


def needed(row: LoaderRow) -> float:
    """Images per second that the planned GPUs train of the fastest of the row's runs."""
    assumed = assumptions("imagenet256", PROCESSES)
    rates = []
    for run in runs_of("imagenet256", row.runs):
        share = assumed.utilisation["training"][run.config.model.family]
        work = estimate(run, assumed)["training_flops"]["total"]
        rates.append(PROCESSES * assumed.gpus[GPU] * 1e12 * share / work)
    return max(rates)


def page(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ["key", "stored", "GB", "images/s", "tokens/s", "share images/s", "GPUs need", "ratio"]
    head += ["own MB, first and last", "cold images/s", "cold MB/s", "end to end MB/s"]
    lines = []
    for row in rows:
        cold = row["cold"]
        rates = (row["images_per_second"], row["tokens_per_second"], row["share_images_per_second"])
        lines.append(
            [row["key"], row["what"], f"{row['set_gb']:.1f}"]
            + [f"{rate:,.0f}" for rate in (*rates, row["gpus_need"])]
            + [f"{row['share_images_per_second'] / row['gpus_need']:.1f}"]
            + [f"{row['own_mb'][0]:.0f}, {row['own_mb'][-1]:.0f}"]
            + [f"{cold['images_per_second']:,.0f}", f"{cold['mb_per_second']:.0f}"]
            + [f"{cold['end_to_end_mb_per_second']:.0f}"]
        )
    table = tabulate(lines, head, tablefmt="github", disable_numparse=True)
    return f"# Reading tokens of ImageNet\n\n{table}\n\n{NOTE}"
