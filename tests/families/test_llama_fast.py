"""LlamaGen's and PAR's samplers against a plain one that runs the whole sequence for every step."""

from typing import Any

import pytest
import torch
from torch import Tensor

from builders import generator, model_config, order_config, sampler_config, token_spec
from nextbasis.basis import orders
from nextbasis.families.common.categorical import filtered
from nextbasis.families.common.generator import build_backbone
from nextbasis.families.common.llama import Llama
from nextbasis.families.common.noise import ImageNoise

LABELS = torch.tensor([3, 0, 3, 1])
NULL, NUM_TOKENS, CODEBOOK = 5, 16, 11


def model(family: str, scan: str = "raster", **changes: Any) -> Llama:
    made: Any = generator(family, order=order_config(scan), **changes).backbone
    return made.eval()


def noise(images: range = range(4)) -> ImageNoise:
    return ImageNoise(5, images, torch.device("cpu"))


@torch.no_grad()
def plain_sample(backbone: Llama, **settings: Any) -> Tensor:
    """The published sampler, without any cache; None of the ids that are not drawn yet is read."""
    sampler, p = sampler_config("llamagen", **settings), backbone.parallel
    uniform, ids = noise().uniform(NUM_TOKENS), torch.zeros(4, NUM_TOKENS, dtype=torch.long)
    steps = [[k] for k in range(p)]
    steps += [[*range(k, k + p)] for k in range(p, NUM_TOKENS, p)]
    for drawn in steps:
        logits = backbone.logits(ids, LABELS)[:, drawn].double()
        null = backbone.logits(ids, torch.full_like(LABELS, NULL))[:, drawn].double()
        # The first token is always guided; the count begins at the second, and where groups do.
        count = drawn[0] - (1 if drawn[0] < p else p)
        if drawn == [0] or sampler.guidance_interval in (-1, *range(count, NUM_TOKENS)):
            logits = null + sampler.guidance * (logits - null)
        logits = filtered(logits / sampler.temperature, sampler.top_k, sampler.top_p)
        total = torch.softmax(logits, -1).cumsum(-1)
        ids[:, drawn] = (total <= uniform[:, drawn, None]).sum(-1).clamp(max=CODEBOOK - 1)
    return ids


@pytest.mark.parametrize("family", ["llamagen", "par"])
@pytest.mark.parametrize(
    "settings",
    [
        {"guidance": 1.0},
        {"guidance": 2.5},
        {"guidance": 3.0, "guidance_interval": 0},
        {"guidance": 3.0, "guidance_interval": 4, "temperature": 1.2},
        {"guidance": 2.0, "temperature": 0.8, "top_k": 6, "top_p": 0.9},
    ],
)
def test_the_sampler_equals_the_plain_one(family: str, settings: dict[str, Any]) -> None:
    backbone = model(family)
    ids = backbone.sample(LABELS, noise(), sampler_config(family, **settings))
    assert torch.equal(ids, plain_sample(backbone, **settings))
    assert len(ids.unique()) > 3


def test_guidance_of_an_interval_is_that_of_its_steps_only() -> None:
    """Tokens 2 to 4 are counted 0 to 2; groups, 0, 4 and 8."""
    backbone, bounds = model("par"), (-1, 0, 1, 2, 3, 4, 7, 8)
    samplers = [sampler_config("par", guidance=8.0, guidance_interval=k) for k in bounds]
    found = [backbone.sample(LABELS, noise(), sampler) for sampler in samplers]
    for one, other in ((0, 7), (3, 4), (5, 6)):
        assert torch.equal(found[one], found[other])
    for one, other in ((0, 1), (1, 2), (2, 3), (4, 5), (6, 7)):
        assert not torch.equal(found[one], found[other])
    assert torch.equal(found[0][:, :2], found[1][:, :2])


def test_par_of_one_region_is_llamagen() -> None:
    one, llamagen = model("par", parallel=1), model("llamagen")
    assert list(one.state_dict()) == list(llamagen.state_dict())
    one.load_state_dict(llamagen.state_dict())
    ids = torch.randint(CODEBOOK, (4, NUM_TOKENS), generator=torch.Generator().manual_seed(0))
    draws = one.draw(4, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(one.host_order, llamagen.host_order)
    ours, theirs = one.loss(ids, LABELS, draws).value, llamagen.loss(ids, LABELS, draws).value
    assert torch.equal(ours, theirs)
    sampler = sampler_config("par")
    sampled = one.sample(LABELS, noise(), sampler)
    assert torch.equal(sampled, llamagen.sample(LABELS, noise(), sampler))


@pytest.mark.parametrize("parallel", [1, 4])
@torch.no_grad()
def test_a_token_depends_on_those_drawn_before_it_only(parallel: int) -> None:
    """Changing one id changes the logits of all later steps, and of none else."""
    backbone = model("par", parallel=parallel)
    ids = torch.randint(CODEBOOK, (4, NUM_TOKENS), generator=torch.Generator().manual_seed(0))
    before = backbone.logits(ids, LABELS)
    for k in range(NUM_TOKENS):
        other = ids.clone()
        other[:, k] = (ids[:, k] + 1) % CODEBOOK
        changed = (backbone.logits(other, LABELS) != before).any(-1).all(0)
        assert torch.equal(changed, backbone.step_of > backbone.step_of[k])


def test_par_draws_one_token_of_every_region_at_once() -> None:
    backbone = model("par")
    assert backbone.step_of.tolist() == [0, 1, 2, 3, *[4] * 4, *[5] * 4, *[6] * 4]
    for step in (4, 5, 6):
        cells = backbone.host_order[backbone.step_of == step]
        rows, columns = cells // 4, cells % 4
        assert sorted(zip((rows // 2).tolist(), (columns // 2).tolist(), strict=True)) == [
            (0, 0),
            (0, 1),
            (1, 0),
            (1, 1),
        ]
        assert len({(r % 2, c % 2) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)})


@pytest.mark.parametrize(
    ("scan", "order"), [("subsample", orders.subsample), ("raster", orders.raster)]
)
def test_llamagen_follows_the_scan(scan: str, order: Any) -> None:
    assert torch.equal(model("llamagen", scan).host_order, order(4, 4))


def test_grids_that_regions_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model.parallel=4 needs .* multiples of 2, got 7 x 7"):
        build_backbone(model_config("par"), order_config(), token_spec("par", (7, 7)))
    with pytest.raises(ValueError, match="model.parallel must be a square number, .* got 6"):
        model_config("par", parallel=6)
    with pytest.raises(ValueError, match="16 tokens drawn together must be a part of the 16"):
        build_backbone(model_config("par", parallel=16), order_config(), token_spec("par"))


def test_a_fresh_model_knows_nothing() -> None:
    """The first loss is the logarithm of the codebook's size: the head begins with zeros."""
    for family in ("llamagen", "par"):
        backbone = build_backbone(model_config(family), order_config(), token_spec(family))
        ids = torch.arange(4 * NUM_TOKENS).view(4, NUM_TOKENS) % CODEBOOK
        draws = backbone.draw(4, 0.0, torch.Generator().manual_seed(0))
        loss = backbone.loss(ids, LABELS, draws).value
        torch.testing.assert_close(loss, torch.tensor(float(CODEBOOK)).log())
