"""What an image is as tokens: said once, by a tokenizer; all that holds or models tokens has it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from nextbasis.support.words import listed

Grid = tuple[int, int]  # rows and columns
KINDS = ("numbers", "ids", "bits")  # of tokens; only numbers can be mixed by a basis


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """A sequence of n tokens: the `levels`, grids in raster order, one after another.

    Levels go from coarse to fine: one for most tokenizers, ten for VAR's, none where tokens have no
    place in the image (TiTok), but a `length`. An image is then an array of
    - numbers: float32 (n, d), d = sizes[0];
    - ids: whole numbers (n,), or (n, depth) where a token has several, id k below sizes[k]: four of
      16,384 in RQ-VAE, 64 and 4,096 of Open-MAGVIT2's sub-codebooks;
    - bits: bool (n, d), d = sizes[0], of a tokenizer without a codebook such as MaskBit's.
    """

    kind: str  # one of KINDS
    levels: tuple[Grid, ...]
    sizes: tuple[int, ...]  # numbers or bits of a token; of each of its ids, the codebook's entries
    length: int = 0  # tokens of an image without levels

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises: ValueError naming the field and the value.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind of tokens must be one of {', '.join(KINDS)}; got '{self.kind}'")
        if bool(self.levels) == bool(self.length):
            raise ValueError(
                f"tokens must have levels or a length, got {self.levels} and {self.length}"
            )
        if min([side for grid in self.levels for side in grid] or [self.length]) < 1:
            raise ValueError(
                f"levels or length of tokens must be above 0, got {self.levels or self.length}"
            )
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes of tokens must be above 0, got {self.sizes}")
        if self.kind != "ids" and len(self.sizes) > 1:
            raise ValueError(f"tokens that are {self.kind} have one size, got {self.sizes}")

    @classmethod
    def of_grid(
        cls, grid: Grid, *, channels: int = 0, codebook_size: int = 0, **values: Any
    ) -> Self:
        """One grid of ids where there is a codebook, else of `channels` numbers.

        Raises: ValueError if both sizes are 0.
        """
        if not channels and not codebook_size:
            raise ValueError("tokens need channels or a codebook_size above 0; both are 0")
        kind = "ids" if codebook_size else "numbers"
        return cls(kind=kind, levels=(grid,), sizes=(codebook_size or channels,), **values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` turned into a JSON file's values.

        Raises: ValueError naming what is missing, unknown or wrong.
        """
        wanted = [field.name for field in fields(cls)]
        if set(values) != set(wanted):
            raise ValueError(f"tokens are told by {listed(wanted)}; got {listed(values)}")
        levels = tuple((rows, columns) for rows, columns in values["levels"])
        return cls(**{**values, "levels": levels, "sizes": tuple(values["sizes"])})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def level_lengths(self) -> tuple[int, ...]:
        """Tokens of each level."""
        return tuple(rows * columns for rows, columns in self.levels)

    @property
    def num_tokens(self) -> int:
        """Tokens of an image, those of all levels."""
        return sum(self.level_lengths) or self.length

    @property
    def depth(self) -> int:
        """Ids of a token; 1 for numbers and bits."""
        return len(self.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image's tokens as an array."""
        if self.kind != "ids":
            return self.num_tokens, self.size
        return (self.num_tokens, self.depth) if self.depth > 1 else (self.num_tokens,)

    @property
    def choices(self) -> tuple[int, ...]:
        """How many values each id or bit of a token can have; none of numbers."""
        return {"numbers": (), "ids": self.sizes, "bits": (2,) * self.sizes[0]}[self.kind]

    @property
    def has_basis(self) -> bool:
        """Whether a basis can mix the tokens: they are numbers on one grid."""
        return self.kind == "numbers" and len(self.levels) == 1

    @property
    def grid(self) -> Grid:
        """The one grid; one row of tokens that have no place in the image.

        Raises: ValueError for tokens of several levels.
        """
        if len(self.levels) > 1:
            raise ValueError(f"one grid of tokens is needed, these are {self}; choose other tokens")
        return self.levels[0] if self.levels else (1, self.length)

    @property
    def size(self) -> int:
        """The one size: numbers or bits of a token, entries of the codebook of all ids.

        Raises: ValueError if codebooks differ in size.
        """
        if len(set(self.sizes)) > 1:
            raise ValueError(f"one codebook is needed, these are {self}; choose other tokens")
        return self.sizes[0]

    @property
    def channels(self) -> int:
        """Numbers of a continuous token, else 0."""
        return self.size if self.kind == "numbers" else 0

    @property
    def codebook_size(self) -> int:
        """Entries of the codebook of tokens that are one id each, else 0.

        Raises: ValueError for tokens of several ids.
        """
        if self.depth > 1:
            raise ValueError(f"tokens of one id are needed, these are {self}; choose other tokens")
        return self.size if self.kind == "ids" else 0

    def __str__(self) -> str:
        """Such as `8 x 8 tokens of 512 ids`."""
        places = " + ".join(f"{rows} x {columns}" for rows, columns in self.levels)
        sizes = " x ".join(map(str, self.sizes))
        return f"{places or self.length} tokens of {sizes} {self.kind}"
