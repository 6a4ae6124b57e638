"""Sizes of convolutional autoencoders, read off the shapes of its official tensors."""

from typing import Any

from nextbasis.official.sizes import Votes


def levels(votes: Votes) -> dict[str, Any]:
    """The values of NetworkSizes but latent_channels, where names are latent diffusion's."""
    width = votes.size(("encoder.conv_in.weight", 0), ("encoder.down.0.block.0.norm1.weight", 0))
    blocks = [f"encoder.down.{level}.block.0" for level in range(votes.depth("encoder.down"))]
    widths = [votes.size((f"{b}.conv2.weight", 0), (f"{b}.norm2.weight", 0)) for b in blocks]
    return {
        "image_channels": votes.size(("decoder.conv_out.bias", 0), ("encoder.conv_in.weight", 1)),
        "width": width,
        "multipliers": [after // max(1, width) for after in widths],
        "num_blocks": votes.depth("encoder.down.0.block"),
    }


def latent_channels(votes: Votes) -> int:
    """Numbers per token of an autoencoder with a posterior, where names are latent diffusion's.

    Raises: ValueError if its encoder tells no log-variances beside the means (double_z).
    """
    latents = votes.size(
        ("post_quant_conv.bias", 0), ("post_quant_conv.weight", 0), ("decoder.conv_in.weight", 1)
    )
    moments = votes.size(
        ("quant_conv.bias", 0), ("encoder.conv_out.bias", 0), ("encoder.conv_out.weight", 0)
    )
    if moments == latents:
        raise ValueError(
            f"its encoder tells {moments} numbers per token, as many as its decoder takes: "
            f"{votes.family} needs {2 * latents}, means and log-variances (double_z)"
        )
    return latents
