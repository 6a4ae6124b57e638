"""DiT: a transformer that denoises all latents of an image at once (Peebles & Xie 2023)."""

from nextbasis.families.family import Family

FAMILY = Family(name="dit", title="DiT", tokens="numbers", captions=False)
