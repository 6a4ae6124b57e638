"""The instruction set is chosen before torch is loaded, by default and by the environment."""

import os
import subprocess
import sys

import pytest
import torch

from nextbasis.support.instructions import KEY, VARIABLES, described, pin

SHOWN = (
    "import nextbasis.stages; from nextbasis.support.instructions import described as d; print(d())"
)


def started(**environment: str) -> dict[str, object]:
    """What a process of its own says, whatever is set in this one."""
    clean = {name: value for name, value in os.environ.items() if name not in (KEY, *VARIABLES)}
    command = [sys.executable, "-c", SHOWN]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return eval(done.stdout)  # a dictionary of two values, printed by the line above


def test_a_variable_that_is_set_stays() -> None:
    environment = {"ATEN_CPU_CAPABILITY": "default"}
    pin(environment)
    assert environment == VARIABLES | {"ATEN_CPU_CAPABILITY": "default"}


def test_native_sets_nothing_and_other_choices_are_refused() -> None:
    environment = {KEY: "native"}
    pin(environment)
    assert environment == {KEY: "native"}
    with pytest.raises(ValueError, match=f"{KEY} must be one of avx2, native; got 'avx512'"):
        pin({KEY: "avx512"})


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX2", reason="a processor without AVX2"
)
def test_stages_use_avx2_unless_told_otherwise() -> None:
    assert started() == {"instructions": "AVX2", "pinned": True}
    assert started(**{KEY: "native"})["pinned"] is False
    plain = started(ATEN_CPU_CAPABILITY="default")
    assert plain == {"instructions": "DEFAULT", "pinned": False}


@pytest.mark.skipif(KEY in os.environ, reason=f"{KEY} is set")
def test_the_tests_themselves_are_held_to_it() -> None:
    assert described() == {"instructions": "AVX2", "pinned": True}


def test_sums_depend_on_the_instruction_set_that_is_held() -> None:
    """Why it is held: the same sum of the same numbers, with two widths of vectors."""
    program = (
        "import nextbasis, torch\n"
        "x = torch.randn(4097, generator=torch.Generator().manual_seed(0))\n"
        "print((x @ x).item(), x.exp().sum().item(), x.softmax(0).square().sum().item())\n"
    )
    found = set()
    for capability in ("avx2", "default"):
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        found.add(done.stdout)
    assert len(found) == 2
