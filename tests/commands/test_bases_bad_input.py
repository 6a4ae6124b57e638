"""What a basis, its options and the command refuse, and what they say."""

from typing import Any

import pytest
import torch

from nextbasis.basis import make, names
from nextbasis.basis.definition import Basis
from nextbasis.commands.cli import main

EYE = torch.eye(4, dtype=torch.float64)
SINGLE = tuple(range(k, k + 1) for k in range(4))
GOOD: dict[str, Any] = {
    "name": "mine",
    "kind": "orthogonal",
    "grid": (2, 2),
    "A": EYE,
    "S": EYE,
    "steps": SINGLE,
}


def test_a_basis_of_ones_own_is_accepted() -> None:
    basis = Basis(**GOOD)
    assert basis.num_rows == basis.num_tokens == basis.rank == 4
    assert torch.equal(basis.gain, torch.ones(4).double())
    Basis(**{**GOOD, "kind": "frame"})
    Basis(**{**GOOD, "kind": "near-orthogonal", "A": 2 * EYE, "S": EYE / 2})
    Basis(**{**GOOD, "kind": "lossy", "A": EYE[:2], "S": EYE[:, :2], "steps": (range(2),)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "unitary"}, "kind must be one of permutation, .*; got 'unitary'"),
        ({"grid": (2, 3)}, "rows of 4 entries do not fit the grid of 2 x 3 tokens"),
        ({"grid": (-2, -2)}, "do not fit the grid of -2 x -2 tokens"),
        ({"A": EYE[0]}, r"A must be a matrix with rows, got shape \(4,\)"),
        ({"S": EYE[:, :3]}, r"S must be 4 x 4, got shape \(4, 3\)"),
        ({"A": EYE.float()}, "A must hold finite numbers of float64, got torch.float32"),
        ({"S": EYE * torch.nan}, "S must hold finite numbers"),
        ({"steps": SINGLE[:3]}, "steps that do not partition the rows: .* up to row 3"),
        ({"steps": (range(0, 2), range(1, 4))}, "steps that do not partition the rows"),
        ({"steps": (range(2, 4), range(0, 2))}, "steps that do not partition the rows"),
        ({"steps": (range(0, 4, 2),)}, "steps that do not partition the rows"),
        ({"steps": ()}, "steps that do not partition the rows"),
        ({"steps": (*SINGLE, range(4, 5))}, "steps that do not partition the rows"),
        ({"gain": torch.ones(3).double()}, "gain must hold one number of float64 for each of 4"),
        ({"gain": torch.zeros(4).double()}, "gain must be positive and finite, its smallest is 0"),
        ({"A": 1.01 * EYE, "S": 1.01 * EYE}, r"kind orthogonal: A A\^T must be I, it is off by 2"),
        ({"S": EYE.flip(0)}, r"kind orthogonal: S must be A\^T, it is off by 1"),
        ({"kind": "permutation", "A": 2 * EYE, "S": 2 * EYE}, "a single 1 in every row and column"),
        ({"kind": "permutation", "A": EYE[[0, 0, 1, 2]]}, "a single 1 in every row and column"),
        ({"kind": "near-orthogonal", "A": 2 * EYE}, "kind near-orthogonal: S A must be I"),
        (
            {
                "kind": "near-orthogonal",
                "A": torch.diag(torch.tensor([1, 1, 1, 1e-3]).double()),
                "S": torch.diag(torch.tensor([1, 1, 1, 1e3]).double()),
            },
            "condition number must be at most 100, got 1e",
        ),
        ({"kind": "frame", "S": 0.9 * EYE}, "kind frame: S A must be I, it is off by 1.0e-01"),
        ({"kind": "lossy"}, "kind lossy: needs fewer rows than tokens, got 4 rows, 4 tokens"),
        ({"kind": "distribution", "ratio": 0.5}, "A must be the mean of its permutations"),
        ({"kind": "distribution", "ratio": 2.0}, r"ratio must lie in \[0, 1\], got 2"),
    ],
)
def test_what_the_kind_promises_is_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^basis 'mine': .*{message}"):
        Basis(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("name", "height", "width", "options", "message"),
    [
        ("wavelet", 4, 4, {}, "basis must be one of raster, .*; got 'wavelet'"),
        ("dct", 0, 4, {}, "a grid has sides of at least 1, got 0 x 4"),
        ("dct", 4, 4, {"scale": 2}, "'dct' has no option 'scale': it has no options"),
        ("raster", 4, 4, {"sizes": ()}, "'raster' has no option 'sizes': it has no options"),
        ("par", 4, 4, {"size": 2}, "'par' has no option 'size': its options are region"),
        ("klt", 4, 4, {}, "'klt' needs the option 'tokens'"),
        ("titok", 4, 4, {"num_rows": 3}, "'titok' needs the option 'tokens'"),
        ("klt", 2, 2, {"tokens": torch.ones(3, 4, 5)}, "3 samples are too few for 4 tokens"),
        ("klt", 2, 3, {"tokens": torch.ones(9, 4, 5)}, r"must be \(samples, 6, channels\) for a"),
        ("titok", 2, 2, {"tokens": torch.ones(4, 4, 1), "num_rows": 4}, r"lie in \[1, 3\], got 4"),
        ("haar", 4, 6, {}, "'haar': needs sides that are powers of two, got 4 x 6 tokens"),
        ("walsh", 3, 4, {}, "'walsh': needs sides that are powers of two"),
        ("subsample", 3, 4, {}, "needs even sides, got a 3 x 4 grid"),
        ("xar", 4, 4, {"cells_per_side": 3}, "cells_per_side must divide the grid, got 3"),
        ("par", 6, 6, {"region": 4}, "'par': 4 x 4 regions must divide the grid"),
        ("fractalgen", 8, 8, {"sizes": (4, 3, 1)}, "sizes must each divide the one before"),
        ("var", 8, 8, {"scales": (1, 2, 4)}, r"scales must rise and end at 8 .*, got \(1, 2, 4\)"),
        ("var_pool", 8, 8, {"scales": (2, 2, 8)}, "scales must rise and end at 8"),
        ("far", 8, 8, {"levels": (0, 2)}, r"levels must rise and stay below 8 .*, got \(0, 2\)"),
        ("far_telescoped", 8, 8, {"levels": (2, 8)}, "levels must rise and stay below 8"),
        ("scaled", 2, 2, {"scale": 0}, "'scaled': scale must be positive, got 0"),
        ("rar", 2, 2, {"ratio": -0.1}, r"ratio must lie in \[0, 1\], got -0.1"),
    ],
)
def test_make_refuses_what_it_cannot_make(
    name: str, height: int, width: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, height, width, **options)


