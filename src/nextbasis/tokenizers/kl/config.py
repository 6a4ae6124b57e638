"""What the continuous tokenizer is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import TrainedConfig


@dataclass(kw_only=True)
class KLConfig(TrainedConfig):
    """Continuous tokens."""

    noise: float  # standard deviation of the noise on standardised latents while training
    penalty: float  # weight of the mean squared latent


TOKENIZER = KLConfig
