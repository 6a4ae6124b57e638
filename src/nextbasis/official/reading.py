"""Tell the families of official weights apart by the names of their tensors."""

from torch import Tensor

from nextbasis.families import find, names

# Tensors that only this kind of tokenizer has; those of a family are in its part `official`.
TOKENIZERS = {
    "kl16": ("quant_conv.weight", "post_quant_conv.weight", "encoder.mid.attn_1.q.weight"),
    "maskgit_vqgan": ("quantize.embedding.weight", "encoder.conv_in.weight"),
    "titok": ("latent_tokens", "pixel_quantize.embedding.weight"),
}


def check_family(family: str, state: dict[str, Tensor]) -> None:
    """Nothing if most tensors typical of the family are there.

    Raises: ValueError naming the family found.
    """
    signatures = {name: find(name).part("official").SIGNATURE for name in names()} | TOKENIZERS
    found = {
        name: sum(key in state for key in keys) / len(keys) for name, keys in signatures.items()
    }
    best = max(found, key=lambda name: found[name])
    if best == family or found[family] > 0.5:
        return
    if found[best] > 0.5:
        raise ValueError(f"the checkpoint is of family {best}, not {family}")
    raise ValueError(
        f"the checkpoint is not of family {family}: it lacks {', '.join(signatures[family])}; "
        f"it starts with {', '.join(list(state)[:4])}"
    )
