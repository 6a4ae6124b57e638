"""Counts of FLOPs and memory against what PyTorch counts and autograd keeps on small models."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from builders import basis_config, codes, model_config, order_config, sampler_config, token_spec
from nextbasis.families import find, names
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.generator import Backbone, build, build_backbone
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mar import cost as mar_cost
from nextbasis.plan import basis_flops, flops, memory

FAMILIES = names()
BATCH = 2
ONEDNN = torch.ops.mkldnn._linear_pointwise
WIDTHS: dict[str, dict[str, Any]] = {
    "dit": {"width": 64, "num_heads": 4},
    "mar": {"encoder_width": 64, "decoder_width": 48, "head_width": 40, "head_depth": 2},
    "mdtv2": {"width": 64, "num_heads": 4, "depth": 4, "decoder_depth": 2, "mask_spread": 0.0},
    "xar": {"width": 64, "num_heads": 4, "encoder_depth": 2},
    "rar": {"width": 64, "num_heads": 4, "mlp_width": 96},
    "llamagen": {"width": 64, "num_heads": 4, "mlp_width": 96},
    "par": {"width": 64, "num_heads": 4, "mlp_width": 96},
    "var": {"width": 64, "num_heads": 4, "mlp_width": 96},
    "sit": {"width": 64, "num_heads": 4, "learn_sigma": True},
}


def small(family: str, side: int = 8) -> tuple[Any, TokenSpec, Backbone]:
    model, spec = model_config(family, **WIDTHS[family]), token_spec(family, (side, side))
    torch.manual_seed(0)
    backbone = build_backbone(model, order_config(), spec)
    if isinstance(backbone, ReadsCodes):
        backbone.attach_codes(codes(spec))
    return model, spec, backbone


def batch_of(
    family: str, backbone: Backbone, size: int = BATCH
) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Tokens, labels and the draws of a step."""
    random = torch.Generator().manual_seed(0)
    draws = backbone.draw(size, 0.0, random)
    tokens = torch.randn(size, 64, 3, generator=random)
    if find(family).tokens == "ids":
        tokens = torch.randint(11, (size, 64), generator=random)
    if family == "var":
        tokens = torch.randint(11, (size, backbone.spec.num_tokens), generator=random)
    return tokens, torch.arange(size), draws


