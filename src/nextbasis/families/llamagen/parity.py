"""Compare our LlamaGen with a fixture, as all models of its kind."""

from nextbasis.families.common.llama_parity import run
from nextbasis.parity.fixture import Fixture

__all__ = ["knows", "run"]


def knows(fixture: Fixture) -> bool:
    """Whether a fixture is of LlamaGen."""
    return fixture.kind == "llamagen"
