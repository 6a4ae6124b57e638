"""What the tokens of a tokenizer look like to the model of them."""

from dataclasses import asdict, dataclass
from typing import Any

from nextbasis.families.common.text import TextSpec
from nextbasis.families.family import KINDS

Grid = tuple[int, int]  # rows and columns


@dataclass(kw_only=True)
class TokenSpec:
    """What an image is as tokens, and how many coefficients their basis has.

    An image is a sequence of `levels`, grids of tokens from coarse to fine: one for most, ten for
    VAR's tokenizer, none where tokens have no place in the image (TiTok), but a `length`.
    """

    kind: str  # numbers, ids (of a codebook) or bits
    levels: tuple[Grid, ...]
    size: int  # numbers of a token, entries of the codebook, bits of a token
    num_classes: int  # or captions
    depth: int = 1  # ids of a token: RQ's, or one for each sub-codebook
    length: int = 0  # tokens of an image without levels
    num_rows: int = 0  # of an A that is not square: tokens that the model sees
    text: TextSpec | None = None  # of captions

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises: ValueError naming the field and the value.
        """
        if self.kind not in KINDS:
            raise ValueError(f"spec.kind must be one of {', '.join(KINDS)}; got '{self.kind}'")
        if bool(self.levels) == bool(self.length):
            raise ValueError(
                f"spec must have levels or a length, got {self.levels} and {self.length}"
            )

    @classmethod
    def of_grid(
        cls, grid: Grid, *, channels: int = 0, codebook_size: int = 0, **values: Any
    ) -> "TokenSpec":
        """One grid of ids where there is a codebook, else of `channels` numbers.

        Raises: ValueError if both sizes are 0.
        """
        if not channels and not codebook_size:
            raise ValueError("tokens need channels or a codebook_size above 0; both are 0")
        kind = "ids" if codebook_size else "numbers"
        return cls(kind=kind, levels=(grid,), size=codebook_size or channels, **values)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "TokenSpec":
        """The spec that `as_dict` turned into a JSON file's values.

        Raises: ValueError if they are of an older version of this package.
        """
        if "levels" not in values:
            raise ValueError(
                "the model's spec has no 'levels': an older version of this package made it; train "
                "or import the model again"
            )
        text = values.get("text")
        levels = tuple((rows, columns) for rows, columns in values["levels"])
        return cls(**values | {"levels": levels, "text": TextSpec(**text) if text else None})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def grid(self) -> Grid:
        """The grid of the finest level; one row of tokens that have no grid."""
        return self.levels[-1] if self.levels else (1, self.length)

    @property
    def channels(self) -> int:
        """Numbers of a continuous token, else 0."""
        return self.size if self.kind == "numbers" else 0

    @property
    def codebook_size(self) -> int:
        """Entries of the codebook of ids, else 0."""
        return self.size if self.kind == "ids" else 0

    @property
    def num_tokens(self) -> int:
        """Tokens of an image, those of all levels."""
        return sum(rows * columns for rows, columns in self.levels) or self.length

    @property
    def sequence(self) -> Grid:
        """The grid that the model sees: that of the image, or one row of coefficients."""
        return (1, self.num_rows) if self.num_rows else self.grid
