"""MDTv2: a masked diffusion transformer over latents (Gao et al. 2023, "Masked Diffusion
Transformer is a Strong Image Synthesizer", version 2 of the paper).

A DiT whose blocks know relative positions: an encoder, whose second half gets the outputs of the
first by long shortcuts, and a decoder, whose blocks get the noisy patches themselves. Training
denoises every image twice: all of it, and with some of its patches hidden from the encoder, which
a side block guesses from those that are left. Sampling needs neither mask nor side block.

b images, n tokens of d channels in raster order, m patches of which k are kept, w the width, u
distinct conditions.
"""

import math
from copy import copy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nextbasis.config import OrderConfig
from nextbasis.families.common.ancestral import denoised
from nextbasis.families.common.dit import Guided, LatentTransformer, Rows
from nextbasis.families.common.execution import precision
from nextbasis.families.common.loss import Loss
from nextbasis.families.common.noise import ImageNoise
from nextbasis.families.common.schedule import (
    NUM_STEPS,
    Schedule,
    linear_betas,
    space_steps,
    variational_bound,
)
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.mdtv2.block import MaskedBlock
from nextbasis.families.mdtv2.config import MDTv2Config, MDTv2SamplerConfig


@dataclass(kw_only=True)
class Draws:
    """The random numbers of one training step: of the pass over all patches, then the masked one.

    Both passes have the same noise level.
    """

    label_drop: Bool[Tensor, "2 b"]
    step: Int[Tensor, " b"]
    noise: Float[Tensor, "2 b n d"]
    kept: Int[Tensor, "b k"]  # patches that the masked pass shows to its encoder

    def share_level(self) -> "Draws":
        """The same: all tokens of an image have one noise level."""
        return replace(self)

    def part(self, images: slice) -> "Draws":
        """The draws of some images of the batch."""
        return Draws(
            label_drop=self.label_drop[:, images],
            step=self.step[images],
            noise=self.noise[:, images],
            kept=self.kept[images],
        )


