"""VAR's sampler against a plain one without a cache, its attention against a loop, its parts."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from builders import codes, generator, model_config, order_config, sampler_config, token_spec
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.var.block import LevelAttention, LevelBlock
from nextbasis.families.var.model import VAR, Draws, guidance_at, nucleus

LABELS = torch.tensor([3, 0, 3, 1])
LENGTHS, CODEBOOK = (1, 4, 16), 11
PLACES = (slice(0, 1), slice(1, 5), slice(5, 21))
SHARED = [False, True]


def model(**changes: Any) -> VAR:
    made: Any = generator("var", **changes).backbone
    return made.eval()


def noise() -> ImageNoise:
    return ImageNoise(5, range(len(LABELS)), torch.device("cpu"))


def everything(drop: bool = False, depth: int = 2) -> Draws:
    kept = torch.ones(len(LABELS), depth, 2, dtype=torch.bool)
    return Draws(label_drop=torch.full((len(LABELS),), drop), kept=kept)


def all_logits(backbone: VAR, ids: Tensor, null: bool) -> Tensor:
    """The logits of every token, as the training loss computes them."""
    seen: list[Tensor] = []
    hook = backbone.head.register_forward_hook(lambda module, inputs, out: seen.append(out))
    backbone.loss(ids, LABELS, everything(null))
    hook.remove()
    return seen[0]


def kept_ids(logits: list[float], top_k: int, top_p: float) -> set[int]:
    """What the published filters leave of one row, id by id."""
    ranked = sorted(range(len(logits)), key=lambda i: -logits[i])
    if top_k:
        ranked = ranked[:top_k]
    weights = [math.exp(logits[i]) for i in ranked]
    left = len(ranked)
    while left > 1 and sum(weights[left - 1 :]) / sum(weights) <= 1 - top_p and top_p < 1:
        left -= 1
    return set(ranked[:left])


@torch.no_grad()
def plain_sample(backbone: VAR, guidance: float, top_k: int, top_p: float) -> Tensor:
    """The published sampler, without any cache."""
    uniform = noise().uniform(sum(LENGTHS))
    ids = torch.zeros(len(LABELS), sum(LENGTHS), dtype=torch.long)
    for level, places in enumerate(PLACES):
        logits = all_logits(backbone, ids, null=False)[:, places].double()
        null = all_logits(backbone, ids, null=True)[:, places].double()
        t = (guidance - 1) * level / (len(PLACES) - 1)
        logits = (1 + t) * logits - t * null
        drawn = torch.empty(logits.shape[:2], dtype=torch.long)
        for image in range(len(LABELS)):
            for place in range(logits.shape[1]):
                row = logits[image, place]
                allowed = kept_ids(row.tolist(), top_k, top_p)
                chance = row.exp() * torch.tensor([i in allowed for i in range(CODEBOOK)])
                aim = uniform[image, places][place] * chance.sum()
                drawn[image, place] = int((chance.cumsum(0) <= aim).sum())
        ids[:, places] = drawn
    return ids


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize(
    ("guidance", "top_k", "top_p"), [(1.0, 0, 1.0), (2.5, 0, 1.0), (5.0, 6, 0.9), (2.5, 9, 1.0)]
)
def test_the_sampler_equals_the_plain_one(
    shared: bool, guidance: float, top_k: int, top_p: float
) -> None:
    backbone = model(shared_modulation=shared)
    settings = {"guidance": guidance, "top_k": top_k, "top_p": top_p}
    ids = backbone.sample(LABELS, noise(), sampler_config("var", **settings))
    assert torch.equal(ids, plain_sample(backbone, guidance, top_k, top_p))
    assert len(ids.unique()) > 3


@torch.no_grad()
def test_a_token_looks_at_its_own_level_and_those_before_it() -> None:
    """Against a loop over queries and keys."""
    torch.manual_seed(0)
    attention = LevelAttention(12, 3, 0.0, LENGTHS)
    for parameter in attention.parameters():
        parameter.normal_()
    attention.get_parameter("q_norm.scale")[0, 1] = 9.0  # above the largest
    x = torch.randn(2, sum(LENGTHS), 12)
    level = [0] + [1] * 4 + [2] * 16
    bias = torch.cat((attention.q_bias, torch.zeros(12), attention.v_bias))
    q, k, v = F.linear(x, attention.qkv.weight, bias).view(2, 21, 3, 3, 4).unbind(2)
    scale = attention.get_parameter("q_norm.scale").flatten().clamp(max=math.log(100)).exp()
    mixed = torch.zeros(2, 21, 3, 4)
    for image in range(2):
        for head in range(3):
            for i in range(21):
                seen = [j for j in range(21) if level[i] >= level[j]]
                row = q[image, i, head] / q[image, i, head].norm()
                keys = k[image, seen, head] / k[image, seen, head].norm(dim=1, keepdim=True)
                weights = (scale[head] * (keys @ row)).softmax(0)
                mixed[image, i, head] = weights @ v[image, seen, head]
    wanted = F.linear(mixed.flatten(2), attention.proj.weight, attention.proj.bias)
    torch.testing.assert_close(attention(x, causal=1), wanted, atol=1e-4, rtol=1e-4)


def test_logits_depend_on_earlier_levels_only() -> None:
    backbone = model()
    ids = torch.randint(CODEBOOK, (4, 21), generator=torch.Generator().manual_seed(1))
    before = all_logits(backbone, ids, null=False)
    for level, places in enumerate(PLACES):
        changed = ids.clone()
        changed[:, places] = (changed[:, places] + 1) % CODEBOOK
        after = all_logits(backbone, changed, null=False)
        end = places.stop
        torch.testing.assert_close(after[:, :end], before[:, :end])
        if level < 2:
            assert not torch.allclose(after[:, end:], before[:, end:])


@pytest.mark.parametrize("num_levels", [2, 3, 10])
@pytest.mark.parametrize("cfg", [0.0, 1.5, 4.0])
def test_guidance_grows_linearly_from_none(num_levels: int, cfg: float) -> None:
    """The published rule (1 + t) l - t null, t = cfg i / (s - 1), is null + (1 + t) (l - null)."""
    found = [guidance_at(1 + cfg, level, num_levels) for level in range(num_levels)]
    wanted = [1 + cfg * level / (num_levels - 1) for level in range(num_levels)]
    assert found == pytest.approx(wanted, abs=1e-12)
    assert found[0] == 1 and found[-1] == pytest.approx(1 + cfg)


def test_one_level_is_not_guided() -> None:
    assert guidance_at(4.0, 0, 1) == 1


@pytest.mark.parametrize("top_p", [0.3, 0.5, 0.75, 0.96, 1.0])
def test_the_nucleus_is_the_published_one(top_p: float) -> None:
    """Ids at the boundary are left out: of four equal ones 0.5 keeps two and not three."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, CODEBOOK, generator=random)
    found = nucleus(logits, top_p).isfinite()
    for row, kept in zip(logits.double().tolist(), found.tolist(), strict=True):
        assert {i for i, each in enumerate(kept) if each} == kept_ids(row, 0, top_p)
    assert nucleus(torch.zeros(1, 4), 0.5).isfinite().sum() == 2
    assert nucleus(torch.zeros(1, 4), 0.0).isfinite().sum() == 1


