"""Official PAR (Epiphqny/PAR, autoregressive/models/) at the sizes of the benchmark."""

from functools import partial

from benchmarks.official import llama
from benchmarks.official.llama import loss, optimiser, prepare
from nextbasis.families.par import speed

__all__ = ["CHECKOUT", "build", "loss", "optimiser", "prepare", "sample"]

PARALLEL = speed.model(0.0).parallel
# How many tokens are drawn at once, and how many inputs stand for those before the first.
TOGETHER = {"ar_token_num": PARALLEL, "spe_token_num": PARALLEL - 1}
CHECKOUT = llama.CHECKOUT(name="par", repository="Epiphqny/PAR")
build = partial(llama.build, speed=speed, **TOGETHER)
sample = partial(llama.sample, speed=speed, **TOGETHER)
