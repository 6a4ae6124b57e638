"""MDTv2: a masked diffusion transformer over latents (Gao et al. 2023)."""

from nextbasis.families.family import Family

FAMILY = Family(name="mdtv2", title="MDTv2", tokens="numbers", captions=False)
