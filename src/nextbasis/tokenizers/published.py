"""The seam: what the rest of the package knows of a published tokenizer, and how it finds one.

It is a folder beside this file whose `__init__` holds TOKENIZER. Its parts are modules of that
folder, imported when they are asked for, so that naming a tokenizer costs no import of torch.
"""

from dataclasses import dataclass
from types import ModuleType

from nextbasis.support.folders import Folders

PARTS = {  # module of a tokenizer's folder: what is in it
    "config": "NETWORK and TOKENIZER, the dataclasses of its config",
    "model": "NETWORK and TOKENIZER, the classes built from them",
    "official": "SIGNATURE, SECTIONS, sizes, ours, theirs: official files",
    "parity": "knows and run, for fixtures of the official network",
}
FOLDERS = Folders("tokenizers", "tokenizer", PARTS)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What can be said of a published tokenizer without importing its parts."""

    name: str  # of its folder, and `kind` of its configs
    tokens: str  # what its tokens are: numbers, ids or bits
    posterior: bool = False  # whether training draws them anew from the moments of a Gaussian

    def part(self, name: str) -> ModuleType:
        """A module of the tokenizer's folder.

        Raises: FileNotFoundError naming the file that has to be written.
        """
        return FOLDERS.part(self.name, name)


def names() -> tuple[str, ...]:
    """Names of all published tokenizers, sorted."""
    return FOLDERS.names


def find(name: str, key: str = "tokenizer.kind") -> Published:
    """The published tokenizer of this name.

    Raises: ValueError naming the `key` that holds the name, and the choices.
    """
    tokenizer = FOLDERS.module(name, key).TOKENIZER
    assert isinstance(tokenizer, Published)
    return tokenizer
