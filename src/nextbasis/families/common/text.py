"""What a caption says, as a backbone reads it in place of a table of classes.

b captions, s tokens each, f numbers of a frozen encoder's token, w the backbone's width.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.families.common.linear import Linear
from nextbasis.families.common.parts import NORM_EPS, Block

MLP_RATIO = 4  # of the encoder's blocks


@dataclass(kw_only=True)
class TextSpec:
    """What the tokens of captions look like."""

    num_tokens: int  # of every caption, padding included
    vocabulary_size: int  # 0 if tokens are vectors of a frozen encoder
    width: int  # numbers of such a vector, else 0


@runtime_checkable
class Captions(Protocol):
    """Captions by number (nextbasis.data.texts)."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, labels: Int[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """Tokens (b, s), or (b, s, f), and how many of them are no padding (b,)."""


@dataclass(frozen=True, kw_only=True)
class SentCaptions:
    """The captions of the b images of one batch, in their order, on the model's device.

    A model that looked captions up by labels on a GPU would have to wait for these.
    """

    count: int  # captions that labels can stand for
    tokens: Tensor
    lengths: Int[Tensor, " b"]

    def __len__(self) -> int:
        """How many captions labels can stand for."""
        return self.count

    def take(self, labels: Int[Tensor, " b"]) -> tuple[Tensor, Tensor]:
        """Tokens (b, s), or (b, s, f), and how many of them are no padding (b,).

        They are those of the batch: its labels are asked for, or none where a label is dropped.
        """
        assert len(labels) == len(self.lengths)
        return self.tokens, self.lengths


class TextEmbedding(nn.Module):
    """A transformer over the tokens of captions, which it knows by their numbers.

    Tokens are words, whose vectors it learns, or vectors of a frozen encoder, which it maps to
    the backbone's width. Every token is seen, padding as a word of its own, so that shapes are
    fixed. A backbone is given all tokens, or their mean without padding.
    """

    null: Tensor | None

    def __init__(
        self,
        spec: TextSpec,
        num_captions: int,
        width: int,
        num_heads: int,
        depth: int,
        dropout: float,
        pooled: bool,
    ) -> None:
        """`num_captions` is also the number of no caption at all, of which a mean is learned."""
        super().__init__()
        self.spec, self.num_captions, self.pooled = spec, num_captions, pooled
        self.captions: Captions | None = None
        self.words = nn.Embedding(spec.vocabulary_size, width) if spec.vocabulary_size else None
        self.proj = None if self.words is not None else Linear(spec.width, width)
        self.pos = nn.Parameter(torch.zeros(spec.num_tokens, width))
        self.blocks = nn.ModuleList(
            Block(width, num_heads, MLP_RATIO * width, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.register_parameter("null", nn.Parameter(torch.zeros(width)) if pooled else None)
        for name, table in self.named_parameters():
            if name in ("words.weight", "pos", "null"):
                nn.init.normal_(table, std=0.02)

    def attach(self, captions: Captions) -> None:
        """Take the captions that numbers stand for from here.

        Raises: ValueError if there are more than numbers of captions.
        """
        if len(captions) > self.num_captions:
            raise ValueError(
                f"{len(captions)} captions are more than the {self.num_captions} that the model "
                "can number; give it fewer at a time"
            )
        self.captions = captions

    def forward(self, labels: Int[Tensor, " b"]) -> Float[Tensor, "b w"] | Float[Tensor, "b s w"]:
        """Means of captions (`pooled`), or all their tokens."""
        assert self.captions is not None, "attach captions first"
        known = labels < len(self.captions)
        taken = self.captions.take(torch.where(known, labels, 0))
        tokens, lengths = (part.to(labels.device) for part in taken)
        h = self._embedded(tokens) + self.pos
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        if self.null is None:
            return h
        is_text = torch.arange(self.spec.num_tokens, device=h.device) < lengths[:, None]
        mean = (h * is_text[..., None]).sum(1) / lengths[:, None]
        return torch.where(known[:, None], mean, self.null)

    def _embedded(self, tokens: Tensor) -> Float[Tensor, "b s w"]:
        if self.words is not None:
            return self.words(tokens)
        assert self.proj is not None
        return self.proj(tokens.to(self.pos.dtype))
