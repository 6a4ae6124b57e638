"""Parity: our models against numbers that the official ones produced.

A fixture holds weights, inputs and outputs of one official model with random weights. Every
output in it is computed by our code; an output that no code here knows is an error.
"""

from collections.abc import Callable
from pathlib import Path

from nextbasis.parity import kl16, mar, rar, vqgan, xar
from nextbasis.parity.fixture import Fixture, open_fixture
from nextbasis.parity.report import Row, table

__all__ = ["compare_fixture", "table"]

KINDS: dict[str, Callable[[Fixture], None]] = {
    "mar": mar.run,
    "xar": xar.run,
    "rar": rar.run,
    "kl_vae": kl16.run,
    "vqgan": vqgan.run,
}  # what compares a fixture of each kind


def compare_fixture(path: Path) -> list[Row]:
    """Compute every output of a fixture and compare.

    Raises: FileNotFoundError; ValueError if the file is damaged or holds something unknown.
    """
    fixture = open_fixture(path)
    try:
        kind = kind_of(fixture)
        if kind not in KINDS:
            raise ValueError(f"its kind is {kind}; known are {', '.join(KINDS)}")
        KINDS[kind](fixture)
        return fixture.finish()
    except KeyError as error:
        raise ValueError(f"{path}: its metadata lack {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def kind_of(fixture: Fixture) -> str:
    """Which model made a fixture: `kind` of its description, or known by its config's keys."""
    if "description" in fixture.metadata:
        return str(fixture.value("description", "kind"))
    config = fixture.value("config")
    keys = {"rar": "condition_num_classes", "vqgan": "num_embeddings"}
    return next((kind for kind, key in keys.items() if key in config), "unknown")
