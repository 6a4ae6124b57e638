"""RAR: randomised autoregression over token ids (Yu et al. 2024)."""

from nextbasis.families.family import Family

FAMILY = Family(name="rar", title="RAR", tokens="ids", captions=False, order="annealed")
