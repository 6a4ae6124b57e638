"""nextbasis: autoregressive image generation on y = A x, reproducible end to end."""

__version__ = "0.1.0"
