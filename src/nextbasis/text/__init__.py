"""Captions to tokens: ids of words, or hidden states of a frozen encoder.

Every encoder has shape and dtype of a caption's tokens, batch_size, vocabulary, count and encode.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nextbasis.config import CaptionConfig, FrozenConfig, as_dict
from nextbasis.data.shards import ranges
from nextbasis.data.texts import Texts
from nextbasis.text.frozen import FrozenEncoder
from nextbasis.text.words import WordEncoder

Encoder = WordEncoder | FrozenEncoder


def build(config: CaptionConfig, vocabulary: list[str]) -> Encoder:
    """The encoder of a config; only words need the vocabulary.

    Raises: ValueError naming the key if a frozen encoder cannot be loaded.
    """
    if isinstance(config, FrozenConfig):
        return FrozenEncoder(config)
    return WordEncoder(config, vocabulary)


def describe(encoder: Encoder) -> dict[str, Any]:
    """What an index says of an encoder; width is 0 where tokens are ids."""
    return {
        "kind": encoder.config.kind,
        "text": as_dict(encoder.config),
        "num_tokens": encoder.config.num_tokens,
        "width": encoder.width,
        "vocabulary": encoder.vocabulary,
    }


def encode(captions: Sequence[str], config: CaptionConfig, vocabulary: list[str]) -> Texts:
    """The tokens of any captions, held in memory.

    Raises: ValueError naming the key if a frozen encoder cannot be loaded.
    """
    encoder = build(config, vocabulary)
    tokens = np.empty((len(captions), *encoder.shape), encoder.dtype)
    lengths = np.empty(len(captions), np.int64)
    for part in ranges(len(captions), encoder.batch_size):
        tokens[part], lengths[part] = encoder.encode(captions[part])
    return Texts(tokens, lengths, describe(encoder) | {"num_captions": len(captions)})
