"""xAR: next-cell prediction by flow matching (Ren et al. 2025)."""

from nextbasis.families.family import Family

FAMILY = Family(name="xar", title="xAR", tokens="numbers", captions=True, least_snr=1.0)
