"""Held-out losses against closed forms: of models that know nothing, and of a scaled basis."""

import math

import pytest
import torch
from scipy.stats import ortho_group
from torch import Tensor

from builders import basis_config, generator, tokens
from gpus import Gpu
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.loss import Loss
from nextbasis.stages.heldout import held_out, squared_error

LABELS = torch.tensor([0, 1, 2, 4])


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_model_that_knows_nothing_of_ids_needs_the_logarithm_of_the_codebook() -> None:
    made = generator("rar").eval()
    for parameter in made.backbone.head.parameters():
        torch.nn.init.zeros_(parameter)
    ids = tokens("rar")
    value, count = held_out(made, ids, LABELS, random())
    assert value == pytest.approx(math.log(made.backbone.spec.codebook_size), rel=1e-6)
    assert count == ids.numel()


def test_ids_of_a_batch_are_those_of_its_images_and_no_label_is_dropped() -> None:
    made, ids = generator("rar", label_drop=1.0).eval(), tokens("rar")
    together, _ = held_out(made, ids, LABELS, random())
    alone = [held_out(made, ids[i : i + 1], LABELS[i : i + 1], random())[0] for i in range(4)]
    assert together == pytest.approx(sum(alone) / 4, rel=1e-5)
    other, _ = held_out(made, ids, LABELS.flip(0), random())
    assert other != pytest.approx(together, rel=1e-6)


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_only_tokens_that_were_asked_for_count(family: str) -> None:
    made = generator(family).eval()
    value, count = held_out(made, tokens(family), LABELS, random())
    assert math.isfinite(value) and value > 0
    levels = made.backbone.config.head_batch_mul if family == "mar" else 1
    assert 0 < count <= levels * tokens(family).shape[0] * tokens(family).shape[1]


def with_basis(a: Tensor) -> Generator:
    made = generator("xar", basis_config(learned=True, objective="r0"))
    assert made.basis is not None
    with torch.no_grad():
        next(made.basis.parameters()).copy_(a)
    return made


def seen(made: Generator, error: Tensor, snr: float) -> float:
    loss = Loss(value=torch.zeros(()), error=error, snr=torch.full(error.shape[:2], snr))
    return squared_error(made, loss)[0]


def test_errors_are_those_of_clean_tokens() -> None:
    error = torch.randn(4, 16, 3, generator=random())
    plain, mean = generator("xar"), error.square().mean().item()
    assert seen(plain, error, 1.0) == pytest.approx(mean, rel=1e-5)
    assert seen(plain, error, 25.0) == pytest.approx(mean / 25, rel=1e-5)
    assert seen(plain, error, 0.01) == pytest.approx(mean, rel=1e-5)  # noise beyond the signal
    half = error.clone()
    half[:, 8:] = 0  # given, so nothing was asked
    assert seen(plain, half, 1.0) == pytest.approx(error[:, :8].square().mean().item(), rel=1e-5)


def test_a_smaller_basis_gains_nothing_and_a_rotation_changes_nothing() -> None:
    """An error of c y is 1 / c of it in x; an orthogonal A keeps squares."""
    error = torch.randn(4, 16, 3, generator=random())
    mean = error.square().mean().item()
    small = with_basis(0.5 * torch.eye(16))
    assert seen(small, 0.5 * error, 1.0) == pytest.approx(mean, rel=1e-5)
    rotated = with_basis(torch.from_numpy(ortho_group.rvs(16, random_state=0)).float())
    assert seen(rotated, error, 1.0) == pytest.approx(mean, rel=1e-4)


@pytest.mark.parametrize("family", ["mar", "rar"])
def test_a_gpu_finds_the_same(family: str, gpu: Gpu) -> None:
    here = held_out(generator(family).eval(), tokens(family), LABELS, random())
    with gpu(True):
        made = generator(family).eval().to("cuda")
        there = held_out(made, tokens(family).to("cuda"), LABELS.to("cuda"), random())
    assert there == pytest.approx(here, rel=1e-4)
