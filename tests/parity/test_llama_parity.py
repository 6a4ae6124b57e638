"""LlamaGen and PAR against numbers that the official ones produced."""

import re
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from fixtures_at_hand import fixture_path
from gpus import Gpu
from nextbasis.parity import compare_fixture, table

FAMILIES = ("llamagen", "par")


def read(family: str, left: str = "-") -> tuple[dict[str, Tensor], dict[str, str]]:
    """A fixture's tensors but those whose names begin so, and the metadata."""
    with safe_open(fixture_path(f"{family}_open.safetensors"), "pt") as file:
        names = [name for name in file.keys() if not re.match(left, name)]  # noqa: SIM118
        return {name: file.get_tensor(name) for name in names}, file.metadata()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_output_equals_the_official_one(family: str, gpu: Gpu) -> None:
    path = fixture_path(f"{family}_open.safetensors")
    rows = compare_fixture(path)
    assert not [row for row in rows if not row.passed], table(rows)
    compared = {row.name.removesuffix(" (relative)") for row in rows}
    assert all(re.match(r"weights\.|in\.", name) for name in set(read(family)[0]) - compared)
    with gpu(deterministic=True):
        there = compare_fixture(path)
    assert [row.name for row in there] == [row.name for row in rows]
    assert not [row for row in there if not row.passed], table(there)


@pytest.mark.parametrize(
    ("family", "name", "change"),
    [
        ("llamagen", "out.freqs_cis", 1e-3),
        ("llamagen", "in.train.dropout_keep", 1),
        ("llamagen", "weights.layers.0.feed_forward.w1.weight", 1e-1),
        ("par", "out.mask", True),
        ("par", "out.gen3.icdf.probs", 1e-3),
        ("par", "weights.spe_tok_embeddings.special_embeddings.weight", 1.0),
    ],
)
def test_a_changed_number_fails(family: str, name: str, change: float, tmp_path: Path) -> None:
    tensors, metadata = read(family)
    flat = tensors[name].view(-1)
    flat[0] = not flat[0] if change is True else flat[0] + change
    save_file(tensors, tmp_path / "changed", metadata)
    assert not all(row.passed for row in compare_fixture(tmp_path / "changed"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fixture_may_hold_fewer_outputs_and_none_that_are_unknown(
    family: str, tmp_path: Path
) -> None:
    tensors, metadata = read(family, r"in\.|out\.(?!freqs_cis)")
    save_file(tensors, tmp_path / "fewer", metadata)
    assert [row.name for row in compare_fixture(tmp_path / "fewer")] == ["out.freqs_cis"]
    key = "out.gen0.icdf.mystery"
    save_file(tensors | {key: tensors["out.freqs_cis"].clone()}, tmp_path / "more", metadata)
    with pytest.raises(ValueError, match=f"not known here: {key}"):
        compare_fixture(tmp_path / "more")
