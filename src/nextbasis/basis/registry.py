"""Every basis and order by its name, and how one is made for a grid. Importing it imports no torch.

A name stands once, in the decorator of the function that makes it:
`@basis("dct", "orthogonal", method="DCT-II, zigzag")` in a file of `nextbasis.basis.constructions`,
`@order("zcurve", method="Morton order")` in `nextbasis.basis.orders`. The configuration must know
names without importing torch, so they are read from the source text, where a decorator begins its
line with its name; a file is imported when one of its names is asked for.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nextbasis.support.words import listed, nearest

if TYPE_CHECKING:
    from nextbasis.basis.definition import Basis

PACKAGE = Path(__file__).parent
PLAIN = "controls"  # the file that runs without a basis of these files name, too
DECORATED = r'^@{}\(\s*"(\w+)"'
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Construction:
    """A named way to make a basis, or an order, for a height and a width in tokens."""

    name: str
    method: str  # a few words, for listings
    kinds: tuple[str, ...]  # of `Basis`; which of them may depend on the options
    make: Callable[..., Any]  # (height, width, **options)

    @property
    def options(self) -> Mapping[str, bool]:
        """Names of the keyword-only arguments, and whether each is required.

        Two are filled in where a training starts: `tokens` of training images and a `seed`.
        """
        parameters = inspect.signature(self.make).parameters.values()
        return {
            parameter.name: parameter.default is parameter.empty
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY
        }


BASES: dict[str, Construction] = {}  # of the files imported so far; see `find`
ORDERS: dict[str, Construction] = {}


def basis(name: str, *kinds: str, method: str) -> Callable[[Function], Function]:
    """Declare a function that makes a basis, of one of these kinds."""
    return partial(_declare, BASES, name, kinds, method)


def order(name: str, *, method: str) -> Callable[[Function], Function]:
    """Declare a function that gives the order in which the tokens of a grid are visited."""
    return partial(_declare, ORDERS, name, ("permutation",), method)


def _declare(
    known: dict[str, Construction],
    name: str,
    kinds: tuple[str, ...],
    method: str,
    function: Function,
) -> Function:
    known[name] = Construction(name=name, method=method, kinds=kinds, make=function)
    return function


@cache
def order_names() -> tuple[str, ...]:
    """All orders, as they stand in the source."""
    return tuple(_names_in(PACKAGE / "orders.py", "order"))


@cache
def _modules() -> dict[str, str]:
    """The module of every basis that is more than an order.

    Raises: ValueError if two files declare one name.
    """
    modules: dict[str, str] = {}
    for file in sorted((PACKAGE / "constructions").glob("*.py")):
        for name in _names_in(file, "basis"):
            if name in modules:
                raise ValueError(f"basis '{name}' of {file} is declared in {modules[name]}, too")
            modules[name] = f"{__package__}.constructions.{file.stem}"
    return modules


def _names_in(file: Path, decorator: str) -> list[str]:
    return re.findall(DECORATED.format(decorator), file.read_text(encoding="utf-8"), re.MULTILINE)


@cache
def names() -> tuple[str, ...]:
    """All bases: every order, token by token if it has no basis of its own, and the others."""
    return tuple(dict.fromkeys([*order_names(), *_modules()]))


def find_order(name: str) -> Construction:
    """The order of this name.

    Raises: ValueError naming the choices.
    """
    if name not in order_names():
        raise ValueError(f"order.scan must be one of {nearest(order_names(), name)}; got '{name}'")
    import_module("nextbasis.basis.orders")
    return ORDERS[name]


def find(name: str) -> Construction:
    """The basis of this name, or the one that `file:PATH` or `module:function` brings.

    Raises: ValueError naming the choices, or what is wrong with the file or function.
    """
    if is_brought(name):
        from nextbasis.basis.brought import bring

        return bring(name)
    if name in _modules():
        import_module(_modules()[name])
        return BASES[name]
    if name in order_names():
        from nextbasis.basis.definition import along

        scan = find_order(name)
        return replace(scan, make=lambda height, width: along((height, width), scan.make))
    raise ValueError(f"basis must be one of {nearest(names(), name)}; got '{name}'")


def construction_of(name: str) -> str:
    """The file of `nextbasis.basis.constructions`, without .py, that makes a basis.

    Orders, brought bases and the identity need none of these files; for them it is PLAIN.
    """
    return _modules().get(name, PLAIN).rpartition(".")[2]


def is_brought(name: str) -> bool:
    """Whether a basis is no name but `file:PATH` or `module:function`."""
    return ":" in name


def make(name: str, height: int, width: int, **options: Any) -> "Basis":
    """The named or brought basis for height x width tokens.

    docs/reference/configuration.md lists the options.

    Raises: ValueError for an unknown name or option, a missing one, or a grid that the basis
    cannot have.
    """
    found = find(name)
    if height < 1 or width < 1:
        raise ValueError(f"a grid has sides of at least 1, got {height} x {width}")
    what = f"basis.init={name}" if is_brought(name) else f"basis '{name}'"
    known = found.options
    if unknown := sorted(set(options) - set(known)):
        choices = f"its options are {listed(known)}" if known else "it has no options"
        raise ValueError(f"{what} has no option '{unknown[0]}': {choices}")
    missing = [option for option, required in known.items() if required and option not in options]
    if missing:
        raise ValueError(f"{what} needs the option '{missing[0]}'")
    try:
        made: Basis = found.make(height, width, **options)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if made.kind not in found.kinds:
        raise ValueError(f"{what} is declared {' or '.join(found.kinds)}, and came out {made.kind}")
    return replace(made, name=name)
