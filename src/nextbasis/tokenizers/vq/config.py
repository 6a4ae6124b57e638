"""What the discrete tokenizer is told."""

from dataclasses import dataclass

from nextbasis.config.checks import fraction
from nextbasis.config.tokenizer import TrainedConfig


@dataclass(kw_only=True)
class VQConfig(TrainedConfig):
    """Ids of a codebook."""

    codebook_size: int  # ids that a token can be
    commitment: float  # weight of the commitment loss
    codebook_decay: float  # of the moving averages that the codebook follows

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        fraction("tokenizer", self, "codebook_decay")
        if self.codebook_size < 2:
            raise ValueError(
                f"tokenizer.codebook_size must be at least 2, got {self.codebook_size}"
            )


TOKENIZER = VQConfig
