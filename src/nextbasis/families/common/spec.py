"""What the tokens of a tokenizer look like to the model of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nextbasis.basis.definition import Basis
from nextbasis.data.layout import Grid, TokenLayout
from nextbasis.families.common.text import TextSpec


@dataclass(frozen=True, kw_only=True)
class TokenSpec(TokenLayout):
    """What an image is as tokens, what it is made for, and how many coefficients the basis has."""

    num_classes: int  # or captions
    num_rows: int = 0  # of an A that is not square: tokens that the model sees
    text: TextSpec | None = None  # of captions

    @classmethod
    def of_layout(
        cls, layout: TokenLayout, basis: Basis | None, num_classes: int, text: TextSpec | None
    ) -> "TokenSpec":
        """Of a tokenizer's tokens in a basis; None is the identity."""
        is_square = basis is None or basis.num_rows == basis.num_tokens
        num_rows = 0 if basis is None or is_square else basis.num_rows
        return cls(**vars(layout), num_classes=num_classes, num_rows=num_rows, text=text)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "TokenSpec":
        """The spec that `as_dict` turned into a JSON file's values.

        Raises: ValueError if they are wrong, or of an older version of this package.
        """
        text = values.get("text")
        try:
            return super().of({**values, "text": TextSpec(**text) if text else None})
        except ValueError as error:
            raise ValueError(
                f"the model's spec: {error}. If an older version of this package made it, train or "
                "import the model again"
            ) from error

    @property
    def sequence(self) -> Grid:
        """The grid that the model sees: that of the image, or one row of coefficients."""
        return (1, self.num_rows) if self.num_rows else self.grid
