"""Backbones that read captions: what reaches them, and that nothing else does."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from builders import basis_config, model_config, order_config, sampler_config
from gpus import DEVICE, Gpu
from nextbasis.data.texts import Texts
from nextbasis.families.common.backbone import moved
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import TextEmbedding, TextSpec
from nextbasis.families.mar.config import MARSamplerConfig
from nextbasis.families.xar.config import XARSamplerConfig

NUM_CAPTIONS, LENGTH, WORDS, WIDTH = 6, 4, 9, 5


def words() -> Texts:
    """Six captions of one to four words; the last two are the same."""
    tokens = np.array(
        [[2, 3, 0, 0], [2, 0, 0, 0], [4, 5, 6, 7], [8, 3, 2, 0], [5, 5, 0, 0], [5, 5, 0, 0]],
        np.int32,
    )
    return Texts(tokens, (tokens > 0).sum(1).astype(np.int64), {"width": 0})


def states() -> Texts:
    """As many captions as vectors of a frozen encoder."""
    lengths = words().lengths
    tokens = np.random.default_rng(0).normal(size=(NUM_CAPTIONS, LENGTH, WIDTH))
    tokens[np.arange(LENGTH) >= lengths[:, None]] = 0
    return Texts(tokens.astype(np.float16), lengths, {"width": WIDTH})


KINDS = {
    "words": (words, TextSpec(num_tokens=LENGTH, vocabulary_size=WORDS, width=0)),
    "frozen": (states, TextSpec(num_tokens=LENGTH, vocabulary_size=0, width=WIDTH)),
}


def generator(family: str, kind: str) -> Generator:
    """A small model that reads captions."""
    texts, text = KINDS[kind]
    spec = TokenSpec.of_grid(
        grid=(4, 4), channels=3, codebook_size=0, num_classes=NUM_CAPTIONS, text=text
    )
    changes = {"buffer_size": LENGTH} if family == "mar" else {}
    torch.manual_seed(0)
    model = model_config(family, text_depth=1, **changes)
    made = build(model, basis_config(), order_config(), spec).eval()
    for parameter in made.parameters():  # what starts at zero would hide the text
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    made.attach(texts())
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["mar", "xar"])
def test_only_the_caption_decides(family: str, kind: str) -> None:
    made = generator(family, kind)
    tokens = torch.randn(2, 16, 3)
    draws = made.draw(2, 0.0, torch.Generator().manual_seed(1))
    draws.label_drop[:] = False

    def loss(*labels: int) -> float:
        return made.loss(tokens, torch.tensor(labels), draws).value.item()

    assert loss(0, 1) != loss(2, 1)
    if kind == "words":  # captions that read the same are the same
        assert loss(4, 1) == loss(5, 1)
    draws.label_drop[:] = True
    assert loss(0, 1) == loss(2, 3)


@pytest.mark.parametrize("family", ["mar", "xar"])
def test_every_part_learns(family: str) -> None:
    made = generator(family, "words").train()
    draws = made.draw(4, 0.0, torch.Generator().manual_seed(1))
    draws.label_drop[:] = torch.tensor([False, True, False, False])
    made.loss(torch.randn(4, 16, 3), torch.arange(4), draws).value.backward()
    embedding = made.backbone.class_emb
    assert isinstance(embedding, TextEmbedding)
    for name, parameter in embedding.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert embedding.words is not None
    used = set(words().tokens[[0, 2, 3]].ravel()) | ({3, 2, 0} & set(words().tokens[1]))
    touched = set(embedding.words.weight.grad.abs().sum(1).nonzero()[:, 0].tolist())
    assert touched <= used


def test_a_mean_leaves_padding_out() -> None:
    spec = TextSpec(num_tokens=LENGTH, vocabulary_size=0, width=WIDTH)
    made = TextEmbedding(spec, NUM_CAPTIONS, 8, 2, depth=0, dropout=0.0, pooled=True)
    texts = states()
    made.attach(texts)
    found = made(torch.tensor([3, NUM_CAPTIONS, 1]))
    assert made.proj is not None
    for row, caption in ((0, 3), (2, 1)):
        length = int(texts.lengths[caption])
        x = torch.tensor(texts.tokens[caption][:length].astype(np.float32))
        h = x @ made.proj.weight.T + made.proj.bias + made.pos[:length]
        wanted = F.layer_norm(h, (8,), eps=1e-6).mean(0)
        torch.testing.assert_close(found[row], wanted)
    assert torch.equal(found[1], made.null)


@pytest.mark.parametrize("family", ["mar", "xar"])
def test_an_image_depends_on_its_own_caption(family: str) -> None:
    made = generator(family, "words")
    sampler = SAMPLERS[family]

    def images(*labels: int) -> torch.Tensor:
        noise = ImageNoise(0, range(len(labels)), torch.device("cpu"))
        return made.sample(torch.tensor(labels), noise, sampler)

    first, second = images(0, 1, 2), images(0, 3, 2)
    torch.testing.assert_close(first[[0, 2]], second[[0, 2]])
    assert not torch.allclose(first[1], second[1])


def test_prompts_from_outside_take_the_place_of_captions() -> None:
    made = generator("xar", "words")
    prompts = Texts(words().tokens[[2, 0]], words().lengths[[2, 0]], {"width": 0})
    before = made.backbone.class_emb(torch.tensor([2, 0]))
    made.attach(prompts)
    torch.testing.assert_close(made.backbone.class_emb(torch.tensor([0, 1])), before)
    many = Texts(np.ones((7, LENGTH), np.int32), np.ones(7, np.int64), {"width": 0})
    with pytest.raises(ValueError, match="7 captions are more than the 6"):
        made.attach(many)


def test_captions_are_not_copied_with_the_average() -> None:
    made = generator("mar", "words")
    assert "captions" not in "".join(made.state_dict())
    assert copy.deepcopy(made.state_dict()).keys() == made.state_dict().keys()


def test_what_does_not_fit_is_an_error() -> None:
    text = KINDS["words"][1]
    spec = TokenSpec.of_grid((4, 4), channels=3, num_classes=6, text=text)
    with pytest.raises(ValueError, match=r"model\.buffer_size must be 4.*got 2"):
        build(model_config("mar", buffer_size=2), basis_config(), order_config(), spec)
    ids = TokenSpec.of_grid((4, 4), codebook_size=7, num_classes=6, text=text)
    with pytest.raises(ValueError, match="rar knows classes only"):
        build(model_config("rar"), basis_config(), order_config(), ids)
    plain = TokenSpec.of_grid((4, 4), channels=3, num_classes=6)
    made = build(model_config("xar"), basis_config(), order_config(), plain)
    with pytest.raises(ValueError, match="trained on classes"):
        made.attach(words())


SAMPLERS = {
    "mar": MARSamplerConfig(
        family="mar",
        num_images=3,
        batch_size=3,
        latency_images=1,
        guidance=2.0,
        rounding="round",
        guidance_schedule="linear",
        num_iter=2,
        num_steps=3,
        temperature=1.0,
        clip=0.0,
        precision="float32",
        compile=False,
    ),
    "xar": XARSamplerConfig(
        family="xar",
        num_images=3,
        batch_size=3,
        latency_images=1,
        guidance=2.0,
        rounding="round",
        solver="euler",
        num_steps=3,
        precision="float32",
        compile=False,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["mar", "xar"])
def test_captions_are_read_on_a_gpu_as_on_the_cpu(family: str, kind: str, gpu: Gpu) -> None:
    made, labels = generator(family, kind), torch.arange(3)
    tokens = torch.randn(3, 16, 3, generator=torch.Generator().manual_seed(2))
    draws = made.draw(3, 0.0, torch.Generator().manual_seed(1))
    sampler = sampler_config(family, guidance=2.0)

    def results(device: torch.device) -> tuple[float, torch.Tensor]:
        loss = made.loss(tokens.to(device), labels.to(device), moved(draws, device)).value
        drawn = made.sample(labels.to(device), ImageNoise(0, range(3), device), sampler)
        return loss.item(), drawn.cpu()

    loss, drawn = results(torch.device("cpu"))
    with gpu(deterministic=True):
        made = made.to(DEVICE)
        made.attach(KINDS[kind][0]())
        their_loss, their_drawn = results(DEVICE)
    assert their_loss == pytest.approx(loss, rel=gpu.rounding * 1e-5)
    assert (their_drawn - drawn).abs().max() <= gpu.rounding * 5e-3 * drawn.abs().max()
