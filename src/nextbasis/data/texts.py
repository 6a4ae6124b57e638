"""Tokens of captions, looked up by label: words' ids, or hidden states of a text encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from nextbasis.data.arrays import open_array, read_index
from nextbasis.support.files import read_json

PROMPTS = "prompts.json"  # label and caption of every test image
PADDING, UNKNOWN = 0, 1  # ids; word i of a vocabulary has the id FIRST + i
FIRST = 2
CLASSES = "classes"  # the kind of a text where labels are classes
KEYS = (
    *("kind", "text", "num_captions", "num_tokens", "width", "vocabulary"),
    *("captions_sha256", "tokens_sha256"),
)


@dataclass(frozen=True)
class Texts:
    """The tokens of some captions; `index` says how they were made."""

    tokens: np.ndarray  # ids int32 (num, n), 0 = padding; states float16 (num, n, width), 0 padded
    lengths: Int64[np.ndarray, " num"]  # rows that hold text, at least 1
    index: dict[str, Any]

    def __len__(self) -> int:
        """How many captions there are."""
        return len(self.lengths)

    def take(self, labels: Int64[Tensor, " b"]) -> tuple[Tensor, Int64[Tensor, " b"]]:
        """Tokens and lengths of these captions: int64 ids (b, n) or float16 states (b, n, width).

        Memory holds these only; they are on the CPU wherever the labels are.
        """
        numbers = labels.cpu().numpy()
        assert not len(numbers) or numbers.min() >= 0
        tokens = torch.from_numpy(np.array(self.tokens[numbers]))
        lengths = torch.from_numpy(np.array(self.lengths[numbers]))
        return tokens if self.index["width"] else tokens.long(), lengths


def load_texts(folder: Path) -> Texts | None:
    """The arrays of results/<scale>/text/<key>, mapped and checked against their index.

    None where labels are classes.

    Of states, types and shapes are checked but no checksum: they may be more than can be read in
    minutes.

    Raises: FileNotFoundError or ValueError naming the file, expected and found.
    """
    if read_index(folder, ("kind",))["kind"] == CLASSES:
        return None
    index = read_index(folder, KEYS)
    count, length, width = (index[name] for name in ("num_captions", "num_tokens", "width"))
    path = folder / "tokens.npy"
    if width:
        tokens = open_array(path, np.float16, (count, length, width))
    else:
        tokens = open_array(path, np.int32, (count, length), index["tokens_sha256"])
    lengths = open_array(folder / "lengths.npy", np.int64, (count,))
    if lengths.min() < 1 or lengths.max() > length:
        raise ValueError(f"{folder / 'lengths.npy'} holds lengths outside 1..{length}; rerun it")
    return Texts(tokens, lengths, index)


def load_prompts(folder: Path) -> list[tuple[int, str]]:
    """Label and caption of every test image of results/<scale>/text/<key>, sorted by label.

    Raises: FileNotFoundError naming the file.
    """
    path = folder / PROMPTS
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; run the stage that makes it")
    return [(label, caption) for label, caption in read_json(path)]
