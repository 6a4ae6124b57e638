"""Precision, recomputation and compilation against the plain run of the same network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from builders import basis_config, generator, order_config, sampler_config, tokens
from nextbasis.families.common.execution import blocks, compile_blocks, precision, recompute_blocks
from nextbasis.families.common.generator import Generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.parity.training import recipe

CPU = torch.device("cpu")
FAMILIES = ("dit", "mar", "xar", "rar")
BF16_LOSS = 5e-3  # relative difference of bfloat16's loss from float32's
BF16_TOKENS = 0.03  # relative difference of sampled tokens, as a norm
BF16_IDS = 0.9  # share of equal ids drawn with the same random numbers
COMPILED = 1e-5  # difference of compiled from eager results, relative to the largest
# Compile in the process itself, and do not compile ten programs to learn what the processor has.
CHEAPLY = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_VEC_ISA_OK": "1"}


def learned(family: str, dropout: float) -> Generator:
    """A generator in training, with a learned A unless its tokens are ids."""
    basis = None if family == "rar" else basis_config(learned=True, objective="r0")
    return generator(family, basis, dropout=dropout, order=order_config()).train()


def step(network: Generator, family: str, name: str = "float32", seed: int = 2) -> tuple:
    """Loss and all gradients of one step, whose random numbers the seed fixes."""
    draws = network.backbone.draw(4, 0.0, torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)  # of dropout
    with precision(name, CPU):
        loss = network.loss(tokens(family), torch.arange(4), draws)
    network.zero_grad()
    loss.value.backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    assert {t.dtype for t in (loss.value, *found, *network.parameters())} == {torch.float32}
    return loss.value.detach(), torch.cat([gradient.flatten() for gradient in found])


def sampled(network: Generator, family: str, name: str = "float32") -> Tensor:
    """Tokens of four images."""
    changes = {"clip": 4.0} if family == "mar" else {}
    noise = ImageNoise(0, range(4), CPU)
    with precision(name, CPU):
        return network.eval().sample(torch.arange(4), noise, sampler_config(family, **changes))


def part_calls(network: Generator) -> list[int]:
    """A count, in a list, that grows whenever a part of a block is run."""
    count = [0]

    def note(*_: object) -> None:
        count[0] += 1

    for block in blocks(network.backbone):
        for part in block.children():
            part.register_forward_hook(note)
    return count


@pytest.mark.parametrize("family", (*FAMILIES, "var"))
def test_recomputing_changes_no_bit_of_loss_and_gradients(family: str) -> None:
    plain, recomputed = learned(family, 0.1), learned(family, 0.1)
    recompute_blocks(recomputed.backbone)
    assert list(plain.state_dict()) == list(recomputed.state_dict())
    once, twice = part_calls(plain), part_calls(recomputed)
    for ours, theirs in zip(step(recomputed, family), step(plain, family), strict=True):
        assert torch.equal(ours, theirs)
    assert twice[0] > once[0] > 0
    assert not torch.equal(step(plain, family)[1], step(learned(family, 0.0), family)[1])


@pytest.mark.parametrize("family", (*FAMILIES, "var"))
def test_bfloat16_trains_about_as_float32(family: str) -> None:
    network = learned(family, 0.0)
    (loss, gradient), (exact, exact_gradient) = (
        step(network, family, name) for name in ("bfloat16", "float32")
    )
    assert 0 < (loss - exact).abs() < BF16_LOSS * exact
    assert torch.cosine_similarity(gradient, exact_gradient, 0) > 0.99


@pytest.mark.parametrize("family", ["dit", "mar", "xar"])
def test_bfloat16_samples_about_as_float32(family: str) -> None:
    network = generator(family)
    exact, rounded = (sampled(network, family, name) for name in ("float32", "bfloat16"))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < BF16_TOKENS * exact.norm()


def test_bfloat16_draws_nearly_all_of_the_ids_of_float32() -> None:
    network = generator("rar")
    exact, rounded = (sampled(network, "rar", name) for name in ("float32", "bfloat16"))
    assert (rounded == exact).double().mean() > BF16_IDS


def test_a_is_applied_in_float32_within_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    network = generator("xar", basis_config(learned=True))
    a = torch.linalg.qr(torch.randn(16, 16))[0]
    network.basis.set_start(a, a.T, torch.arange(16))
    seen = []

    def reflected(labels: Tensor, noise: object, sampler: object) -> Tensor:
        return seen[-1]

    def noted(y: Tensor, labels: Tensor, draws: object, target: object) -> object:
        seen.append(y)
        return loss(y, labels, draws, target)

    loss = network.backbone.loss
    monkeypatch.setattr(network.backbone, "loss", noted)
    monkeypatch.setattr(network.backbone, "sample", reflected)
    step(network, "xar", "bfloat16")
    expected = network.basis.matrix() @ tokens("xar")[:, network.backbone.host_order]
    torch.testing.assert_close(seen[-1], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(sampled(network, "xar", "bfloat16"), tokens("xar"))


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train.precision must be one of float32, bfloat16; got"):
        recipe(steps=1, lr=1.0, precision="float16")
    with pytest.raises(ValueError, match=r"sampler.precision must be one of float32, bfloat16"):
        sampler_config("xar", precision="half")
    with pytest.raises(ValueError, match=r"precision must be one of float32, bfloat16; got 'fp8'"):
        precision("fp8", CPU)


def test_compiling_without_a_compiler_says_what_is_missing() -> None:
    from torch._inductor import config

    network = generator("xar")
    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        with pytest.raises(ValueError, match=r"compile=true needs a C\+\+ compiler.*compile=false"):
            compile_blocks(network.backbone)
    assert all("forward" not in vars(block) for block in blocks(network.backbone))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler g++")
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_equals_eager(family: str) -> None:
    """In a process of its own: checks of shapes, which run in tests, are not compiled."""
    command = [sys.executable, __file__, family]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths} | CHEAPLY  # paths: of what tests share
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("graphs") <= 12, "blocks are not compiled again and again"
    assert found and all(difference < COMPILED for difference in found.values()), found


def differences(family: str) -> dict[str, float]:
    """Largest differences between compiled and eager results, and the number of graphs.

    Dropout makes graphs of its own, and blocks of all families have the same: DiT's stand for them.
    """
    from torch._dynamo.utils import counters

    eager, (compiled, recomputed) = learned(family, 0.0), compiled_pair(family, 0.0)
    assert list(compiled.state_dict()) == list(eager.state_dict())
    found = {"loss": 0.0, "gradients": 0.0}
    for seed in range(4):  # of MAR's, each hides another number of tokens
        loss, gradients = step(eager, family, seed=seed)
        own_loss, own = step(compiled, family, seed=seed)
        found["loss"] = max(found["loss"], relative(own_loss, loss))
        found["gradients"] = max(found["gradients"], relative(own, gradients))
    kept = step(compiled, family)[1]
    found["recomputed"] = relative(step(recomputed, family)[1], kept)
    if family == "dit":
        dropping, recomputed = compiled_pair(family, 0.1)
        dropped = step(dropping, family)[1]
        assert relative(dropped, kept) > COMPILED
        found["dropped"] = relative(step(recomputed, family)[1], dropped)
    found["samples"] = relative(sampled(compiled, family), sampled(eager, family))
    return found | {"graphs": counters["stats"]["unique_graphs"]}


def compiled_pair(family: str, dropout: float) -> tuple[Generator, Generator]:
    """Two networks of compiled blocks, the second of which computes them again."""
    pair = learned(family, dropout), learned(family, dropout)
    for network in pair:
        compile_blocks(network.backbone)
    recompute_blocks(pair[1].backbone)
    return pair


def relative(value: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest expected number."""
    return ((value - expected).abs().max() / expected.abs().max()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(differences(sys.argv[1])))
