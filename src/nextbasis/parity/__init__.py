"""Parity: our models against numbers that the official ones produced.

A fixture holds weights, inputs and outputs of one official model with random weights. Every
output in it is computed by our code; an output that no code here knows is an error.
"""

from pathlib import Path

from nextbasis.families import find, names
from nextbasis.parity import kl16, vqgan
from nextbasis.parity.fixture import open_fixture
from nextbasis.parity.report import Row, table

__all__ = ["compare_fixture", "table"]

TOKENIZERS = {"kl16": kl16, "maskgit_vqgan": vqgan}


def compare_fixture(path: Path) -> list[Row]:
    """Compute every output of a fixture and compare.

    Raises: FileNotFoundError; ValueError if the file is damaged or holds something unknown.
    """
    fixture = open_fixture(path)
    parts = {name: find(name).part("parity") for name in names()} | TOKENIZERS
    try:
        fitting = [part for part in parts.values() if part.knows(fixture)]
        if len(fitting) != 1:
            raise ValueError(
                f"its kind is {fixture.kind or 'unknown'}; known are {', '.join(parts)}"
            )
        fitting[0].run(fixture)
        return fixture.finish()
    except KeyError as error:
        raise ValueError(f"{path}: its metadata lack {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
