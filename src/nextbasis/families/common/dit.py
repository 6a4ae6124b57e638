"""The transformer that denoises latents, of DiT, SiT and REPA (Peebles & Xie 2023, section 3).

Latents are cut into patches; each block is told the noise level and the class by shifts, scales and
gates. The network maps noisy tokens, their time and labels to k numbers a token.

b images, n tokens of d channels in raster order, m patches of p x p tokens, w the width, u distinct
conditions.
"""

from collections.abc import Iterable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from nextbasis.basis import orders
from nextbasis.config import OrderConfig
from nextbasis.families.common.attention import Attention
from nextbasis.families.common.backbone import Backbone
from nextbasis.families.common.diffusion import FinalLayer
from nextbasis.families.common.dit_config import LatentTransformerConfig
from nextbasis.families.common.execution import precision
from nextbasis.families.common.linear import linear
from nextbasis.families.common.parts import (
    MLP,
    NORM_EPS,
    Modulation,
    TimeEmbedding,
    init_xavier,
    modulate,
)
from nextbasis.families.common.spec import TokenSpec

Rows = Int[Tensor, " b"] | None  # which of the distinct conditions each image has; None: its own


class PatchEmbedding(nn.Module):
    """A linear map of every patch, whose weight is that of a convolution."""

    def __init__(self, grid: tuple[int, int], channels: int, width: int, patch: int) -> None:
        """`grid` has the rows and columns of the tokens."""
        super().__init__()
        self.rows, self.patch = grid[0] // patch, patch
        self.weight = nn.Parameter(torch.empty(width, channels, patch, patch))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.weight.view(width, -1))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b m w"]:
        """Patches in raster order."""
        p = self.patch
        pattern = "b (h p w q) d -> b (h w) (d p q)"
        patches = rearrange(tokens, pattern, h=self.rows, p=p, q=p)
        return linear(patches, self.weight.flatten(1), self.bias)

    def undo(self, patches: Float[Tensor, "b m ppk"]) -> Float[Tensor, "b n k"]:
        """Outputs of patches as those of their tokens; the channel counts fastest in a patch."""
        p = self.patch
        pattern = "b (h w) (p q k) -> b (h p w q) k"
        return rearrange(patches, pattern, h=self.rows, p=p, q=p)


def position_table(rows: int, columns: int, width: int) -> Float[Tensor, "1 m w"]:
    """Sines and cosines of the column, then those of the row, at 10000^(-i / (width / 4))."""
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in (column, row)]
    return torch.cat([part for a in angles for part in (a.sin(), a.cos())], 1).float()[None]


class DiTBlock(nn.Module):
    """Attention and an MLP behind norms without weights, shifted, scaled and gated."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float) -> None:
        """`hidden` is the width inside the MLP."""
        super().__init__()
        self.attn = Attention(width, num_heads, dropout)
        self.mlp = MLP(width, hidden, dropout, approximate=True)
        self.adaLN_modulation = Modulation(width, 6)

    def modulation(self, y: Float[Tensor, "u w"]) -> Float[Tensor, "u 6*w"]:
        """Shift, scale and gate of the attention, then of the MLP, given y after its SiLU."""
        return self.adaLN_modulation[1](y)

    def forward(
        self, x: Float[Tensor, "b m w"], modulation: Float[Tensor, "b 6*w"]
    ) -> Float[Tensor, "b m w"]:
        """Every patch looks at every patch; rows may share the `modulation` of a condition."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, None].chunk(6, -1)
        x = torch.addcmul(x, gate1, self.attn(modulate(normalised(x), scale1, shift1)))
        return torch.addcmul(x, gate2, self.mlp(modulate(normalised(x), scale2, shift2)))


