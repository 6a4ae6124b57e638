"""Compare our LlamaGen with a fixture, as all models of its kind."""

from nextbasis.parity.fixture import Fixture
from nextbasis.parity.llama import run

__all__ = ["knows", "run"]


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of LlamaGen."""
    return fixture.kind == "llamagen"
