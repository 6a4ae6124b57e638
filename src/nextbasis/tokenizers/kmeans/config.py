"""What the tokenizer of typical patches is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import MadeTokenizer


@dataclass(kw_only=True)
class KMeansConfig(MadeTokenizer):
    """Ids of the nearest of `codebook_size` patches."""

    codebook_size: int  # ids that a token can be

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "codebook_size")


TOKENIZER = KMeansConfig
