"""Teachers for REPA where there is no pretrained encoder: features of clean tokens, frozen.

Released REPA aligns with DINOv2, which sees pixels and is no part of this package. `masked` is a
small transformer that learned to fill in masked patches of the training tokens, without labels;
`random` is the same one untaught, and `tokens` the patches themselves: controls, by which it is
judged. Features are standardised, so that a constant does not pass for an alignment.

i training images, b images, n tokens of d channels, m patches of p numbers, f features.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nextbasis.families.common.execution import precision
from nextbasis.families.common.linear import Linear
from nextbasis.families.common.noise import stream_seed
from nextbasis.families.common.parts import Block, init_xavier
from nextbasis.families.sit.config import SiTConfig

DEPTH, HEAD_WIDTH, MLP_RATIO = 2, 16, 2  # of the encoder
STEPS, BATCH, RATE, MASKED = 400, 128, 2e-3, 0.5  # of its training; the share of masked patches
LEAST_DEVIATION = 1e-6  # of a feature that is standardised
CHUNK = 1000  # images encoded at once


class Encoder(nn.Module):
    """Patches to features, which tell what a masked patch holds."""

    def __init__(self, num_patches: int, size: int, features: int) -> None:
        """`size` counts the numbers of a patch."""
        super().__init__()
        heads = max(1, features // HEAD_WIDTH)
        heads = next(count for count in range(heads, 0, -1) if features % count == 0)
        self.patch_embed = Linear(size, features)
        self.mask_token = nn.Parameter(torch.zeros(features))
        self.position = nn.Parameter(0.02 * torch.randn(num_patches, features))
        self.blocks = nn.ModuleList(
            Block(features, heads, MLP_RATIO * features) for _ in range(DEPTH)
        )
        self.norm = nn.LayerNorm(features)
        self.predict = Linear(features, size)
        init_xavier(self)

    def forward(
        self, patches: Float[Tensor, "b m p"], masked: Bool[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b m f"]:
        """Features of all patches, some of them masked."""
        h = self.patch_embed(patches)
        if masked is not None:
            h = torch.where(masked[..., None], self.mask_token, h)
        h = h + self.position
        for block in self.blocks:
            h = block(h)
        return self.norm(h)


class Teacher:
    """Standardised features of clean tokens; it has no gradients and no state to save."""

    def __init__(
        self, encoder: nn.Module, grid: tuple[int, int], patch: int, tokens: Float[Tensor, "i n d"]
    ) -> None:
        """Take mean and deviation of the features of these tokens."""
        self.encoder, self.rows, self.patch = encoder, grid[0] // patch, patch
        features = torch.cat([self._features(part) for part in tokens.split(CHUNK)]).flatten(0, 1)
        self.mean = features.mean(0)
        self.deviation = features.std(0).clamp(min=LEAST_DEVIATION)

    def __call__(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b m f"]:
        """Features of every patch, in single precision."""
        return (self._features(tokens) - self.mean) / self.deviation

    @torch.no_grad()
    def _features(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b m f"]:
        with precision("float32", tokens.device):
            features: Tensor = self.encoder(patches_of(tokens, self.rows, self.patch))
        return features


def patches_of(tokens: Float[Tensor, "b n d"], rows: int, patch: int) -> Float[Tensor, "b m p"]:
    """The tokens of every patch, side by side."""
    return rearrange(tokens, "b (h y w x) d -> b (h w) (y x d)", h=rows, y=patch, x=patch)


def teachers_of(
    config: SiTConfig, grid: tuple[int, int], tokens: Float[Tensor, "i n d"]
) -> list[Teacher]:
    """A teacher for each of the config's widths, the same whenever the tokens are.

    Raises: ValueError if tokens are to be the features and there are not so many numbers.
    """
    patches = patches_of(tokens, grid[0] // config.patch, config.patch)
    numbers = patches.shape[2]
    found = []
    for index, width in enumerate(config.widths):
        encoder: nn.Module = nn.Identity()
        if config.teacher != "tokens":
            encoder = encoder_of(patches, width, index, config.teacher == "masked")
        elif width != numbers:
            raise ValueError(
                f"model.teacher=tokens needs model.teacher_widths={numbers}, the numbers of a "
                f"patch, got {width}"
            )
        found.append(Teacher(encoder, grid, config.patch, tokens))
    return found


def encoder_of(patches: Float[Tensor, "i m p"], width: int, index: int, learned: bool) -> nn.Module:
    """An encoder of its own seed, taught to fill in masked patches if `learned`, and frozen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed("teacher", index))
        encoder = Encoder(patches.shape[1], patches.shape[2], width)
    encoder = encoder.to(patches.device)
    if learned:
        with torch.enable_grad(), precision("float32", patches.device):
            teach(encoder, patches, torch.Generator().manual_seed(stream_seed("masks", index)))
    return encoder.eval().requires_grad_(False)


def teach(encoder: Encoder, patches: Float[Tensor, "i m p"], generator: torch.Generator) -> None:
    """Let it tell masked patches from the others (He et al. 2022, by one network)."""
    optim = torch.optim.AdamW(encoder.parameters(), lr=RATE, betas=(0.9, 0.95), fused=True)
    for step in range(STEPS):
        rows = torch.randint(len(patches), (BATCH,), generator=generator)
        masked = torch.rand(BATCH, patches.shape[1], generator=generator) < MASKED
        seen, masked = patches[rows.to(patches.device)], masked.to(patches.device)
        error = (encoder.predict(encoder(seen, masked)) - seen).square().mean(-1)
        loss = (error * masked).sum() / masked.sum().clamp(min=1)
        for group in optim.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
