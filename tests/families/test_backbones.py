from typing import Any

import pytest
import torch
from scipy.stats import ortho_group, truncnorm

from builders import basis_config, generator, order_config, sampler_config, tokens
from nextbasis.basis.structure import Dense
from nextbasis.basis.transform import BasisTransform
from nextbasis.families import names
from nextbasis.families.common.noise import ImageNoise

FAMILIES = names()
CPU = torch.device("cpu")
LABELS = torch.tensor([0, 1, 2, 4])


def sample(made: Any, family: str, images: range, **changes: Any) -> torch.Tensor:
    labels = LABELS[list(images)]
    return made.eval().sample(labels, ImageNoise(0, images, CPU), sampler_config(family, **changes))


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_do_not_depend_on_the_batch(family: str) -> None:
    made = generator(family)
    together = sample(made, family, range(4))
    apart = torch.cat([sample(made, family, range(i, i + 1)) for i in range(4)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_and_label_change_the_samples(family: str) -> None:
    made = generator(family)
    plain = sample(made, family, range(4), guidance=1.0)
    assert not torch.equal(plain, sample(made, family, range(4), guidance=4.0))
    noise = ImageNoise(0, range(4), CPU)
    other = made.sample((LABELS + 1) % 5, noise, sampler_config(family, guidance=1.0))
    assert not torch.equal(plain, other)


def loss_of(made: Any, family: str, x: torch.Tensor, seed: int = 0, progress: float = 0.6) -> Any:
    draws = made.backbone.draw(len(x), progress, torch.Generator().manual_seed(seed))
    return made.loss(x, LABELS, draws)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    made = generator(family, basis_config(learned=True), label_drop=0.5)
    made.train()
    loss_of(made, family, tokens(family)).value.backward()
    without = [name for name, p in made.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_fixed_identity_basis_is_exactly_the_host(family: str) -> None:
    made = generator(family)
    x = tokens(family)
    host = x[:, made.backbone.host_order]
    draws = made.backbone.draw(4, 0.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        made.loss(x, LABELS, draws).value, made.backbone.loss(host, LABELS, draws).value
    )


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_sampling_inverts_the_basis(family: str) -> None:
    a = torch.from_numpy(ortho_group.rvs(16, random_state=0)).float()
    made = generator(family)
    plain = sample(made, family, range(4))
    made.basis = BasisTransform(basis_config(), made.backbone.layout)
    made.basis.set_start(a, a.T, torch.arange(16))
    turned = sample(made, family, range(4))
    order = made.backbone.host_order
    torch.testing.assert_close(made.basis(turned[:, order]), plain[:, order], atol=1e-4, rtol=1e-4)


def test_mar_loss_ignores_the_values_of_hidden_tokens_in_its_context() -> None:
    """z depends on known tokens only: changing a hidden one leaves every z as it was."""
    backbone = generator("mar").backbone
    y = tokens("mar")
    known = torch.tensor([*range(5), *range(12, 16)]).expand(4, -1)
    everything = torch.arange(16).expand(4, -1)
    condition = backbone.embed_labels(LABELS)
    z = backbone.decode(backbone.encode(y, known, condition), known, everything)
    y[:, 7] += 10
    again = backbone.decode(backbone.encode(y, known, condition), known, everything)
    torch.testing.assert_close(again, z)
    y[:, 2] += 10
    other = backbone.decode(backbone.encode(y, known, condition), known, everything)
    assert not torch.allclose(other, z)


def test_mar_mask_share_follows_the_truncated_normal() -> None:
    backbone = generator("mar").backbone
    random = torch.Generator().manual_seed(0)
    shares = [backbone.draw(1, 0.0, random).num_hidden / 16 for _ in range(2000)]
    exact = truncnorm(-1.2, 0, 1, 0.25)
    grid = torch.arange(12, 17)
    expected = sum((m / 16) * (exact.cdf(m / 16) - exact.cdf((m - 1) / 16)) for m in grid.tolist())
    assert abs(sum(shares) / 2000 - expected) < 0.01
    assert min(shares) >= 0.7


def test_xar_cell_ignores_later_cells() -> None:
    backbone = generator("xar").backbone
    y = tokens("xar")
    condition = backbone.condition(LABELS, torch.full((4, 4), 0.3))
    before = backbone.velocity(y, condition)
    y[:, 8:] += 1
    after = backbone.velocity(y, condition)
    torch.testing.assert_close(after[:, :8], before[:, :8])
    assert not torch.allclose(after[:, 8:], before[:, 8:])


def test_rar_predicts_a_token_from_earlier_ones_only() -> None:
    made = generator("rar")
    order = made.backbone.scan.expand(4, -1)
    x = tokens("rar")
    z = rar_hidden(made, x, order)
    x[:, 10] = (x[:, 10] + 1) % 11
    changed = rar_hidden(made, x, order)
    torch.testing.assert_close(changed[:, :11], z[:, :11])
    assert not torch.allclose(changed[:, 11:], z[:, 11:])


def rar_hidden(made: Any, ids: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """What the head sees, one row per token in the order's sequence."""
    seen = []
    handle = made.backbone.head.register_forward_hook(lambda m, inputs, out: seen.append(inputs[0]))
    draws = made.backbone.draw(len(ids), 1.0, torch.Generator())
    draws.order, draws.label_drop = order, torch.zeros(len(ids), dtype=torch.bool)
    made.backbone.loss(ids, LABELS, draws)
    handle.remove()
    return seen[0].detach()


def test_rar_cached_sampling_equals_teacher_forcing() -> None:
    """Ids drawn with near-zero temperature are the arg max of a plain pass over them."""
    made = generator("rar").eval()
    ids = sample(made, "rar", range(4), guidance=1.0, temperature=1e-4)
    z = rar_hidden(made, ids, made.backbone.scan.expand(4, -1))
    assert torch.equal(made.backbone.head(z).argmax(-1), ids)


def test_rar_scan_only_changes_the_order_of_drawing() -> None:
    made = generator("rar", order=order_config("spiral_in"))
    ids = sample(made, "rar", range(4), guidance=1.0, temperature=1e-4)
    order = made.backbone.scan.expand(4, -1)
    z = rar_hidden(made, ids, order)
    assert torch.equal(made.backbone.head(z).argmax(-1), ids.gather(1, order))


@pytest.mark.parametrize("objective", ["l_bar", "r0", "r0_inverse", "r1", "r2", "r3", "r4"])
@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_learned_basis_gets_a_finite_gradient(family: str, objective: str) -> None:
    config = basis_config(learned=True, objective=objective, energy_weight=0.5)
    made = generator(family, config)
    loss = loss_of(made, family, tokens(family))
    loss.value.backward()
    assert made.basis is not None and isinstance(made.basis.structure, Dense)
    gradient = made.basis.structure.weight.grad
    assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0
    assert ("energy_loss" in loss.notes) == (objective in ("r1", "r3"))


def test_families_and_tokens_must_fit() -> None:
    from builders import model_config, token_spec
    from nextbasis.families.common.generator import build

    with pytest.raises(ValueError, match="model.family=mar needs tokens that are numbers"):
        build(model_config("mar"), basis_config(), order_config(), token_spec("rar"))
    with pytest.raises(ValueError, match="model.family=rar needs tokens that are ids"):
        build(model_config("rar"), basis_config(), order_config(), token_spec("mar"))