def normalised(x: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
    """Layer norm without weights."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


class LatentTransformer(Backbone):
    """The network, and what DiT and SiT have in common; all tokens of an image are drawn at once.

    Under autocast the stream of the blocks, the embedding and the final layer stay in single
    precision.
    """

    grouped = True
    pos_embed: Tensor

    def __init__(
        self,
        config: LatentTransformerConfig,
        spec: TokenSpec,
        order: OrderConfig,
        num_outputs: int,
    ) -> None:
        """`num_outputs` counts the numbers that the network says of a token; `order` is not used.

        Raises: ValueError if patches do not fill the grid.
        """
        super().__init__(config, spec, order)
        grid, width, patch = spec.sequence, config.width, config.patch
        if grid[0] % patch or grid[1] % patch:
            raise ValueError(
                f"model.patch must divide both sides of the grid of {grid[0]} x {grid[1]} tokens, "
                f"got {patch}"
            )
        self.config, self.channels, self.null_label = config, spec.channels, spec.num_classes
        self.num_tokens, self.layout = grid[0] * grid[1], grid
        self.patch_embed = PatchEmbedding(grid, spec.channels, width, patch)
        self.time_embed = TimeEmbedding(width)
        self.class_emb = nn.Embedding(spec.num_classes + 1, width)  # the last is the null class
        hidden = int(width * config.mlp_ratio)
        self.blocks = nn.ModuleList(
            DiTBlock(width, config.num_heads, hidden, config.dropout) for _ in range(config.depth)
        )
        self.final_layer = FinalLayer(width, patch**2 * num_outputs)
        self._init_weights()
        # A constant, but of the state: official checkpoints hold it.
        positions = position_table(grid[0] // patch, grid[1] // patch, width)
        self.register_buffer("pos_embed", positions)
        self.register_buffer("host_order", orders.raster(*grid), persistent=False)
        steps = torch.zeros(self.num_tokens, dtype=torch.long)
        self.register_buffer("step_of", steps, persistent=False)

    def _init_weights(self) -> None:
        """Xavier; embeddings normal(0.02); modulations and output zero, so that it says zero."""
        init_xavier(self)
        self.time_embed.init_normal()
        nn.init.normal_(self.class_emb.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Modulation):
                module.zero_()
        nn.init.zeros_(self.final_layer.linear.weight)

    @staticmethod
    def decays(name: str, parameter: Tensor) -> bool:
        """The official recipes have one group of weights; their decay is 0."""
        return True

    def condition(
        self, time: Float[Tensor, " u"], labels: Int[Tensor, " u"]
    ) -> Float[Tensor, "u w"]:
        """What blocks and final layer are told, after its SiLU."""
        return F.silu(self.time_embed(time) + self.class_emb(labels))

    def embed(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b m w"]:
        """Patches and their positions."""
        with precision("float32", tokens.device):
            return self.patch_embed(tokens) + self.pos_embed

    def run(
        self,
        h: Float[Tensor, "b m w"],
        y: Float[Tensor, "u w"],
        blocks: Iterable[nn.Module],
        rows: Rows = None,
    ) -> Float[Tensor, "b m w"]:
        """Some blocks, told the conditions y."""
        for block in blocks:
            assert isinstance(block, DiTBlock)
            modulation = block.modulation(y)
            h = block(h, modulation if rows is None else modulation.index_select(0, rows))
        return h

    def read_out(
        self, h: Float[Tensor, "b m w"], y: Float[Tensor, "u w"], rows: Rows = None
    ) -> Float[Tensor, "b n k"]:
        """The final layer, token by token; conditions that rows share are mapped once."""
        layer = self.final_layer
        with precision("float32", h.device):
            told = layer.adaLN_modulation[1](y.to(h.dtype))
            told = told if rows is None else told.index_select(0, rows)
            shift, scale = told[:, None].chunk(2, -1)
            return self.patch_embed.undo(layer.linear(modulate(normalised(h), scale, shift)))

    def net(
        self, tokens: Float[Tensor, "b n d"], y: Float[Tensor, "u w"], rows: Rows = None
    ) -> Float[Tensor, "b n k"]:
        """The whole network, given its conditions."""
        return self.read_out(self.run(self.embed(tokens), y, self.blocks, rows), y, rows)


class Guided:
    """A network under guidance: rows of the labels, then as many of the null class.

    Both see the same noisy tokens. Only the first `channels` are guided, as the released DiT and
    SiT guide 3 of 4 (facebookresearch/DiT, issue 12); the others are the conditional ones.
    """

    def __init__(
        self, network: LatentTransformer, labels: Int[Tensor, " b"], channels: int
    ) -> None:
        """`channels` 0 means all.

        Raises: ValueError if there are not so many.
        """
        if channels > network.channels:
            raise ValueError(
                f"sampler.guided_channels must be at most {network.channels}, the channels of a "
                f"token, got {channels}"
            )
        self.network, self.channels = network, channels or network.channels
        classes, rows = labels.unique(return_inverse=True)
        null = classes.new_full((1,), network.null_label)
        null_rows = torch.full_like(rows, len(classes))
        self.plain = classes, rows
        self.both = torch.cat((classes, null)), torch.cat((rows, null_rows))

    def __call__(
        self, tokens: Float[Tensor, "b n d"], time: float | int, guidance: float
    ) -> Float[Tensor, "b n k"]:
        """What the network says at one time of all images; guidance 1 needs no null rows."""
        classes, rows = self.plain if guidance == 1 else self.both
        told = torch.full_like(classes, time, dtype=torch.float32)
        y = self.network.condition(told, classes)
        if guidance == 1:
            return self.network.net(tokens, y, rows).float()
        out, null = self.network.net(tokens.repeat(2, 1, 1), y, rows).float().chunk(2)
        first = slice(0, self.channels)
        mixed = torch.lerp(null[..., first], out[..., first], guidance)
        return torch.cat((mixed, out[..., self.channels :]), -1)
