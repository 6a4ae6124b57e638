"""A basis that a user brings: a matrix in a file, or a function of any module.

`file:A.npy`, `file:A.safetensors` (rows are the basis vectors, one column a token in raster order)
or `package.module:function`, called as the functions of `nextbasis.basis.constructions` are. At
least 8 digits of the SHA-256 of that file, or of the function's source file, may follow after an @:
then no other file is taken.
"""

import hashlib
import inspect
import re
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nextbasis.basis.definition import Basis, one_by_one
from nextbasis.basis.invariants import KINDS, TOLERANCE, distance_from_identity
from nextbasis.basis.registry import Construction, is_brought
from nextbasis.support.npy import read_npy
from nextbasis.support.words import listed

ADDRESS = re.compile(r"(.+?)(?:@([0-9a-fA-F]{8,64}))?", re.DOTALL)


def bring(init: str) -> Construction:
    """What `file:PATH` or `module:function` stands for.

    Raises: ValueError naming basis.init and what would be right.
    """
    make, _ = _opened(init)
    return Construction(name=init, method="brought", kinds=KINDS, make=make)


def source_hash(init: str) -> dict[str, str]:
    """For metrics.json: the SHA-256 of the file that a brought basis is made from, else nothing."""
    return {"basis_sha256": _opened(init)[1]} if is_brought(init) else {}


def _opened(init: str) -> tuple[Callable[..., Basis], str]:
    """What makes the basis, and the SHA-256 of its file."""
    match = ADDRESS.fullmatch(init)
    assert match is not None  # a colon is in it
    address, digits = match.groups("")
    try:
        make, source = _from_file(address[5:]) if address.startswith("file:") else _load(address)
        found = hashlib.sha256(source.read_bytes()).hexdigest()
        if not found.startswith(digits.lower()):
            raise ValueError(f"the SHA-256 of {source} is {found}, not {digits}")
    except ValueError as error:
        raise ValueError(f"basis.init={init}: {error}") from None
    return make, found


def of_matrix(grid: tuple[int, int], matrix: Tensor) -> Basis:
    """The basis of a matrix, of the strictest kind that it is; each row is a step.

    S is A^T of orthonormal rows, A^-1 of another square A, the pseudo-inverse of a longer one.

    Raises: ValueError if it does not fit the grid, is not finite or has dependent rows or columns.
    """
    tokens = grid[0] * grid[1]
    if matrix.ndim != 2 or matrix.shape[1] != tokens or not len(matrix):
        raise ValueError(
            f"A must be rows x {tokens} for {grid[0]} x {grid[1]} tokens, "
            f"got shape {tuple(matrix.shape)}"
        )
    a = matrix.double()
    if not a.isfinite().all():
        raise ValueError(f"A must be finite, {int((~a.isfinite()).sum())} of its entries are not")
    if (rank := int(torch.linalg.matrix_rank(a))) < min(a.shape):
        raise ValueError(f"A must have full rank, {min(a.shape)}; its rank is {rank}")
    kind, s = "frame", a.T
    if len(a) < tokens:
        kind = "lossy"
    elif len(a) == tokens:
        kind = "orthogonal"
        if distance_from_identity(a @ a.T) > TOLERANCE:
            kind, s = "near-orthogonal", torch.linalg.inv(a)
    else:
        s = torch.linalg.pinv(a)
    return Basis(kind=kind, grid=grid, A=a, S=s, steps=one_by_one(len(a)))


def _from_file(name: str) -> tuple[Callable[..., Basis], Path]:
    path = Path(name).expanduser()
    if path.suffix not in READERS:
        raise ValueError(f"a file must end in {' or '.join(READERS)}, got '{name}'")
    if not path.is_file():
        raise ValueError(f"no such file (from {Path.cwd()}); give the path of a matrix A")
    return lambda height, width: of_matrix((height, width), READERS[path.suffix](path)), path


def _read_npy(path: Path) -> Tensor:
    try:
        return torch.from_numpy(read_npy(path).astype(np.float64, casting="same_kind"))
    except TypeError as error:
        raise ValueError(f"{path} holds no array of real numbers ({error})") from None


def _read_safetensors(path: Path) -> Tensor:
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    if len(tensors) != 1 or not (tensor := next(iter(tensors.values()))).is_floating_point():
        raise ValueError(
            f"{path} must hold one tensor of real numbers, it has {listed(sorted(tensors))}"
        )
    return tensor


READERS = {".npy": _read_npy, ".safetensors": _read_safetensors}


def _load(address: str) -> tuple[Callable[..., Basis], Path]:
    module_name, _, name = address.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ValueError("must be file:PATH or module:function")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ValueError(f"module '{module_name}' cannot be imported ({error})") from None
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        own = [key for key, _ in inspect.getmembers(module, inspect.isfunction) if key[0] != "_"]
        choices = listed(own) or "none"
        raise ValueError(f"module '{module_name}' has no function '{name}'; it has {choices}")

    @wraps(function)  # which keeps the signature, and so the options
    def make(height: int, width: int, **options: object) -> Basis:
        made = function(height, width, **options)
        if isinstance(made, Tensor):
            return of_matrix((height, width), made)
        if not isinstance(made, Basis):
            raise ValueError(f"must return a Basis or a matrix A, got {type(made).__name__}")
        return made

    return make, Path(inspect.getfile(function))
