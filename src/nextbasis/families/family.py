"""The seam: what the rest of the package knows of a family of models, and how it finds one.

A family is a folder beside this file whose `__init__` holds FAMILY. Its parts are modules of that
folder, imported when they are asked for, so that naming a family costs no import of torch.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nextbasis.support.folders import Folders

PARTS = {  # module of a family's folder: what is in it
    "config": "MODEL and SAMPLER, the dataclasses of its config",
    "model": "MODEL, its class",
    "official": "SIGNATURE, RENAMES, SECTIONS, sizes, constants, host_order, perhaps levels: "
    "official checkpoints",
    "cost": "FLOPs and memory",
    "speed": "SPEC, batches, RECIPE, PARAMETERS, ROWS, model, sampler, fix, prepare: benchmarks",
    "parity": "knows and run, for fixtures of the official model",
}
FOLDERS = Folders("families", "family", PARTS)


@dataclass(frozen=True, kw_only=True)
class Family:
    """What can be said of a family without importing its parts."""

    name: str  # of its folder, and `family` of its configs
    title: str  # as the papers write it
    tokens: str  # what its tokens are: numbers, ids or bits
    captions: bool  # whether captions can take the place of classes
    order: str = "raster"  # config/order of its official models
    least_snr: float = 0.0  # of a noisy token, as its loss weighs it; 0 where it has no bound

    def part(self, name: str) -> ModuleType:
        """A module of the family's folder.

        Raises: FileNotFoundError naming the file that has to be written.
        """
        return FOLDERS.part(self.name, name)

    @property
    def recipes(self) -> Path:
        """The folder of its values: model/, train/ and sampler/, YAML files by scale or size."""
        return FOLDERS.path(self.name) / "recipes"

    @property
    def has_basis(self) -> bool:
        """Whether its tokens can be mixed: y = A x."""
        return self.tokens == "numbers"


def names() -> tuple[str, ...]:
    """Names of all families, sorted."""
    return FOLDERS.names


def check(name: str, key: str = "family") -> None:
    """Nothing if there is such a family.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    FOLDERS.check(name, key)


def find(name: str, key: str = "family") -> Family:
    """The family of this name.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    family = FOLDERS.module(name, key).FAMILY
    assert isinstance(family, Family)
    return family
