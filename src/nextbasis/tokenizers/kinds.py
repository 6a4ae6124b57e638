"""The seam: what the rest of the package knows of a kind of tokenizer, and how it finds one.

A kind is a folder beside this file whose `__init__` holds TOKENIZER. Its parts are modules of that
folder, imported when they are asked for, so that naming a kind costs no import of torch.
"""

from dataclasses import dataclass
from types import ModuleType

from nextbasis.support.folders import Folders

PARTS = {  # module of a kind's folder: what is in it
    "config": "TOKENIZER, the dataclass of its config, and NETWORK, that of its sizes",
    "model": "TOKENIZER and NETWORK, the classes built from them",
    "official": "SIGNATURE, SECTIONS, sizes, ours, theirs: official files",
    "parity": "knows and run, for fixtures of the official network",
}
FOLDERS = Folders("tokenizers", "tokenizer", PARTS)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What can be said of a kind of tokenizer without importing its parts."""

    name: str  # of its folder, and `kind` of its configs
    tokens: str  # what its tokens are: numbers, ids or bits
    posterior: bool = False  # whether training draws them anew from the moments of a Gaussian

    def part(self, name: str) -> ModuleType:
        """A module of the kind's folder.

        Raises: FileNotFoundError naming the file that has to be written.
        """
        return FOLDERS.part(self.name, name)


def names() -> tuple[str, ...]:
    """Names of all kinds, sorted."""
    return FOLDERS.names


def published() -> tuple[str, ...]:
    """Names of the kinds that have official files."""
    return tuple(name for name in names() if (FOLDERS.path(name) / "official.py").is_file())


def find(name: str, key: str = "tokenizer.kind") -> Kind:
    """The kind of this name.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    kind = FOLDERS.module(name, key).TOKENIZER
    assert isinstance(kind, Kind)
    return kind
