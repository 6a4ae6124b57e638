"""Parts of the package that are a folder each and are found by name, such as families.

The folder's `__init__` says what can be said of it without importing torch. All else are modules of
the folder, imported when they are asked for.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType

from nextbasis.support.words import listed

SHARED = "common"  # the folder of what the others share
SOURCE = Path(__file__).parents[1]


class Folders:
    """Folders of one kind, side by side in a package."""

    def __init__(self, package: str, kind: str, parts: Mapping[str, str]) -> None:
        """`kind` is what messages call one of them; `parts` says what its modules hold."""
        self.package, self.kind, self.parts = package, kind, parts

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all folders, sorted."""
        folders = (path.parent.name for path in (SOURCE / self.package).glob("*/__init__.py"))
        return tuple(sorted(name for name in folders if name != SHARED))

    def check(self, name: str, key: str) -> None:
        """Nothing if there is such a folder.

        Raises: ValueError naming the `key` that holds the name, and the choices.
        """
        if name not in self.names:
            raise ValueError(f"{key} must be one of {listed(self.names)}; got '{name}'")

    def module(self, name: str, key: str) -> ModuleType:
        """The `__init__` of a folder.

        Raises: ValueError naming the `key` that holds the name, and the choices.
        """
        self.check(name, key)
        return import_module(f"nextbasis.{self.package}.{name}")

    def path(self, name: str) -> Path:
        """The folder itself."""
        return SOURCE / self.package / name

    def part(self, name: str, part: str) -> ModuleType:
        """Another module of a folder.

        Raises: FileNotFoundError naming the file that has to be written.
        """
        file = f"{self.package}/{name}/{part}.py"
        if not (SOURCE / file).is_file():
            raise FileNotFoundError(
                f"{self.kind} {name} has no part '{part}': write src/nextbasis/{file} "
                f"({self.parts[part]})"
            )
        return import_module(f"nextbasis.{self.package}.{name}.{part}")
