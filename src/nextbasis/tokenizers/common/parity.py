"""What becomes of images in an autoencoder with a posterior, by the names of fixtures."""

from jaxtyping import Float
from torch import Tensor

from nextbasis.data.posterior import Posterior
from nextbasis.tokenizers.common.autoencoder import PosteriorAutoencoder


def outputs(
    model: PosteriorAutoencoder,
    images: Float[Tensor, "b c h w"],
    noise: Float[Tensor, "b d h2 w2"],
) -> dict[str, Tensor]:
    """Every value on the way to the images that are decoded of a sample with this noise."""
    moments = model.encode(images)
    posterior = Posterior.of(moments)
    latents = (posterior.mean + posterior.std * noise) * model.scale
    return {
        "encoder_h": model.encoder(images),
        "moments": moments,
        "mean": posterior.mean,
        "logvar": posterior.logvar,
        "std": posterior.std,
        "kl": posterior.kl(),
        "scaled_latents": latents,
        "decoded": model.decode(latents),
        "flip_moments": model.encode(images.flip(3)),
    }
