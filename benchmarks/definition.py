"""What is compared: the official code's rates, and how much faster this package must be.

The official rates are those of the benchmark definition: images per CPU second, one thread, torch
2.14.1, official classes unmodified, on a 2-core Xeon (AVX512, AMX). They move by 10-25 % between
runs there and are another machine's here; the matmul rates in the report help to transfer them.
"""

from dataclasses import dataclass

# Equal to this package's, so the work is the same; RAR's include table rows that nothing reads.
PARAMETERS = {"mar": 8_033_568, "xar": 10_060_464, "rar": 11_137_280}


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


# MAR in bf16 is compared with the official fp32 rate, RAR in bf16 with the official bf16 rate.
ROWS = [
    training("mar-train", "mar", 18.0, 1.2, dropout=0.1),
    training("mar-train-nodrop", "mar", 21.5, 1.2, dropout=0.0),
    training("mar-train-bf16", "mar", 18.0, 1.2, dropout=0.1, bf16=True),
    sampling("mar-sample", "mar", 2.38, 1.4, guidance=3.0),
    sampling("mar-sample-cfg1", "mar", 3.64, 1.4, guidance=1.0),
    sampling("mar-sample-bf16", "mar", 2.38, 2.0, guidance=3.0, bf16=True),
    sampling("mar-sample-cfg1-bf16", "mar", 3.64, 2.0, guidance=1.0, bf16=True),
    training("xar-train", "xar", 4.55, 1.2, dropout=0.1),
    training("xar-train-nodrop", "xar", 5.83, 1.2, dropout=0.0),
    sampling("xar-sample", "xar", 1.16, 1.4, guidance=2.7),
    sampling("xar-sample-cfg1", "xar", 1.15, 2.0, guidance=1.0),
    training("rar-train", "rar", 3.27, 1.4, dropout=0.1),
    training("rar-train-nodrop", "rar", 4.91, 1.4, dropout=0.0),
    training("rar-train-bf16", "rar", 3.97, 1.4, dropout=0.1, bf16=True),
    training("rar-train-nodrop-bf16", "rar", 7.30, 1.4, dropout=0.0, bf16=True),
    sampling("rar-sample", "rar", 0.660, 4.0, guidance=8.0),
    sampling("rar-sample-cfg1", "rar", 1.15, None, guidance=1.0),
]
