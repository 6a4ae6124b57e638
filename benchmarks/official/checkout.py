"""A checkout of an official repository: imported as it is, called with what it has names for."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from torch import Tensor

UNUSED = "flash_attn"  # imported by official code that does not use it; needs a GPU to be installed


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Where the official code of a family is expected."""

    name: str  # of the folder
    repository: str  # of which it is a checkout
    module: str  # that defines the model
    others: tuple[str, ...] = ()  # modules besides: losses, samplers, optimisers

    @contextmanager
    def expected(self, root: Path) -> Iterator[Path]:
        """A block that deals with the folder of this name in `root`, which it is given.

        Raises: ValueError naming the folder and what was expected there, in place of what a wrong
        one leads to; FileNotFoundError if nothing is there.
        """
        folder = (root / self.name).resolve()
        told = f"{folder} must be a checkout of {self.repository}"
        file = Path(*self.module.split(".")).with_suffix(".py")
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{told}: it has no {file}")
        try:
            with redirect_stdout(sys.stderr):  # some print when they are imported or built
                yield folder
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if (folder / package).exists():
                raise ValueError(f"{told}: it has no {error.name}") from error
            raise ValueError(
                f"the code in {folder} needs the package {package}: install it into .venv"
            ) from error
        except (AttributeError, ImportError, SyntaxError, TypeError, ValueError) as error:
            raise ValueError(f"{told}: {error}") from error

    def load(self, folder: Path) -> tuple[ModuleType, ...]:
        """The module that defines the model, then the others."""
        with _imports_from(folder):
            return tuple(importlib.import_module(name) for name in (self.module, *self.others))


@contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """A block whose imports look here first and are forgotten: repositories share names."""
    before, finder = dict(sys.modules), _UnusedPackages()
    sys.path.insert(0, str(folder))
    sys.meta_path.append(finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.meta_path.remove(finder)
        new = sys.modules.keys() - before.keys()
        # All are looked at before one goes: a folder without __init__ asks for the one above it.
        for name in [name for name in new if _is_forgotten(name, folder)]:
            del sys.modules[name]


def _is_forgotten(name: str, folder: Path) -> bool:
    return name.partition(".")[0] == UNUSED or _is_of(sys.modules[name], folder)


def _is_of(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(place and Path(place).is_relative_to(folder) for place in places)


class _UnusedPackages(MetaPathFinder, Loader):
    """Empty modules in place of UNUSED where it is not installed; every name in them is None."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """The module, if it is of the package."""
        if fullname.partition(".")[0] != UNUSED:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty one."""
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: None  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """A block in which `tensor.cuda()`, which official code says throughout, stays on the CPU."""
    with patch.object(Tensor, "cuda", lambda tensor, *_, **__: tensor):
        yield


def called(function: Callable[..., Any], **values: Any) -> Any:
    """Call with those of the values that the function has parameters for.

    Raises: ValueError naming a parameter that has neither a value nor a default.
    """
    wanted = inspect.signature(function).parameters
    given = {name: value for name, value in values.items() if name in wanted}
    for name, parameter in wanted.items():
        needs = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if needs and name not in given:
            raise ValueError(f"{function.__qualname__} wants {name}, of which nothing is known")
    return function(**given)
