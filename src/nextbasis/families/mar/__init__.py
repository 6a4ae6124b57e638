"""MAR: masked autoregression with a diffusion head (Li et al. 2024)."""

from nextbasis.families.family import Family

FAMILY = Family(name="mar", title="MAR", tokens="numbers", captions=True)
