"""The seam: what the rest of the package knows of a family of models, and how it finds one.

A family is a folder beside this file whose `__init__` holds FAMILY. Its parts are modules of that
folder, imported when they are asked for, so that naming a family costs no import of torch.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

KINDS = ("numbers", "ids", "bits")  # of tokens; only numbers can be mixed by a basis
PARTS = {  # module of a family's folder: what is in it
    "config": "MODEL and SAMPLER, the dataclasses of its config",
    "model": "MODEL, its class",
    "official": "SIGNATURE, RENAMES, SECTIONS, sizes, constants, host_order: official checkpoints",
    "cost": "FLOPs and memory",
    "parity": "knows and run, for fixtures of the official model",
}
FOLDER = Path(__file__).parent
SHARED = "common"  # the folder of what families share


@dataclass(frozen=True, kw_only=True)
class Family:
    """What can be said of a family without importing its parts."""

    name: str  # of its folder, and `family` of its configs
    title: str  # as the papers write it
    tokens: str  # what its tokens are: one of KINDS
    captions: bool  # whether captions can take the place of classes
    order: str = "raster"  # config/order of its official models

    def part(self, name: str) -> ModuleType:
        """A module of the family's folder.

        Raises: FileNotFoundError naming the file that has to be written.
        """
        if not (FOLDER / self.name / f"{name}.py").is_file():
            raise FileNotFoundError(
                f"family {self.name} has no part '{name}': write "
                f"src/nextbasis/families/{self.name}/{name}.py ({PARTS[name]})"
            )
        return import_module(f"nextbasis.families.{self.name}.{name}")

    @property
    def has_basis(self) -> bool:
        """Whether its tokens can be mixed: y = A x."""
        return self.tokens == "numbers"


@cache
def names() -> tuple[str, ...]:
    """Names of all families, sorted."""
    folders = (path.parent for path in FOLDER.glob("*/__init__.py"))
    return tuple(sorted(folder.name for folder in folders if folder.name != SHARED))


def check(name: str, key: str = "family") -> None:
    """Nothing if there is such a family.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    if name not in names():
        raise ValueError(f"{key} must be one of {', '.join(names())}; got '{name}'")


def find(name: str, key: str = "family") -> Family:
    """The family of this name.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    check(name, key)
    family = import_module(f"nextbasis.families.{name}").FAMILY
    assert isinstance(family, Family)
    return family
