"""What the tokenizer of principal components is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import MadeTokenizer


@dataclass(kw_only=True)
class PCAConfig(MadeTokenizer):
    """Leading principal components of patches, standardised."""


TOKENIZER = PCAConfig
