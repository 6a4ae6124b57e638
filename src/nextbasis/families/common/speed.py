"""What a family says of its speed: rows of the benchmark, and the official code's rates in them.

The official rates are those of the benchmark definition: images per CPU second, one thread, torch
2.14.1, official classes unmodified, on a 2-core Xeon (AVX512, AMX). They move by 10-25 % between
runs there and are another machine's here; the matmul rates in the report help to transfer them.
"""

from dataclasses import dataclass

WIDTH = 256  # of all benchmarked models
NUM_CLASSES = 1000


@dataclass(kw_only=True)
class Row:
    """One line of the table; `official` in images per CPU second, `target` a least ratio to it."""

    key: str
    what: str
    family: str
    official: float
    target: float | None
    training: bool
    dropout: float = 0.0
    guidance: float = 1.0
    precision: str = "float32"


def training(
    key: str, family: str, official: float, target: float, dropout: float, bf16: bool = False
) -> Row:
    """A row that trains."""
    what = f"train step, dropout {dropout:g}" + (", bf16" if bf16 else "")
    return Row(
        key=key,
        what=what,
        family=family,
        official=official,
        target=target,
        training=True,
        dropout=dropout,
        precision="bfloat16" if bf16 else "float32",
    )


def sampling(
    key: str,
    family: str,
    official: float,
    target: float | None,
    guidance: float,
    bf16: bool = False,
) -> Row:
    """A row that samples; guidance 1 is none."""
    what = f"sample, guidance {guidance:g}" + (", bf16" if bf16 else "")
    return Row(
        key=key,
        what=what,
        family=family,
        official=official,
        target=target,
        training=False,
        guidance=guidance,
        precision="bfloat16" if bf16 else "float32",
    )
