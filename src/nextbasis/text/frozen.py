"""Captions as last hidden states of a pretrained encoder that is never trained here."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16, Int64
from safetensors import SafetensorError
from torch import nn

from nextbasis.config import FrozenConfig
from nextbasis.support.provenance import device
from nextbasis.support.weights import check_finite


class FrozenEncoder:
    """A tokenizer and a model of Hugging Face transformers.

    Every batch is padded to num_tokens, on the right and hidden from attention, so that a caption's
    states do not depend on its neighbours. An empty caption is one row of zeros if the tokenizer
    adds no token of its own.
    """

    dtype: type = np.float16

    def __init__(self, config: FrozenConfig) -> None:
        """Load both.

        Raises: ValueError naming the key if they cannot be loaded or have another width.
        """
        self.config, self.batch_size, self.width = config, config.batch_size, config.width
        self.vocabulary: list[str] = []
        self.shape = (config.num_tokens, config.width)
        self.tokenizer, self.model, version = _load(config)
        self.facts: dict[str, Any] = {
            "encoder_sha256": state_sha256(self.model),
            "transformers": version,
            "dtype": config.precision,
        }

    def count(self, captions: Sequence[str]) -> Int64[np.ndarray, " b"]:
        """Tokens of each caption before any is cut off."""
        ids = self.tokenizer(list(captions), verbose=False)["input_ids"]
        return np.array([len(row) for row in ids], np.int64)

    @torch.no_grad()
    def encode(
        self, captions: Sequence[str]
    ) -> tuple[Float16[np.ndarray, "b n w"], Int64[np.ndarray, " b"]]:
        """States, zero where a caption has no token, and how many rows of each caption count.

        Raises: ValueError naming the caption if a state is not finite as float16.
        """
        size = self.config.num_tokens
        rows = self.tokenizer(list(captions), truncation=True, max_length=size)["input_ids"]
        counts = torch.tensor([len(row) for row in rows], device=device())
        ids = torch.tensor([[*row, *[0] * (size - len(row))] for row in rows], device=device())
        lengths = counts.clamp(min=1)
        places = torch.arange(size, device=device())
        states = self.model(
            input_ids=ids.long(), attention_mask=(places < lengths[:, None]).long()
        ).last_hidden_state
        padding = (places >= counts[:, None])[..., None]
        half = states.masked_fill(padding, 0).to(torch.float16)
        if not (finite := half.isfinite().flatten(1).all(1)).all():
            caption = captions[int(finite.int().argmin())]
            raise ValueError(
                f"text.encoder {self.config.encoder}: states of '{caption}' are not finite as "
                f"float16; text.precision is {self.config.precision}, try another"
            )
        return half.cpu().numpy(), lengths.cpu().numpy()


def state_sha256(model: nn.Module) -> str:
    """SHA-256 of the names and values of a model's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _load(config: FrozenConfig) -> tuple[Any, Any, str]:
    """The tokenizer, the model and the version of the library."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            "text.kind=frozen needs transformers, the extra `text`: pip install 'nextbasis[text]'"
        ) from error
    name = config.encoder
    try:
        settings = transformers.AutoConfig.from_pretrained(name)
        if (width := getattr(settings, "hidden_size", None)) != config.width:
            raise ValueError(f"its hidden_size is {width}, but text.width is {config.width}")
        longest = getattr(settings, "max_position_embeddings", config.num_tokens)
        if longest < config.num_tokens:
            raise ValueError(f"it takes {longest} tokens; text.num_tokens is {config.num_tokens}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        dtype = getattr(torch, config.precision)
        model = transformers.AutoModel.from_pretrained(name, dtype=dtype)
        check_finite(model.state_dict())
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"text.encoder '{name}' cannot be used: {error}. It must be a folder with a model and "
            "its tokenizer, or the name of such a model on Hugging Face's hub, which is loaded "
            "from there once"
        ) from error
    if settings.is_encoder_decoder:
        model = model.get_encoder()
    model.config.use_cache = False  # no text is generated
    return tokenizer, model.to(device()).eval(), transformers.__version__
