"""The official checkpoint of PAR: that of LlamaGen's kind, and the special tokens."""

from typing import Any

from torch import Tensor

from nextbasis.basis import orders
from nextbasis.families.common import llama_official
from nextbasis.families.common.llama_official import SECTIONS
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.par.config import PARConfig
from nextbasis.official.sizes import Votes

__all__ = ["RENAMES", "SECTIONS", "SIGNATURE", "constants", "host_order", "sizes"]

SPECIALS = "spe_tok_embeddings.special_embeddings"
SIGNATURE = (f"{SPECIALS}.weight", llama_official.CLASSES)
RENAMES = llama_official.RENAMES | {SPECIALS: "special_emb"}


def sizes(votes: Votes) -> tuple[dict[str, Any], None, dict[str, int]]:
    """Values of the config, and codebook and classes, from the shapes."""
    values, num_tokens, spec = llama_official.sizes(votes)
    parallel = votes.size((f"{SPECIALS}.weight", 0)) + 1
    return values | {"parallel": parallel}, num_tokens, spec


def constants(model: PARConfig, spec: TokenSpec) -> dict[str, Tensor]:
    """PAR's official state dict holds no constants beside its parameters."""
    return {}


def host_order(model: PARConfig, spec: TokenSpec) -> Tensor:
    """Tokens are in the order of the regions."""
    return orders.par(*spec.grid, model.regions_per_side)
