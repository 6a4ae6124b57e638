"""Bases that users bring, as files or functions, and the registry that bases stand in."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.fft import dct
from torch import Tensor

from builders import (
    basis_config,
    model_config,
    sampler_config,
    train_config,
    train_stage,
)
from nextbasis.basis import registry
from nextbasis.basis.registry import make
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.stages import train
from nextbasis.support.files import read_json
from tokens_at_hand import write_tokens

DCT = make("dct", 4, 4).A.numpy()
MODULE = """
import torch
from nextbasis.basis.constructions.frequency import dct
from nextbasis.basis.definition import Basis

def matrix(height, width, *, scale=1.0):
    return scale * torch.eye(height * width)

def whole(height, width) -> Basis:
    return dct(height, width)

def wrong(height, width):
    return "A"

def of_tokens(height, width, *, tokens, seed):
    return torch.eye(height * width) * (len(tokens) + seed)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine_to_bring.py").write_text(MODULE, encoding="utf-8")
    np.save("dct.npy", DCT)


def trained(init: str, **changes: Any) -> tuple[Tensor, dict[str, Any]]:
    """Two images sampled from a model trained for three steps, and its metrics."""
    config = train_stage(
        model_config("mar"),
        basis_config(init=init, **changes),
        train_config(steps=3, batch_size=8, lr=1e-3),
    )
    write_tokens(discrete=False)
    train.main(config)
    folder = Path("results/test/train/run")
    generator, _ = load_generator(folder)
    noise = ImageNoise(0, range(2), torch.device("cpu"))
    return generator.sample(torch.arange(2), noise, sampler_config("mar")), read_json(
        folder / "metrics.json"
    )


@pytest.mark.parametrize("kind", ["orthogonal", "permutation", "frame", "lossy", "near-orthogonal"])
def test_a_file_of_any_kind_is_decoded_by_what_inverts_it(kind: str) -> None:
    random = np.random.default_rng(0)
    a = {
        "orthogonal": DCT,
        "permutation": np.eye(16)[::-1],
        "frame": np.concatenate((np.eye(16), DCT)),
        "lossy": DCT[:5],
        "near-orthogonal": np.eye(16) + 0.05 * random.normal(size=(16, 16)),
    }[kind]
    np.save("a.npy", a)
    basis = make("file:a.npy", 4, 4)
    assert basis.kind == kind.replace("permutation", "orthogonal") and basis.name == "file:a.npy"
    assert np.array_equal(basis.A.numpy(), a)
    np.testing.assert_allclose(basis.S.numpy(), np.linalg.pinv(a), atol=1e-9)


def test_both_formats_hold_the_same_basis() -> None:
    save_file({"A": torch.from_numpy(DCT).float()}, "dct.safetensors")
    np.save("single.npy", DCT.astype(np.float32))
    a, b = make("file:dct.safetensors", 4, 4), make("file:single.npy", 4, 4)
    assert torch.equal(a.A, b.A) and a.kind == "orthogonal"
    x = np.random.default_rng(0).normal(size=(4, 4))
    energies = dct(dct(x, norm="ortho", axis=0), norm="ortho", axis=1)
    y = a.forward(torch.from_numpy(x).reshape(1, 16, 1)).flatten().numpy()
    np.testing.assert_allclose(sorted(y), sorted(energies.flatten()), atol=1e-6)


def test_functions_are_called_as_the_named_ones_are() -> None:
    assert torch.equal(make("mine_to_bring:whole", 4, 4).A, make("dct", 4, 4).A)
    basis = make("mine_to_bring:matrix", 2, 3, scale=2)
    assert torch.equal(basis.A, 2 * torch.eye(6).double()) and basis.kind == "near-orthogonal"
    assert registry.find("mine_to_bring:of_tokens").options == {"tokens": True, "seed": True}
    with pytest.raises(ValueError, match="has no option 'size': its options are scale"):
        make("mine_to_bring:matrix", 2, 2, size=2)


