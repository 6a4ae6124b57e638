"""The published networks KL-16 and MaskGIT-VQGAN as tokenizers; their weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from nextbasis.config import KL16TokenizerConfig, MaskGITVQGANTokenizerConfig
from nextbasis.config.tokenizer import NetworkSizes
from nextbasis.files import sha256
from nextbasis.posterior import Posterior
from nextbasis.tokenizers.kl16 import KL16Autoencoder
from nextbasis.tokenizers.maskgit_vqgan import MaskGITVQGAN
from nextbasis.weights import check_shapes, read_checkpoint

OF_THE_LOSS = "loss."  # how latent diffusion's code names the parts that only its training needs


class KL16Tokenizer(nn.Module):
    """encode: images -> tokens (b n d); decode: back; training draws tokens from `moments`."""

    codebook_size = 0

    def __init__(self, config: KL16TokenizerConfig, image_size: int, image_channels: int) -> None:
        """Build the network without its weights, for square images."""
        super().__init__()
        self.grid = grid_of(config.network, image_size, image_channels)
        self.channels, self.scale = config.network.latent_channels, config.network.scale
        self.network = KL16Autoencoder(config.network)

    @torch.no_grad()
    def moments(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d2"]:
        """Means, then log-variances, of every token's posterior; neither scaled nor clamped."""
        return rearrange(self.network.encode(images), "b d h w -> b (h w) d")

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """The posterior's means, scaled, in raster order: what reconstructions are measured of."""
        return Posterior.of(self.moments(images), 2).mean * self.scale

    @torch.no_grad()
    def decode(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c h w"]:
        """Images, about in [-1, 1], of scaled latents."""
        return self.network.decode(rearrange(tokens, "b (h w) d -> b d h w", h=self.grid[0]))


class MaskGITVQGANTokenizer(nn.Module):
    """encode: images -> ids (b n); decode: ids -> images."""

    def __init__(
        self, config: MaskGITVQGANTokenizerConfig, image_size: int, image_channels: int
    ) -> None:
        """Build the network without its weights, for square images."""
        super().__init__()
        self.grid = grid_of(config.network, image_size, image_channels)
        self.channels = config.network.latent_channels
        self.codebook_size = config.network.codebook_size
        self.network = MaskGITVQGAN(config.network)

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "b c h w"]) -> Int[Tensor, "b n"]:
        """Ids in raster order; the network takes pixels in [0, 1], not in [-1, 1]."""
        return self.network.encode((images + 1) / 2).flatten(1)

    @torch.no_grad()
    def decode(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1]."""
        return 2 * self.network.decode(rearrange(ids, "b (h w) -> b h w", h=self.grid[0])) - 1


def grid_of(sizes: NetworkSizes, image_size: int, image_channels: int) -> tuple[int, int]:
    """Rows and columns of tokens.

    Raises: ValueError if the images have other channels than the network.
    """
    if image_channels != sizes.image_channels:
        raise ValueError(
            f"tokenizer.network.image_channels is {sizes.image_channels}, "
            f"but the dataset's images have {image_channels}"
        )
    side = image_size // sizes.downsample
    return side, side


def read_weights(
    config: KL16TokenizerConfig | MaskGITVQGANTokenizerConfig,
) -> tuple[dict[str, Tensor], str]:
    """The weights of the configured file, under the official names, and the file's SHA-256.

    Raises: FileNotFoundError, or ValueError naming every wrong tensor or what else is wrong.
    """
    path = Path(config.weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"tokenizer.weights: no file {path}. Put the published checkpoint of {config.kind} "
            f"there (config/README.md says which), or name yours with tokenizer.weights=<file>"
        )
    if (found := sha256(path)) != (config.weights_sha256 or found):
        raise ValueError(
            f"tokenizer.weights: {path} has SHA-256 {found}, but tokenizer.weights_sha256 is "
            f"{config.weights_sha256}: it is damaged or another version"
        )
    state, _ = read_checkpoint(path)
    if of_the_loss := [name for name in state if name.startswith(OF_THE_LOSS)]:
        print(f"{path}: not read, being of its training's loss: {', '.join(of_the_loss)}")
    state = {name: tensor for name, tensor in state.items() if name not in of_the_loss}
    try:
        check_state(config.kind, config.network, state)
    except ValueError as error:
        raise ValueError(
            f"tokenizer.weights: {path} is no {config.kind} of the sizes in tokenizer.network: "
            f"{error}"
        ) from error
    return state, found


def check_state(kind: str, sizes: NetworkSizes, state: Mapping[str, Tensor]) -> None:
    """Nothing if these are the weights of such a network, under the official names.

    Raises: ValueError naming every tensor that does not fit.
    """
    with torch.device("meta"):
        network: nn.Module = NETWORKS[kind](sizes)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, wanted)
    if integers := [name for name, t in state.items() if not t.is_floating_point()]:
        raise ValueError(f"tensors that are not floating-point numbers: {', '.join(integers)}")


NETWORKS: dict[str, Any] = {"kl16": KL16Autoencoder, "maskgit_vqgan": MaskGITVQGAN}
