"""How LlamaGen trained its tokenizer, as far as a fixture tells: losses, gradients, short training.

The package reads the published weights and trains none; this documents what they were made by (Sun
et al. 2024, sections 2.1 and 3.1), but for the perceptual term, which the fixtures leave out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from nextbasis.parity.fixture import Fixture
from nextbasis.support.weights import put_weights
from nextbasis.support.words import listed
from nextbasis.tokenizers.llamagen_vq.model import LlamaGenVQ

LOSSES, STEPS = 1e-4, 1e-3  # absolute, as the fixture states
NORMS = 2e-3  # of each gradient's norm
TEMPERATURE = 0.01  # of the distances that the entropies are made of
SAFE = 1e-5  # added before logarithms
SLOPE = 0.2  # of the discriminator below zero


class Discriminator(nn.Module):
    """Patches of images to numbers, above 0 for those that seem real (PatchGAN, Isola et al. 2017).

    Attributes carry the names of the official code.
    """

    def __init__(self, channels: int, width: int, num_layers: int) -> None:
        """All but the last layer, and the one that tells, halve the resolution."""
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(num_layers + 1)]
        parts: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for layer in range(1, num_layers + 1):
            before, after, stride = widths[layer - 1], widths[layer], 2 if layer < num_layers else 1
            parts.append(nn.Conv2d(before, after, 4, stride, 1, bias=False))
            parts += [nn.BatchNorm2d(after), nn.LeakyReLU(SLOPE)]
        self.main = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        """Statistics of the normalisation are those of the batch while training."""
        return self.main(images)


@dataclass(kw_only=True)
class Quantised:
    """What the quantiser makes of images in training."""

    reconstruction: Float[Tensor, "b c h w"]
    ids: Int[Tensor, "b h2 w2"]
    vq: Float[Tensor, ""]  # pulls codes to vectors
    commit: Float[Tensor, ""]  # pulls vectors to codes, weighted
    entropy: Float[Tensor, ""]  # low for each vector and high for all together, weighted


@dataclass(kw_only=True)
class Training:
    """The two networks and the weights of the parts of their losses."""

    model: LlamaGenVQ
    discriminator: Discriminator
    commitment: float
    entropy_ratio: float
    adversarial: float  # in both losses, differing from the usual

    def quantise(self, images: Float[Tensor, "b c h w"]) -> Quantised:
        """Gradients pass the quantiser as if it were not there, to vectors of length 1."""
        quantiser = self.model.quantize
        vectors = self.model.directions(images)
        distances = quantiser.distances(rearrange(vectors, "b d h w -> (b h w) d"))
        ids = quantiser.nearest(vectors)
        codes = quantiser.codes(ids)
        passed = vectors + (codes - vectors).detach()
        return Quantised(
            reconstruction=self.model.decode_vectors(passed),
            ids=ids,
            vq=F.mse_loss(codes, vectors.detach()),
            commit=self.commitment * F.mse_loss(vectors, codes.detach()),
            entropy=self.entropy_ratio * entropy_loss(distances),
        )

    def generator_loss(
        self, images: Float[Tensor, "b c h w"], made: Quantised
    ) -> Float[Tensor, ""]:
        """Squared error, the discriminator's opinion, and the quantiser's losses."""
        opinion = self.discriminator(made.reconstruction).mean()
        pixels = F.mse_loss(made.reconstruction, images)
        return pixels - self.adversarial * opinion + made.vq + made.commit + made.entropy

    def discriminator_loss(
        self, images: Float[Tensor, "b c h w"], made: Quantised
    ) -> Float[Tensor, ""]:
        """Hinges for real images and for reconstructions, each a batch of its own."""
        real = F.relu(1 - self.discriminator(images)).mean()
        fake = F.relu(1 + self.discriminator(made.reconstruction.detach())).mean()
        return self.adversarial * 0.5 * (real + fake)


def entropy_loss(distances: Float[Tensor, "m k"]) -> Float[Tensor, ""]:
    """Mean entropy of the codes that a vector may take, minus that of their mean frequencies."""
    logits = -distances / TEMPERATURE
    shares, logarithms = logits.softmax(1), (logits + SAFE).log_softmax(1)
    mean = shares.mean(0)
    entropy_of_mean = -(mean * (mean + SAFE).log()).sum()
    return -(shares * logarithms).sum(1).mean() - entropy_of_mean


def usage(latest: Float[Tensor, " r"], ids: Tensor, codebook_size: int) -> Float[Tensor, ""]:
    """Share of the codes among the latest ids; places never written count as code 0."""
    flat = ids.flatten().to(latest)
    counted = torch.cat((latest[len(flat) :], flat)).long()
    seen = counted.bincount(minlength=codebook_size) > 0
    return seen.sum() / codebook_size


def run(fixture: Fixture, model: LlamaGenVQ) -> None:
    """Compare out.train.*; changes the model."""
    training, told = training_of(fixture, model), fixture.value("train")
    images = fixture["in.images"]
    made = training.quantise(images)
    loss = training.generator_loss(images, made)
    theirs = training.discriminator_loss(images, made)
    latest, size = model.quantize.codebook_used, model.config.codebook_size
    ours = {
        "reconstruction": made.reconstruction,
        "vq_loss": made.vq,
        "commit_loss": made.commit,
        "entropy_loss": made.entropy,
        "codebook_usage": usage(latest, made.ids, size),
        "generator_loss": loss,
        "discriminator_loss": theirs,
    }
    for name, value in ours.items():
        fixture.check(f"out.train.{name}", value, absolute=LOSSES)
    for name, keys, part, value in (
        ("grad_norms", "grad_keys", model, loss),
        ("disc_grad_norms", "disc_grad_keys", training.discriminator, theirs),
    ):
        norms = gradient_norms(part, value, fixture.value(keys))
        fixture.check(f"out.train.{name}", norms, relative=True, tolerance=NORMS)
    if fixture.holds("out.train.steps."):
        found = steps(training, images, told)
        for name, numbers in found.items():
            fixture.check(f"out.train.steps.{name}", torch.tensor(numbers), absolute=STEPS)


def training_of(fixture: Fixture, model: LlamaGenVQ) -> Training:
    """What the fixture trains."""
    c, told = fixture.value("config"), fixture.value("train")
    if told["disc_start"]:
        raise ValueError(f"train.disc_start of a fixture must be 0, got {told['disc_start']}")
    discriminator = Discriminator(model.config.image_channels, c["disc_dim"], c["disc_layers"])
    put_weights(discriminator, fixture.part("disc."))
    return Training(
        model=model.train(),
        discriminator=discriminator.train().to(fixture.device),
        commitment=c["commit_loss_beta"],
        entropy_ratio=c["entropy_loss_ratio"],
        adversarial=told["disc_weight"],
    )


def gradient_norms(part: nn.Module, loss: Tensor, keys: Iterable[str]) -> Float[Tensor, " p"]:
    """The norm of every parameter's gradient, in the order of the fixture."""
    parameters = dict(part.named_parameters())
    if unknown := sorted(set(keys) ^ set(parameters)):
        raise ValueError(f"the fixture's gradients and the model's differ in {listed(unknown)}")
    gradients = torch.autograd.grad(loss, [parameters[key] for key in keys], retain_graph=True)
    return torch.stack([gradient.norm() for gradient in gradients])


def steps(
    training: Training, images: Float[Tensor, "b c h w"], told: dict[str, Any]
) -> dict[str, list[float]]:
    """A short training of both: losses, and the generator's gradient norms before clipping."""
    parts = (training.model, training.discriminator)
    adam = {"lr": told["lr"], "betas": tuple(told["betas"]), "eps": told["eps"]}
    optimisers = [torch.optim.Adam(part.parameters(), **adam) for part in parts]
    losses: list[list[float]] = [[], []]
    norms = []
    for _ in range(told["steps"]):
        made = training.quantise(images)
        for which, loss_of in enumerate((training.generator_loss, training.discriminator_loss)):
            loss = loss_of(images, made)
            optimisers[which].zero_grad()
            loss.backward()
            parameters = parts[which].parameters()
            norm = clip_grad_norm_(parameters, told["max_grad_norm"])
            optimisers[which].step()
            losses[which].append(loss.item())
            norms += [] if which else [norm.item()]
    return {"generator_losses": losses[0], "discriminator_losses": losses[1], "grad_norms": norms}
