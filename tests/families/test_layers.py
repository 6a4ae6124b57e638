"""Attention against dense masked attention; dropout by its statistics; odd inputs."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nextbasis.families.common import linear as products
from nextbasis.families.common.attention import Attention, KVCache, grid_rotation, rotate
from nextbasis.families.common.dropout import Dropout
from nextbasis.families.common.linear import Linear, linear

BATCH, TOKENS, WIDTH, HEADS = 2, 70, 12, 3  # more tokens than are taken at once
NEGLIGIBLE = 1e-9  # a dropout that is active and drops nothing


def attention(dropout: float = 0.0, qk_norm: bool = True) -> Attention:
    torch.manual_seed(0)
    made = Attention(WIDTH, HEADS, dropout, qk_norm)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def tokens(count: int = TOKENS) -> Tensor:
    return torch.randn(BATCH, count, WIDTH, generator=torch.Generator().manual_seed(1))


def allowed(count: int, causal: int) -> Tensor:
    """Who may look at whom."""
    cell = torch.arange(count) // causal if causal else torch.zeros(count)
    return cell[:, None] >= cell[None]


def plain(made: Attention, x: Tensor, attend: Tensor, rotation: Tensor | None = None) -> Tensor:
    """Dense attention with an explicit mask, from the same weights."""
    b, n, w = x.shape
    qkv = F.linear(x, made.qkv.weight, made.qkv.bias).view(b, n, 3, HEADS, w // HEADS)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    q, k = made.q_norm(q), made.k_norm(k)
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
    return F.linear(out.transpose(1, 2).reshape(b, n, w), made.proj.weight, made.proj.bias)


def assert_equal_with_gradients(made: Attention, ours: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-4)
    probe = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    parameters = list(made.parameters())
    gradients = [torch.autograd.grad((y * probe).sum(), parameters) for y in (ours, wanted)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("dropout", [0.0, NEGLIGIBLE])
@pytest.mark.parametrize("causal", [0, 1, 7, TOKENS])
def test_attention_equals_dense_masked_attention(causal: int, dropout: float) -> None:
    made, x = attention(dropout).train(), tokens()
    assert made.attn_drop.active == (dropout > 0)
    wanted = plain(made, x, allowed(TOKENS, causal))
    assert_equal_with_gradients(made, made(x, causal=causal), wanted)


@pytest.mark.parametrize("dropout", [0.0, NEGLIGIBLE])
def test_attention_looks_where_it_is_told(dropout: float) -> None:
    made, x = attention(dropout).train(), tokens()
    random = torch.rand(TOKENS, TOKENS, generator=torch.Generator().manual_seed(3))
    attend = (random < 0.3) | torch.eye(TOKENS, dtype=torch.bool)
    assert_equal_with_gradients(made, made(x, attend=attend), plain(made, x, attend))


def test_attention_may_have_no_biases_and_spare_its_weights() -> None:
    made = Attention(WIDTH, HEADS, NEGLIGIBLE, bias=False, drop_weights=False).train()
    assert made.proj_drop.active and not made.attn_drop.active
    assert {name for name, _ in made.named_parameters()} == {"qkv.weight", "proj.weight"}
    x = tokens()
    assert_equal_with_gradients(made, made(x, causal=1), plain(made, x, allowed(TOKENS, 1)))


@pytest.mark.parametrize("dropout", [0.0, NEGLIGIBLE])
def test_chosen_queries_equal_those_rows(dropout: float) -> None:
    made, x = attention(dropout).train(), tokens()
    rows = torch.stack([torch.randperm(TOKENS)[:5] for _ in range(BATCH)])
    wanted = plain(made, x, allowed(TOKENS, 0))
    wanted = wanted.gather(1, rows[..., None].expand(-1, -1, WIDTH))
    assert_equal_with_gradients(made, made(x, queries=rows), wanted)


def test_rotated_attention_equals_dense_attention() -> None:
    made, x = attention(), tokens(12)
    rotation = grid_rotation(3, 4, WIDTH // HEADS)
    wanted = plain(made, x, allowed(12, 4), rotation)
    assert_equal_with_gradients(made, made(x, causal=4, rotation=rotation), wanted)


@pytest.mark.parametrize("pieces", [[1] * 10, [4, 1, 5], [10], [2, 8]])
@torch.no_grad()
def test_cached_attention_equals_attention_over_everything(pieces: list[int]) -> None:
    made, x = attention().eval(), tokens(10)
    cache = KVCache(1, BATCH, HEADS, 10, WIDTH // HEADS, like=x)
    parts = []
    for piece in x.split(pieces, 1):
        (layer,) = cache.layers()
        made(piece + 1, causal=1, cache=layer)  # overwritten: not made fixed
        parts.append(made(piece, causal=1, cache=layer))
        cache.advance(piece.shape[1])
    wanted = plain(made, x, allowed(10, 1))
    torch.testing.assert_close(torch.cat(parts, 1), wanted, atol=1e-5, rtol=1e-4)


def test_cache_has_the_type_that_autocast_computes_in() -> None:
    like = torch.ones(1)
    assert KVCache(1, 1, 1, 1, 1, like=like).memory.dtype == torch.float32
    assert KVCache(1, 1, 1, 1, 1, like=like.double()).memory.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert KVCache(1, 1, 1, 1, 1, like=like).memory.dtype == torch.bfloat16


def test_attention_drops_weights_with_the_right_mean() -> None:
    made, x = attention(0.2, qk_norm=False), tokens(6)
    made.proj_drop.probability = 0.0
    torch.manual_seed(0)
    many = x[:1].repeat(20000, 1, 1)
    with torch.no_grad():
        mean = made.train()(many, causal=1).mean(0)
        wanted = plain(made, x[:1], allowed(6, 1))[0]
    torch.testing.assert_close(mean, wanted, atol=0.03, rtol=0)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_share_and_mean(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 999, dtype=dtype)
    y = Dropout(probability).train()(x)
    assert y.dtype == dtype and y.shape == x.shape
    share = (y == 0).double().mean().item()
    assert abs(share - probability) < 5 * (probability * (1 - probability) / x.numel()) ** 0.5
    kept = y[y != 0].unique()
    assert len(kept) == 1
    assert kept.item() == pytest.approx(1 / (1 - probability), rel=5e-3)


def test_dropout_is_independent_between_elements() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.3).train()(torch.ones(1_000_000)) != 0).double() - 0.7
    for lag in (1, 2, 3, 4, 5, 64):  # four elements share one random word
        assert abs((kept[lag:] * kept[:-lag]).mean().item()) < 5 * 0.21 / 1000


def test_dropout_scales_gradients_like_values() -> None:
    torch.manual_seed(0)
    x = torch.randn(100, 7, requires_grad=True)
    y = Dropout(0.4).train()(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)


@pytest.mark.parametrize("off", [Dropout(0.0).train(), Dropout(0.5).eval()])
def test_dropout_off_is_the_identity(off: Dropout) -> None:
    x = torch.randn(5)
    assert off(x) is x


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_the_exact_product(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = Linear(5, 7, bias=bias), torch.randn(shape, requires_grad=True)
    sources = [x, *layer.parameters()]
    exact = F.linear(*(source.double() for source in sources))
    probe = torch.randn(exact.shape)
    torch.testing.assert_close(layer(x), exact.float(), atol=1e-5, rtol=1e-5)
    wanted = torch.autograd.grad((exact * probe).sum(), sources)
    ours = torch.autograd.grad((layer(x) * probe).sum(), sources)
    for mine, theirs in zip(ours, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_linear_leaves_out_gradients_that_nobody_asks_for() -> None:
    x, layer = torch.randn(3, 4), Linear(4, 2)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((2,), 3.0))


def test_linear_leaves_other_types_to_torch() -> None:
    x, layer = torch.randn(3, 4), Linear(4, 2)
    assert layer.double()(x.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.float()(x).dtype == torch.bfloat16


@pytest.mark.parametrize("causal", [0, 1, 7])
def test_half_precision_attention_stays_near_single_precision(causal: int) -> None:
    made, x = attention(), tokens()
    with torch.autocast("cpu", torch.bfloat16):
        trained = made(x, causal=causal)
        with torch.no_grad():
            fused = made(x, causal=causal)
    for half in (trained, fused):
        torch.testing.assert_close(half.float(), made(x, causal=causal), atol=0.1, rtol=0.02)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_linear_takes_no_rows_and_no_memory(device: str) -> None:
    layer = Linear(4, 2, device=device)
    assert layer(torch.ones(0, 4, device=device)).shape == (0, 2)
    assert layer(torch.ones(3, 5, 4, device=device)).shape == (3, 5, 2)


def test_linear_takes_views() -> None:
    x, weight = torch.randn(6, 4).t(), torch.randn(9, 12)[2:5, ::2]
    torch.testing.assert_close(linear(x, weight, None), x @ weight.t())


@pytest.mark.parametrize(
    ("processor", "held", "ahead"),
    [
        ("Intel(R) Xeon(R) Processor", False, True),
        ("Intel(R) Xeon(R) Processor", True, False),
        ("AMD EPYC 7763", False, False),
        ("NVIDIA H200", False, False),
    ],
)
def test_mkl_multiplies_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, processor: str, held: bool, ahead: bool
) -> None:
    """What MKL gives is torch's own product to the bit; oneDNN's is near it."""
    monkeypatch.setattr(products, "processor", lambda: processor)
    monkeypatch.delenv("MKL_CBWR", raising=False)
    if held:
        monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    products._mkl_is_ahead.cache_clear()
    multiply = Mock(wraps=products._multiply)
    monkeypatch.setattr(products, "_multiply", multiply)
    try:
        layer, x = Linear(7, 5), torch.randn(3, 7)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    finally:
        products._mkl_is_ahead.cache_clear()
    assert multiply.called != ahead
