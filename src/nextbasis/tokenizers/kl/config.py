"""What the continuous tokenizer is told."""

from dataclasses import dataclass

from nextbasis.config.tokenizer import TrainedConfig


@dataclass(kw_only=True)
class KLConfig(TrainedConfig):
    """Continuous tokens."""

    # Standard deviation of the noise on standardised latents while training: the analogue of
    # sampling KL-16's posterior.
    noise: float
    penalty: float  # weight of the mean squared latent


TOKENIZER = KLConfig
