"""What the tokenizer of patches is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import MadeTokenizer


@dataclass(kw_only=True)
class PatchesConfig(MadeTokenizer):
    """Pixels, standardised; nothing is trained."""


TOKENIZER = PatchesConfig
