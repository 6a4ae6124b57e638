"""How images become tokens: one dataclass for each kind of tokenizer, chosen by `kind`."""

from dataclasses import dataclass

from nextbasis.config.checks import fraction, positive

NORM_GROUPS = 32  # of every group normalisation in the published networks


@dataclass(kw_only=True)
class TokenizerBase:
    """What every tokenizer is told."""

    kind: str
    encode_batch_size: int  # images encoded together when nothing is trained

    def __post_init__(self) -> None:
        """Check ranges."""
        positive("tokenizer", self, "encode_batch_size")


@dataclass(kw_only=True)
class PatchesConfig(TokenizerBase):
    """Pixels, standardised; nothing is trained."""

    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "downsample", "latent_channels")


@dataclass(kw_only=True)
class TrainedTokenizer(TokenizerBase):
    """A small convolutional autoencoder that stage tokenizer trains."""

    downsample: int  # pixels per token along one side
    latent_channels: int  # numbers per token before quantisation
    width: int  # channels of the convolutions
    steps: int  # optimiser steps
    batch_size: int  # images of a step
    lr: float

    def __post_init__(self) -> None:
        """Check sizes."""
        super().__post_init__()
        positive("tokenizer", self, "downsample", "latent_channels", "width")
        positive("tokenizer", self, "steps", "batch_size", "lr")


@dataclass(kw_only=True)
class KLConfig(TrainedTokenizer):
    """Continuous tokens."""

    noise: float  # standard deviation of the noise on standardised latents while training
    penalty: float  # weight of the mean squared latent


@dataclass(kw_only=True)
class VQConfig(TrainedTokenizer):
    """Ids of a codebook."""

    codebook_size: int
    commitment: float  # weight of the encoder's part of the loss
    codebook_decay: float  # of the moving averages that the codebook follows

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        fraction("tokenizer", self, "codebook_decay")
        if self.codebook_size < 2:
            raise ValueError(
                f"tokenizer.codebook_size must be at least 2, got {self.codebook_size}"
            )


@dataclass(kw_only=True)
class NetworkSizes:
    """Sizes that the published networks share; level 0 has the image's resolution."""

    image_channels: int
    width: int  # channels at multiplier 1
    multipliers: list[int]  # one per level; each level has half the resolution of the former
    num_blocks: int  # residual blocks of an encoder level
    latent_channels: int  # numbers per token before quantisation

    def __post_init__(self) -> None:
        """Check sizes."""
        positive("tokenizer.network", self, "image_channels", "num_blocks", "latent_channels")
        if self.width < 1 or self.width % NORM_GROUPS:
            raise ValueError(
                f"tokenizer.network.width must be a positive multiple of {NORM_GROUPS}, "
                f"got {self.width}"
            )
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(
                f"tokenizer.network.multipliers must be positive integers, got {self.multipliers}"
            )

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return 2 ** (len(self.multipliers) - 1)


@dataclass(kw_only=True)
class KL16Config(NetworkSizes):
    """KL-16 as MAR and xAR use it; a decoder level has one residual block more."""

    encoder_attention: list[int]  # levels with attention after every residual block
    decoder_attention: list[int]  # likewise
    scale: float  # latents are samples of the posterior times this

    def __post_init__(self) -> None:
        """Check levels and scale."""
        super().__post_init__()
        positive("tokenizer.network", self, "scale")
        for key in ("encoder_attention", "decoder_attention"):
            levels, count = getattr(self, key), len(self.multipliers)
            if not all(0 <= level < count for level in levels):
                raise ValueError(
                    f"tokenizer.network.{key} must name levels in [0, {count}), got {levels}"
                )


@dataclass(kw_only=True)
class MaskGITVQGANConfig(NetworkSizes):
    """MaskGIT-VQGAN as RAR uses it; `num_blocks` also holds between encoder levels and codes."""

    codebook_size: int
    commitment: float  # weight of the encoder's part of the quantisation loss

    def __post_init__(self) -> None:
        """Check the codebook."""
        super().__post_init__()
        positive("tokenizer.network", self, "codebook_size")
        if self.commitment < 0:
            raise ValueError(
                f"tokenizer.network.commitment must not be negative, got {self.commitment}"
            )


@dataclass(kw_only=True)
class PublishedTokenizer(TokenizerBase):
    """A published network whose weights are read from a file."""

    weights: str  # the official checkpoint, or what `nextbasis import` made of it
    weights_sha256: str  # of that file; empty: whatever it is, metrics.json records it


@dataclass(kw_only=True)
class KL16TokenizerConfig(PublishedTokenizer):
    """Continuous tokens of KL-16."""

    network: KL16Config

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return self.network.downsample


@dataclass(kw_only=True)
class MaskGITVQGANTokenizerConfig(PublishedTokenizer):
    """Ids of MaskGIT-VQGAN."""

    network: MaskGITVQGANConfig

    @property
    def downsample(self) -> int:
        """Pixels per token along one side."""
        return self.network.downsample


TokenizerConfig = (
    PatchesConfig | KLConfig | VQConfig | KL16TokenizerConfig | MaskGITVQGANTokenizerConfig
)
