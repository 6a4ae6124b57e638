"""What a family says of its speed: the rows of the benchmark, at one width for all families."""

from dataclasses import dataclass

WIDTH = 256  # of all benchmarked models
NUM_CLASSES = 1000


@dataclass(kw_only=True)
class Row:
    """One line of the table."""

    key: str
    what: str
    family: str
    training: bool
    dropout: float = 0.0
    guidance: float = 1.0
    precision: str = "float32"
    variant: str = ""  # another model of the family, whose work stands in speed_<variant>.py

    @property
    def name(self) -> str:
        """Of the model: its family's, or the variant's own."""
        return self.variant or self.family


def training(key: str, family: str, dropout: float, bf16: bool = False, variant: str = "") -> Row:
    """A row that trains."""
    what = f"train step, dropout {dropout:g}" + (", bf16" if bf16 else "")
    return Row(
        key=key,
        what=what,
        family=family,
        training=True,
        dropout=dropout,
        precision="bfloat16" if bf16 else "float32",
        variant=variant,
    )


def sampling(key: str, family: str, guidance: float, bf16: bool = False, variant: str = "") -> Row:
    """A row that samples; guidance 1 is none."""
    what = f"sample, guidance {guidance:g}" + (", bf16" if bf16 else "")
    return Row(
        key=key,
        what=what,
        family=family,
        training=False,
        guidance=guidance,
        precision="bfloat16" if bf16 else "float32",
        variant=variant,
    )