def save(name: str, array: Any) -> None:
    np.save(name, np.asarray(array))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("file:none.npy", "no such file"),
        ("file:a.txt", r"must end in \.npy or \.safetensors, got 'a.txt'"),
        ("file:wide.npy", r"A must be rows x 16 for 4 x 4 tokens, got shape \(9, 9\)"),
        ("file:nan.npy", "A must be finite, 1 of its entries are not"),
        ("file:flat.npy", "A must have full rank, 16; its rank is 15"),
        ("file:tall_flat.npy", "A must have full rank, 16; its rank is 1"),
        ("file:steep.npy", "the condition number must be at most 100"),
        ("file:few.npy", r"kind lossy: A A\^T must be I"),
        ("file:text.npy", "holds no array of real numbers"),
        ("file:text.safetensors", "is no safetensors file"),
        ("file:two.safetensors", "must hold one tensor of real numbers, it has a, b"),
        ("file:dct.npy@00000000", "the SHA-256 of dct.npy is .*, not 00000000"),
        ("nowhere.at_all:f", "module 'nowhere.at_all' cannot be imported"),
        (":f", "must be file:PATH or module:function"),
        ("mine_to_bring:other", "no function 'other'; it has dct, matrix, of_tokens, whole, wrong"),
        ("mine_to_bring:wrong", "must return a Basis or a matrix A, got str"),
    ],
)
def test_errors_name_the_key_the_value_and_what_would_be_right(init: str, message: str) -> None:
    save("wide.npy", np.eye(9))
    save("nan.npy", np.where(np.arange(256).reshape(16, 16) == 3, np.nan, np.eye(16)))
    save("flat.npy", np.diag([1.0] * 15 + [0]))
    save("tall_flat.npy", np.ones((20, 16)))
    save("steep.npy", np.diag([1.0] * 15 + [1e-3]))
    save("few.npy", 2 * np.eye(16)[:3])
    save("text.npy", np.array(["a", "b"]))
    Path("text.safetensors").write_text("no tensors", encoding="utf-8")
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, "two.safetensors")
    with pytest.raises(ValueError, match=rf"^basis\.init={init}: .*{message}"):
        make(init, 4, 4)


def test_a_basis_from_a_file_trains_and_samples_as_the_named_one() -> None:
    digest = hashlib.sha256(Path("dct.npy").read_bytes()).hexdigest()
    named, metrics = trained("dct", learned=True)
    assert "basis_sha256" not in metrics
    brought, metrics = trained(f"file:dct.npy@{digest[:12]}", learned=True)
    assert torch.equal(brought, named) and metrics["basis_sha256"] == digest
    function, metrics = trained("mine_to_bring:whole", learned=True)
    assert torch.equal(function, named)
    assert metrics["basis_sha256"] == hashlib.sha256(MODULE.encode()).hexdigest()
    other, _ = trained("haar", learned=True)
    assert not torch.equal(other, named)


def test_names_read_from_the_source_are_those_that_the_decorators_declare() -> None:
    for module in registry._modules().values():
        import_module(module)
    assert set(registry.BASES) == set(registry._modules())
    import_module("nextbasis.basis.orders")
    assert tuple(registry.ORDERS) == registry.order_names()


def test_a_basis_in_a_new_file_is_found_and_a_name_declared_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "constructions"
    folder.mkdir()
    (folder / "mine.py").write_text('@basis("mine", "orthogonal", method="x")\ndef f(): ...\n')
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    assert registry._modules.__wrapped__() == {"mine": "nextbasis.basis.constructions.mine"}
    (folder / "two.py").write_text('@basis(\n    "mine", "frame", method="y"\n)\ndef g(): ...\n')
    with pytest.raises(ValueError, match=r"basis 'mine' of .*two\.py is declared in .*\.mine, too"):
        registry._modules.__wrapped__()
