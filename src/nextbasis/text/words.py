"""Captions as ids of words; the vocabulary is that of the training captions."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from nextbasis.config import WordsConfig
from nextbasis.data.texts import FIRST, PADDING, UNKNOWN

# A run of letters and digits, or a sign between blanks ("keycap: #"); other signs only separate.
WORD = re.compile(r"\w+|(?<!\S)[^\w\s](?!\S)")


def split(caption: str) -> list[str]:
    """The words of a caption, in lower case."""
    return WORD.findall(caption.lower())


def vocabulary_of(captions: Sequence[str]) -> list[str]:
    """Every word of these captions, the most frequent first, equally frequent ones by alphabet."""
    counts = Counter(word for caption in captions for word in split(caption))
    return sorted(counts, key=lambda word: (-counts[word], word))


def unknown_share(captions: Sequence[str], vocabulary: Sequence[str]) -> float:
    """Share of the words of these captions that the vocabulary lacks, 0 if there are no words."""
    known = set(vocabulary)
    words = [word for caption in captions for word in split(caption)]
    return sum(word not in known for word in words) / max(1, len(words))


class WordEncoder:
    """Looks words up; a caption without any is one unknown word."""

    batch_size = 10_000  # captions encoded together
    width = 0
    dtype: type = np.int32

    def __init__(self, config: WordsConfig, vocabulary: list[str]) -> None:
        """Number the words."""
        self.config, self.vocabulary = config, vocabulary
        self.ids = {word: FIRST + i for i, word in enumerate(vocabulary)}
        self.shape = (config.num_tokens,)
        self.facts: dict[str, Any] = {"vocabulary_size": len(vocabulary)}

    def count(self, captions: Sequence[str]) -> Int64[np.ndarray, " b"]:
        """Words of each caption before any is cut off."""
        return np.array([len(split(caption)) for caption in captions], np.int64)

    def encode(
        self, captions: Sequence[str]
    ) -> tuple[Int32[np.ndarray, "b n"], Int64[np.ndarray, " b"]]:
        """Ids and how many there are of each caption."""
        tokens = np.full((len(captions), *self.shape), PADDING, np.int32)
        lengths = np.ones(len(captions), np.int64)
        for row, caption in enumerate(captions):
            ids = [self.ids.get(word, UNKNOWN) for word in split(caption)] or [UNKNOWN]
            ids = ids[: self.config.num_tokens]
            tokens[row, : len(ids)], lengths[row] = ids, len(ids)
        return tokens, lengths
