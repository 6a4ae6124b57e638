"""Compare our PAR with a fixture, as all models of its kind."""

from nextbasis.families.common.llama_parity import run
from nextbasis.parity.fixture import Fixture

__all__ = ["knows", "run"]


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of PAR."""
    return fixture.kind == "par"