def test_command_lists_all_bases_with_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bases", "--grid", "8x8"]) == 0
    output = capsys.readouterr().out
    lines = {line.split()[0]: line for line in output.splitlines()[2 : 2 + len(names())]}
    assert list(lines) == list(names())
    assert lines["var"].split()[-8:] == "155 x 64 64 frame 9.641 2.2e-16 6.114 7".split()[-8:]
    assert lines["par"].split()[-6:] == "64 permutation 1.000 0.0e+00 1.000 19".split()
    assert lines["rar"].split()[-6:] == "64 distribution 1.000 0.0e+00 1.000 64".split()
    assert "8 x 8 tokens" in output and "AR(0.95)" in output


def test_command_tells_why_a_grid_has_no_basis(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bases", "haar", "--grid", "6x8", "dct"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in output[2:4]] == ["haar", "dct"]
    assert output[2].split()[-7:] == ["-"] * 7
    assert "basis 'haar': needs sides that are powers of two, got 6 x 8 tokens" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wavelet"], "got 'wavelet'"),
        (["--grid", "8"], "--grid must be ROWSxCOLUMNS, such as 16x16; got '8'"),
        (["--grid", "0x8"], "sides of at least 1, got 0 x 8"),
    ],
)
def test_command_refuses_unknown_names_and_grids(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bases", *words]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and not printed.out
