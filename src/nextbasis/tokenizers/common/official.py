"""Sizes of a convolutional autoencoder, read off the shapes of its official tensors."""

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
