"""Trained and imported models as objects that make images: `nextbasis.load`."""
