"""PAR: ids of distant regions drawn together (Wang et al. 2024)."""

from nextbasis.families.family import Family

FAMILY = Family(name="par", title="PAR", tokens="ids", captions=False)
