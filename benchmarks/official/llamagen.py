"""Official LlamaGen (FoundationVision/LlamaGen, its class-conditional GPT) at the same sizes."""

from functools import partial

from benchmarks.official import llama
from benchmarks.official.llama import loss, optimiser, prepare
from nextbasis.families.llamagen import speed

__all__ = ["CHECKOUT", "build", "loss", "optimiser", "prepare", "sample"]

CHECKOUT = llama.CHECKOUT(name="llamagen", repository="FoundationVision/LlamaGen")
build = partial(llama.build, speed=speed)
sample = partial(llama.sample, speed=speed)