def test_a_dropped_branch_adds_nothing_and_a_kept_one_more() -> None:
    torch.manual_seed(0)
    config = model_config("var", drop_path=0.5)
    block = LevelBlock(config, LENGTHS)
    x, told = torch.randn(3, 21, 16), torch.randn(3, 16)
    modulation = block.modulation(told)
    kept = torch.tensor([[0.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    out, plain = block(x, told, kept), block(x, told)
    assert torch.equal(out[0], x[0])
    doubled = modulation.clone()
    doubled[..., :32] *= 2
    torch.testing.assert_close(out[1], block.step(x, doubled)[1])
    doubled[..., :16] = 0
    torch.testing.assert_close(out[2], block.step(x, doubled)[2])
    torch.testing.assert_close(block(x, told, torch.ones(3, 2)), plain)


def test_stochastic_depth_grows_with_the_block_and_is_of_training_only() -> None:
    backbone = model(depth=3, drop_path=0.4)
    draws = backbone.draw(20_000, 0.0, torch.Generator().manual_seed(0))
    rates = draws.kept.double().mean((0, 2)).tolist()
    assert rates == pytest.approx([1.0, 0.8, 0.6], abs=0.01)
    ids, kept = torch.zeros(4, 21, dtype=torch.long), everything(depth=3)
    dropped = Draws(label_drop=kept.label_drop, kept=torch.zeros_like(kept.kept))
    assert backbone.loss(ids, LABELS, dropped).value == backbone.loss(ids, LABELS, kept).value
    backbone.train()
    assert backbone.loss(ids, LABELS, dropped).value != backbone.loss(ids, LABELS, kept).value


@pytest.mark.parametrize("shared", SHARED)
def test_initial_weights_have_the_published_deviations(shared: bool) -> None:
    torch.manual_seed(0)
    sizes = {"width": 64, "depth": 2, "mlp_width": 256, "gate_init": 1e-3}
    config = model_config("var", shared_modulation=shared, **sizes)
    backbone = build_backbone(config, order_config(), token_spec("var"))
    usual = (3 * 64) ** -0.5
    wanted = {
        "class_emb.weight": usual,
        "level_embed.weight": usual,
        "blocks.0.attn.qkv.weight": usual,
        "blocks.0.attn.proj.weight": usual / 2,
        "blocks.1.mlp.fc1.weight": usual,
        "blocks.1.mlp.fc2.weight": usual / 2,
        "head.weight": 0.02 * usual,
        "final_modulation.1.weight": usual / 2,
    }
    if shared:
        wanted["shared_modulation.1.weight"] = usual
        rest, rows = 1 / 8, backbone.get_parameter("blocks.0.ada_offset")[0, 0]
    else:
        rest, rows = usual, backbone.get_parameter("blocks.0.ada_lin.1.weight").view(6, -1)
    for name, deviation in wanted.items():
        found = backbone.get_parameter(name).std().item()
        assert found == pytest.approx(deviation, rel=0.15), name
    assert rows[:2].std().item() == pytest.approx(1e-3 * rest, rel=0.2)
    assert rows[2:].std().item() == pytest.approx(rest / 2, rel=0.2)
    assert backbone.get_parameter("blocks.0.attn.q_norm.scale").eq(math.log(4)).all()
    biases = [p for name, p in backbone.named_parameters() if name.endswith("bias")]
    assert biases and not any(bias.any() for bias in biases)


def test_codes_are_checked_and_are_no_part_of_the_state() -> None:
    backbone, spec = model(), token_spec("var")
    before = list(backbone.state_dict())
    with pytest.raises(ValueError, match=r"11 codes of 4 numbers.* 11 of model.code_channels=3"):
        backbone.attach_codes(codes(spec, channels=4))
    with pytest.raises(ValueError, match="told by codebook, kernels and biases|told by"):
        backbone.attach_codes({})
    backbone.attach_codes(codes(spec))
    assert list(backbone.state_dict()) == before
    bare = build_backbone(model_config("var"), order_config(), spec)
    with pytest.raises(AssertionError, match="attach codes first"):
        bare.loss(torch.zeros(4, 21, dtype=torch.long), LABELS, everything())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("drop_path", 1.0, r"model.drop_path must lie in \[0, 1\), got 1.0"),
        ("gate_init", 0.0, "model.gate_init must be above 0, got 0.0"),
        ("code_channels", 0, "model.code_channels must be above 0, got 0"),
        ("num_heads", 3, "model.num_heads must divide model.width"),
    ],
)
def test_impossible_models_are_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_config("var", **{key: value})


def test_impossible_samplers_are_refused() -> None:
    with pytest.raises(ValueError, match="sampler.top_k must be at least 0"):
        sampler_config("var", top_k=-1)
    with pytest.raises(ValueError, match=r"sampler.top_p must lie in \[0, 1\]"):
        sampler_config("var", top_p=1.5)


@torch.no_grad()
def test_bf16_stays_near_single_precision() -> None:
    """bf16 keeps 8 bits: rounding of some parts in a thousand, in logits of size 1."""
    backbone = model()
    ids = torch.randint(CODEBOOK, (4, 21), generator=torch.Generator().manual_seed(0))
    exact, logits = (
        backbone.loss(ids, LABELS, everything()).value,
        all_logits(backbone, ids, False),
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss, half = (
            backbone.loss(ids, LABELS, everything()).value,
            all_logits(backbone, ids, False),
        )
        sampled = backbone.sample(LABELS, noise(), sampler_config("var"))
    assert loss.dtype == torch.float32 and half.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=2e-2, rtol=0)
    torch.testing.assert_close(half, logits, atol=0.1, rtol=0)
    assert sampled.min() >= 0 and sampled.max() < CODEBOOK
