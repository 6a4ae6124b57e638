"""How captions become tokens: one dataclass for each kind of text, chosen by `kind`."""

from dataclasses import dataclass

from nextbasis.config.checks import choose, positive
from nextbasis.config.running import PRECISIONS


@dataclass(kw_only=True)
class ClassesConfig:
    """No text: labels are classes, each with an embedding that the image model learns."""

    kind: str  # classes, words or frozen


@dataclass(kw_only=True)
class TextBase:
    """What every kind of text that reads captions is told."""

    kind: str  # classes, words or frozen
    num_tokens: int  # kept of a caption; the rest is cut off

    def __post_init__(self) -> None:
        """Check the size."""
        positive("text", self, "num_tokens")


@dataclass(kw_only=True)
class WordsConfig(TextBase):
    """Ids of the training captions' words, whose embeddings the image model learns."""


@dataclass(kw_only=True)
class FrozenConfig(TextBase):
    """Last hidden states of a pretrained encoder of Hugging Face transformers (extra `text`).

    metrics.json records the SHA-256 of its weights.
    """

    encoder: str  # folder of a model and its tokenizer, or their name on Hugging Face's hub
    width: int  # of the encoder's hidden states
    batch_size: int  # captions encoded together
    # Of the encoder's weights and products: float32 or bfloat16; states are kept as float16.
    precision: str

    def __post_init__(self) -> None:
        """Check sizes and choices."""
        super().__post_init__()
        positive("text", self, "width", "batch_size")
        choose("text.precision", self.precision, PRECISIONS)
        if not self.encoder:
            raise ValueError("text.encoder must name a folder or a model of Hugging Face's hub")


CaptionConfig = WordsConfig | FrozenConfig  # of kinds that read captions
TextConfig = ClassesConfig | CaptionConfig
