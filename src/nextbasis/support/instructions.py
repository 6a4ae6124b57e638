"""Which instructions of a CPU its libraries may use: the same ones everywhere, for the same bits.

Kernels for AVX-512 add in another order than those for AVX2, so sums differ in their last digits
and a training ends elsewhere. All are held to AVX2, which every x86-64 processor of the last ten
years has, but for MKL: it keeps to AVX2 on Intel's processors alone, so it is held to what it calls
compatible with all. Its square roots differ even so: support/arithmetic.py has others. Outside of
the promise: other architectures, processors without AVX2, GPUs, and other versions of the
libraries.
"""

import os
from collections.abc import Mapping, MutableMapping
from typing import Any

KEY = "NEXTBASIS_INSTRUCTIONS"  # a variable of the environment
CHOICES = ("avx2", "native")  # the default; whatever the processor has, faster or not
VARIABLES = {  # read once, when torch and NumPy are loaded
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def pin(environment: MutableMapping[str, str] = os.environ) -> None:
    """Hold the libraries to AVX2, unless the environment says `native`; before they are loaded.

    A variable that is set already stays: who sets it knows why, and `described` tells.
    Raises: ValueError for another choice, naming those there are.
    """
    choice = environment.get(KEY, CHOICES[0])
    if choice not in CHOICES:
        raise ValueError(f"{KEY} must be one of {', '.join(CHOICES)}; got '{choice}'")
    if choice == CHOICES[0]:
        for name, value in VARIABLES.items():
            environment.setdefault(name, value)


def described() -> dict[str, Any]:
    """What torch uses, and whether all libraries are held to AVX2, for a result's provenance."""
    import torch

    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "pinned": all(os.environ.get(name) == value for name, value in VARIABLES.items()),
    }


def machine(content: Mapping[str, Any]) -> str:
    """Processor and instruction set that a result's file says made it; nothing if it does not."""
    made = content.get("provenance", content)
    if "instructions" not in made:
        return ""
    pinned = "pinned" if made["pinned"] else "not pinned"
    return f"{made['processor']} ({made['instructions']}, {pinned})"
