"""What the autoencoder of Stable Diffusion is told."""

from dataclasses import dataclass

from nextbasis.config.checks import positive
from nextbasis.config.tokenizer import PublishedTokenizer
from nextbasis.data.layout import Grid
from nextbasis.tokenizers.common.config import square_grid


@dataclass(kw_only=True)
class SDVAEConfig:
    """Sizes; level 0 has the image's resolution, a decoder level has one residual block more."""

    image_channels: int  # of the images
    widths: list[int]  # channels of each level; each level has half the resolution of the former
    num_blocks: int  # residual blocks of an encoder level
    latent_channels: int  # numbers of a token
    groups: int  # of every group normalisation
    scale: float  # latents are samples of the posterior times this; officially 0.18215

    def __post_init__(self) -> None:
        """Check sizes."""
        names = ("image_channels", "num_blocks", "latent_channels", "groups", "scale")
        positive("tokenizer.network", self, *names)
        if not self.widths or min(self.widths) < 1:
            raise ValueError(
                f"tokenizer.network.widths must be positive integers, got {self.widths}"
            )
        if any(width % self.groups for width in self.widths):
            raise ValueError(
                f"tokenizer.network.groups must divide all widths {self.widths}, got {self.groups}"
            )

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return 2 ** (len(self.widths) - 1)

    def grid(self, image_size: int, image_channels: int) -> Grid:
        """Rows and columns of tokens of square images; see square_grid."""
        return square_grid(self, image_size, image_channels)


@dataclass(kw_only=True)
class SDVAETokenizerConfig(PublishedTokenizer):
    """Continuous tokens of Stable Diffusion's autoencoder.

    The published files are vae-ft-{ema-560000,mse-840000}-ema-pruned.ckpt of
    stabilityai/sd-vae-ft-{ema,mse}-original; `nextbasis import` also takes the files
    diffusion_pytorch_model of stabilityai/sd-vae-ft-{ema,mse}.
    """

    network: SDVAEConfig


NETWORK, TOKENIZER = SDVAEConfig, SDVAETokenizerConfig
