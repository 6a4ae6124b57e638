"""SiT: flow matching of all tokens at once (Ma et al. 2024), and REPA (Yu et al. 2025)."""

from nextbasis.families.family import Family

FAMILY = Family(name="sit", title="SiT", tokens="numbers", captions=False, least_snr=1.0)
