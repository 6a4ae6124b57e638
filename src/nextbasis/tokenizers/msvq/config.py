"""What the tokenizer of patches on several grids is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import MadeTokenizer


@dataclass(kw_only=True)
class MSVQConfig(MadeTokenizer):
    """Ids of typical patches, and of what typical patches of coarser grids left over."""

    levels: list[int]  # sides of the grids, coarse to fine; the last is that of the patches
    level_codes: list[int]  # ids that k-means finds for each level, all of one codebook
    black: float  # pixels below it become -1: noise that the levels leave on a black background

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        if not self.levels or self.levels != sorted(self.levels) or self.levels[0] < 1:
            raise ValueError(
                f"tokenizer.levels must be sides of grids, from coarse to fine; got {self.levels}"
            )
        if len(self.level_codes) != len(self.levels) or min(self.level_codes) < 1:
            raise ValueError(
                f"tokenizer.level_codes must be {len(self.levels)} numbers above 0, one for each "
                f"of tokenizer.levels; got {self.level_codes}"
            )
        if not -1 <= self.black < 1:
            raise ValueError(f"tokenizer.black must lie in [-1, 1), got {self.black}")


TOKENIZER = MSVQConfig
