"""VAR: visual autoregressive modelling by next-scale prediction (Tian et al. 2024)."""

from nextbasis.families.family import Family

FAMILY = Family(name="var", title="VAR", tokens="ids", captions=False)
