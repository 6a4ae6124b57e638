"""Compare our PAR with a fixture, as all models of its kind."""

from nextbasis.parity.fixture import Fixture
from nextbasis.parity.llama import run

__all__ = ["knows", "run"]


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of PAR."""
    return fixture.kind == "par"