class MDTv2(LatentTransformer):
    """The network, which predicts the noise and the variance of every step."""

    config: MDTv2Config
    displacement: Tensor

    def __init__(self, config: MDTv2Config, spec: TokenSpec, order: OrderConfig) -> None:
        """`order` is not used.

        Raises: ValueError if patches do not fill the grid.
        """
        frame = copy(config)
        frame.depth = 0  # blocks are of its own kinds
        super().__init__(frame, spec, order, 2 * spec.channels)
        self.config, (height, width) = config, spec.sequence
        grid = height // config.patch, width // config.patch
        half = (config.depth - config.decoder_depth) // 2

        def blocks(depth: int, shortcut: bool) -> nn.ModuleList:
            hidden, sizes = int(config.width * config.mlp_ratio), (config.width, config.num_heads)
            return nn.ModuleList(
                MaskedBlock(*sizes, hidden, config.dropout, grid, shortcut) for _ in range(depth)
            )

        self.in_blocks, self.out_blocks = blocks(half, False), blocks(half, True)
        self.decoder_blocks, self.side_blocks = blocks(config.decoder_depth, True), blocks(1, False)
        positions = self.pos_embed
        del self.pos_embed  # a constant of DiT
        self.pos_embed, self.decoder_pos = (nn.Parameter(positions.clone()) for _ in range(2))
        self.mask_token = nn.Parameter(torch.empty(1, 1, config.width))
        self._init_weights()
        nn.init.normal_(self.mask_token, std=0.02)
        self.schedule = Schedule(betas=linear_betas)
        self.register_buffer("displacement", displacements(*grid), persistent=False)

    def condition(
        self, time: Float[Tensor, " u"], labels: Int[Tensor, " u"]
    ) -> Float[Tensor, "u w"]:
        """What blocks and final layer are told, after its SiLU; in single precision."""
        with precision("float32", labels.device):
            return super().condition(time, labels)

    def net(
        self,
        tokens: Float[Tensor, "b n d"],
        y: Float[Tensor, "u w"],
        rows: Rows = None,
        kept: Int[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b n c2"]:
        """The whole network, given its conditions; without `kept` the encoder sees all patches."""
        patches = self.embed(tokens)
        h = self._encoded(patches if kept is None else chosen(patches, kept), y, rows, kept)
        if kept is None:
            h = h + self.decoder_pos
        else:
            h = self._filled(h, y, rows, kept)
        for block in self.decoder_blocks:
            h = block(h, told(block, y, rows), self.displacement, patches)
        return self.read_out(h, y, rows)

    def _encoded(
        self,
        h: Float[Tensor, "b k w"],
        y: Float[Tensor, "u w"],
        rows: Rows,
        kept: Int[Tensor, "b k"] | None,
    ) -> Float[Tensor, "b k w"]:
        """The encoder: the last of its first blocks is joined to the first of its second ones."""
        apart = self.displacement
        if kept is not None:
            apart = apart[0, kept[:, :, None], kept[:, None]]
        shortcuts = []
        for block in self.in_blocks:
            h = block(h, told(block, y, rows), apart)
            shortcuts.append(h)
        for block in self.out_blocks:
            h = block(h, told(block, y, rows), apart, shortcuts.pop())
        return h

    def _filled(
        self,
        encoded: Float[Tensor, "b k w"],
        y: Float[Tensor, "u w"],
        rows: Rows,
        kept: Int[Tensor, "b k"],
    ) -> Float[Tensor, "b m w"]:
        """All patches with their positions: hidden ones as the side block guesses them."""
        gaps = self.mask_token.to(encoded.dtype).expand(len(kept), self.decoder_pos.shape[1], -1)
        index = kept[..., None]
        h = gaps.scatter(1, index.expand_as(encoded), encoded) + self.decoder_pos
        (side,) = self.side_blocks
        guessed = side(h, told(side, y, rows), self.displacement)
        hidden = torch.ones_like(h[..., :1], dtype=torch.bool).scatter(1, index, False)
        return torch.where(hidden, guessed, h)

    def draw(self, batch: int, progress: float, generator: torch.Generator) -> Draws:
        """Random numbers of one step, whose images all keep the same number of patches."""
        shape = (2, batch, self.num_tokens, self.channels)
        share, places = torch.rand((), generator=generator), self.decoder_pos.shape[1]
        return Draws(
            label_drop=torch.rand(2, batch, generator=generator) < self.config.label_drop,
            step=torch.randint(NUM_STEPS, (batch,), generator=generator),
            noise=torch.randn(*shape, generator=generator),
            kept=kept_patches(self.config, share, torch.rand(batch, places, generator=generator)),
        )

    def loss(
        self,
        tokens: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> Loss:
        """The losses of both passes, added.

        `target` replaces the tokens in the bound, for a gradient that differs. `error` and `snr`
        have 2 b rows, those of the masked pass behind the others.
        """
        value, errors = torch.zeros((), device=tokens.device), []
        for masked in (False, True):
            error, mse, bound = self.denoise(tokens, labels, draws, masked, target)
            value = value + (mse + bound).mean()
            errors.append(error)
        snr = self.schedule.snr(draws.step).repeat(2)[:, None].expand(-1, self.num_tokens)
        return Loss(value=value, error=torch.cat(errors), snr=snr)

    def denoise(
        self,
        tokens: Float[Tensor, "b n d"],
        labels: Int[Tensor, " b"],
        draws: Draws,
        masked: bool,
        target: Float[Tensor, "b n d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Errors of the noise in a pass, their weighted squares, and the bound, of every image.

        The gradient of the bound reaches only the variance.
        """
        step, noise = draws.step, draws.noise[int(masked)]
        x_t = self.schedule.add_noise(tokens.flatten(1), step, noise.flatten(1))
        labels = torch.where(draws.label_drop[int(masked)], self.null_label, labels)
        y, kept = self.condition(step.float(), labels), draws.kept if masked else None
        eps, v = self.net(x_t.view_as(tokens), y, kept=kept).float().chunk(2, -1)
        x0 = (tokens if target is None else target).flatten(1)
        said = eps.detach().flatten(1), v.flatten(1)
        bound = variational_bound(self.schedule, x0, x_t, step, *said)
        error, weight = noise - eps, self.weight(self.schedule.snr(step))
        return error, weight * error.square().mean((1, 2)), bound

    def weight(self, snr: Float[Tensor, " *b"]) -> Float[Tensor, " *b"]:
        """Min-SNR weights of errors of the noise (Hang et al. 2023)."""
        return snr.clamp(max=self.config.snr_bound) / snr

    @torch.no_grad()
    def sample(
        self, labels: Int[Tensor, " b"], noise: ImageNoise, sampler: MDTv2SamplerConfig
    ) -> Float[Tensor, "b n d"]:
        """Denoise all tokens at once, step by step."""
        guided = Guided(self, labels, sampler.guided_channels)

        def predict(x: Tensor, time: int) -> tuple[Tensor, Tensor]:
            eps, v = guided(x, float(time), guidance_at(sampler, time)).chunk(2, -1)
            return eps, v

        # Made anew, on the CPU, whose numbers it is read for.
        schedule = Schedule(space_steps(sampler.num_steps), linear_betas)
        return denoised(predict, schedule, lambda: noise.normal(self.num_tokens, self.channels))


def told(block: nn.Module, y: Float[Tensor, "u w"], rows: Rows) -> Float[Tensor, "b six_w"]:
    """Shifts, scales and gates of a block, for the condition of every image."""
    assert isinstance(block, MaskedBlock)
    modulation = block.modulation(y)
    return modulation if rows is None else modulation.index_select(0, rows)


def chosen(x: Float[Tensor, "b m w"], index: Int[Tensor, "b k"]) -> Float[Tensor, "b k w"]:
    """The listed patches of every image."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def displacements(rows: int, columns: int) -> Int[Tensor, "1 m m"]:
    """A number for how far, down and to the right, every patch is from every other."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    place = (row * (2 * columns - 1) + column).flatten()
    return (place[:, None] - place + place[-1])[None]


def kept_patches(
    config: MDTv2Config, share: Float[Tensor, ""], uniform: Float[Tensor, "b m"]
) -> Int[Tensor, "b k"]:
    """Patches that the encoder sees in the masked pass: those of the least uniform numbers.

    `share` is a uniform number, too; how many are hidden is the same for the whole batch.
    """
    # Differs from MDT with several GPUs, which draw a share each.
    ratio = share * config.mask_spread + config.mask_ratio
    count = int(uniform.shape[1] * (1 - ratio))
    return uniform.argsort(1)[:, : max(1, count)]


def guidance_at(sampler: MDTv2SamplerConfig, step: int) -> float:
    """Guidance at a step of the training's schedule: next to none where there is most noise."""
    phase = math.pi * (1 - step / NUM_STEPS) ** sampler.guidance_power
    return 1 + (sampler.guidance - 1) * (1 - math.cos(phase)) / 2


MODEL = MDTv2
