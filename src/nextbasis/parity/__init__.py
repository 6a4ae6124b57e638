"""Parity: our models against numbers that the official ones produced.

A fixture holds weights, inputs and outputs of one official model with random weights. Every
output in it is computed by our code; an output that no code here knows is an error.
"""

from pathlib import Path

import torch

from nextbasis.families import Family, find, names
from nextbasis.parity.fixture import open_fixture
from nextbasis.parity.report import Row, table
from nextbasis.support.words import listed
from nextbasis.tokenizers import kinds
from nextbasis.tokenizers.kinds import Kind

__all__ = ["compare_fixture", "table"]


def compare_fixture(path: Path) -> list[Row]:
    """Compute every output of a fixture and compare, on the first GPU where there is one.

    Convolutions too are of single precision there: in TF32, cuDNN's default, they have ten bits.

    Raises: FileNotFoundError; ValueError if the file is damaged or holds something unknown.
    """
    fixture = open_fixture(path)
    known: list[Family | Kind] = [find(name) for name in names()]
    known += [kinds.find(name) for name in kinds.published()]
    parts = {each.name: each.part("parity") for each in known}
    try:
        fitting = [part for part in parts.values() if part.knows(fixture)]
        if len(fitting) != 1:
            raise ValueError(f"its kind is {fixture.kind or 'unknown'}; known are {listed(parts)}")
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            fitting[0].run(fixture)
        return fixture.finish()
    except KeyError as error:
        raise ValueError(f"{path}: its metadata lack {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