def counting() -> FlopCounterMode:
    """PyTorch's counter of matrix products, which does not know oneDNN's."""

    def products(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    return FlopCounterMode(display=False, custom_mapping={ONEDNN: products})


def time_table(model: Any) -> float:
    """MAR's embeddings of all 1000 times, made once for a batch of whatever size."""
    if model.family != "mar":
        return 0.0
    return 1000 * 2 * (256 + model.head_width) * model.head_width / BATCH


def forward(model: Any, spec: TokenSpec, draws: Any) -> flops.Flops:
    if model.family == "mar":
        return mar_cost.forward_hiding(model, spec, draws.num_hidden)
    return flops.forward(model, spec)


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_of_the_loss_are_those_that_pytorch_counts(family: str) -> None:
    model, spec, backbone = small(family)
    tokens, labels, draws = batch_of(family, backbone)
    with counting() as counter, sdpa_kernel(SDPBackend.MATH):
        backbone.eval().loss(tokens, labels, draws)
    counted = counter.get_total_flops() / BATCH - time_table(model)
    assert forward(model, spec, draws).total == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_takes_three_forward_passes(family: str) -> None:
    model, spec, backbone = small(family)
    tokens, labels, draws = batch_of(family, backbone)
    with counting() as counter, sdpa_kernel(SDPBackend.MATH):
        backbone.train().loss(tokens, labels, draws).value.backward()
    table = 2 * time_table(model)  # with gradients of weights; those of the sinusoid are not asked
    if family == "mar":
        table += 1000 * 2 * model.head_width**2 / BATCH
    counted = counter.get_total_flops() / BATCH - table
    # Less, by what no gradient flows to: tokens need none.
    assert 0.93 < counted / forward(model, spec, draws).times(3).total <= 1.01
    assert flops.training(model, spec, recompute=True).total == pytest.approx(
        flops.training(model, spec, recompute=False).total * 4 / 3
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_samplers_do_no_more_than_is_published(family: str, guidance: float) -> None:
    model, spec, backbone = small(family, side=4)
    sampler = sampler_config(family, guidance=guidance)
    noise = ImageNoise(0, range(BATCH), torch.device("cpu"))
    with counting() as counter, sdpa_kernel(SDPBackend.MATH):
        backbone.eval().sample(torch.arange(BATCH), noise, sampler)
    counted = counter.get_total_flops() / BATCH
    # RAR's sampler conditions a position more than it needs, of 17.
    assert 0.5 < counted / flops.sampling(model, spec, sampler).total <= 18 / 17


OBJECTIVES = ["l_bar", "r0", "r0_inverse", "r1", "r2", "r3", "r4"]


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("structure", ["dense", "kronecker", "blocks", "householder"])
def test_flops_of_a_learned_basis_are_those_that_pytorch_counts(
    family: str, objective: str, structure: str
) -> None:
    model, spec, backbone = small(family)
    tokens, labels, draws = batch_of(family, backbone)
    changes: dict[str, Any] = {"structure": structure, "reflections": 16}
    config = basis_config(learned=True, objective=objective, **changes)
    generator = build(model, config, order_config(), spec)
    y = tokens.clone().requires_grad_(objective not in ("r1", "r3"))
    with counting() as alone, sdpa_kernel(SDPBackend.MATH):
        generator.backbone.loss(y, labels, draws).value.backward()
    with counting() as counter, sdpa_kernel(SDPBackend.MATH):
        generator.loss(tokens, labels, draws).value.backward()
        generator.basis.project_()
    counted = counter.get_total_flops() - alone.get_total_flops()
    costs = basis_flops.costs(config, model, spec)
    expected = sum(cost.at(BATCH) for cost in costs.values())
    if structure == "householder":  # outer products are no products of matrices to PyTorch
        reflected = basis_flops.costs(replace(config, objective="l_bar"), model, spec)
        there = reflected["objective"].step  # A I, without gradients
        expected -= reflected["apply"].at(BATCH) / 2 + there / 2
        if objective in ("r0", "r0_inverse", "r2"):
            expected -= there * (2 * 16 - 1) / 16 / 2
    # Norms suffice for this A, and Cholesky factors are no products to PyTorch.
    expected -= costs["certificate"].step / 4
    if objective == "r0_inverse":  # nor is the inverse, only its gradient
        expected -= 2 * 64**3
    assert counted == pytest.approx(expected, rel=1e-6)
    share = basis_flops.training(config, model, spec, BATCH) * BATCH
    assert share == pytest.approx(sum(cost.at(BATCH) for cost in costs.values()))


def test_a_fixed_basis_costs_a_product_and_ids_none() -> None:
    model, spec, _ = small("mar")
    fixed = basis_flops.training(basis_config(), model, spec, BATCH)
    assert fixed == 2 * 64 * 64 * spec.channels
    assert basis_flops.training(basis_config(), model_config("rar"), token_spec("rar"), 1) == 0


def kept(backbone: Backbone, tokens: torch.Tensor, labels: torch.Tensor, draws: Any) -> int:
    """Bytes that autograd keeps for the backward pass, weights apart."""
    weights = {parameter.data_ptr() for parameter in backbone.parameters()}
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        backbone.train().loss(tokens, labels, draws)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_those_that_autograd_keeps(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, spec, backbone = small(family)
    few, many = batch_of(family, backbone, 1), batch_of(family, backbone, 2)
    hidden = 50  # of 64 tokens
    if family == "mar":
        few[2].num_hidden = many[2].num_hidden = hidden
        monkeypatch.setattr(mar_cost, "hidden_tokens", lambda *_: [hidden])
    # What an image adds: MAR's table of times is kept once.
    measured = kept(backbone, *many) - kept(backbone, *few)
    estimated = memory.activations(model, spec, "float32", recompute=False)
    assert estimated == pytest.approx(measured, rel=0.1)
    assert memory.activations(model, spec, "float32", recompute=True) < estimated
    assert memory.activations(model, spec, "bfloat16", recompute=False) == estimated // 2


def test_dropout_keeps_masks_of_a_byte() -> None:
    _, spec, _ = small("rar")
    plain, dropped = (
        memory.activations(model_config("rar", dropout=p), spec, "float32", False)
        for p in (0.0, 0.1)
    )
    depth, rows, width, hidden = 2, 65, 16, 24
    assert dropped - plain == depth * rows * (2 * width + hidden)


def test_mean_share_of_hidden_tokens_is_that_of_the_distribution() -> None:
    model, spec = model_config("mar"), token_spec("mar", (16, 16))
    hidden = mar_cost.hidden_tokens(model, spec)
    assert min(hidden) >= 180 and max(hidden) <= 256
    assert sum(hidden) / len(hidden) == pytest.approx(222.5, abs=0.3)
