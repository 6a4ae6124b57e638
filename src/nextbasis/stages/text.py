"""Stage text: turn every caption of a captioned dataset into the tokens a model is conditioned on.

The kind `classes` gives none: labels stay classes. The kind `words` gives ids of words, with a
vocabulary of the training captions; `frozen` gives the hidden states of a pretrained encoder, and a
label is then the number of a caption. Rows that are written wait in scratch/ and are not encoded
again after a kill.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from nextbasis.config import ClassesConfig, TextStage
from nextbasis.data.arrays import CAPTIONS, Dataset, create
from nextbasis.data.shards import ranges
from nextbasis.data.texts import CLASSES, PROMPTS
from nextbasis.pipeline.stagelist import code_hash
from nextbasis.stages import run
from nextbasis.support.files import (
    read_json,
    result_folder,
    scratch_folder,
    sha256,
    staged_folder,
    write_json,
)
from nextbasis.support.progress import Progress
from nextbasis.support.provenance import config_hash, record
from nextbasis.text import Encoder, build, describe
from nextbasis.text.words import WordEncoder, unknown_share, vocabulary_of

ARRAYS = ("tokens.npy", "lengths.npy")
SAVE_EVERY = 100  # batches after which finished rows are on disk and counted


def main(config: TextStage) -> None:
    """Write results/<scale>/text/<key>."""
    if isinstance(config.text, ClassesConfig):
        write_classes(config)
        return
    data = Dataset(result_folder(config.scale, "dataset"))
    captions = data.captions
    encoder = build(config.text, vocabulary_of(seen(captions, data.train_labels)))
    measured = encoder.facts | measure(encoder, captions)
    if isinstance(encoder, WordEncoder):
        share = unknown_share(seen(captions, data.test_labels), encoder.vocabulary)
        measured["unknown_share_test"] = share
    checksum = data.index["sha256"][CAPTIONS]
    identity = [config_hash(config), checksum, code_hash("text"), torch.__version__]
    identity += [encoder.facts.get("encoder_sha256", ""), *encoder.vocabulary]
    scratch = scratch_folder(config.scale, "text", config.key, identity)
    encode_all(encoder, captions, scratch, f"text {config.key}")
    index = describe(encoder) | {
        "num_captions": len(captions),
        "captions_sha256": checksum,
        "tokens_sha256": sha256(scratch / "tokens.npy"),
    }
    with staged_folder(result_folder(config.scale, "text", config.key)) as staged:
        write_json(staged / "index.json", index)
        write_json(staged / "metrics.json", record(config) | measured)
        labels = np.sort(data.test_labels).tolist()
        write_json(staged / PROMPTS, [(label, captions[label]) for label in labels])
        for name in ARRAYS:
            shutil.move(scratch / name, staged / name)
    shutil.rmtree(scratch)


def write_classes(config: TextStage) -> None:
    """Write that labels are classes; of the arrays, empty ones."""
    with staged_folder(result_folder(config.scale, "text", config.key)) as staged:
        write_json(staged / "index.json", {"kind": CLASSES})
        write_json(staged / "metrics.json", record(config))
        write_json(staged / PROMPTS, [])
        for name, dtype in zip(ARRAYS, (np.int32, np.int64), strict=True):
            np.save(staged / name, np.empty(0, dtype))


def seen(captions: Sequence[str], labels: Int64[np.ndarray, " n"]) -> list[str]:
    """The different captions of the images of one split."""
    return [captions[label] for label in np.unique(labels)]


def measure(encoder: Encoder, captions: Sequence[str]) -> dict[str, Any]:
    """How long captions are in tokens, and of how many the end is cut off."""
    longest = truncated = 0
    for part in ranges(len(captions), encoder.batch_size):
        counts = encoder.count(captions[part])
        longest = max(longest, int(counts.max()))
        truncated += int((counts > encoder.config.num_tokens).sum())
    return {"num_captions": len(captions), "longest": longest, "truncated": truncated}


def encode_all(encoder: Encoder, captions: Sequence[str], scratch: Path, what: str) -> None:
    """Write tokens and lengths of all captions; memory holds one batch."""
    done, count, start = scratch / "done.json", len(captions), 0
    if done.is_file() and all((scratch / name).is_file() for name in ARRAYS):
        start = read_json(done)["captions"]
        print(f"resuming with {count - start} of {count} captions to encode", flush=True)
        tokens, lengths = (np.lib.format.open_memmap(scratch / name, "r+") for name in ARRAYS)
    else:
        scratch.mkdir(parents=True, exist_ok=True)
        tokens = create(scratch / ARRAYS[0], (count, *encoder.shape), encoder.dtype)
        lengths = create(scratch / ARRAYS[1], (count,), np.int64)
    progress = Progress(count, "captions", what, start)
    for number, part in enumerate(ranges(count, encoder.batch_size), 1):
        if part.start < start:
            continue
        tokens[part], lengths[part] = encoder.encode(captions[part])
        progress.update(part.stop - part.start)
        if number % SAVE_EVERY == 0 or part.stop == count:
            tokens.flush()
            lengths.flush()
            write_json(done, {"captions": part.stop})
    progress.close()


if __name__ == "__main__":
    run("text", main, __doc__)
