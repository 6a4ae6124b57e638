"""nextbasis: autoregressive image generation on y = A x, reproducible end to end."""

from nextbasis.support.instructions import pin

__version__ = "0.1.0"

pin()  # before anything imports torch
