"""Tell the families of official weights apart by the names of their tensors."""

from torch import Tensor

# Tensors that only this kind of model has.
SIGNATURES = {
    "mar": ("diffloss.net.input_proj.weight", "diffusion_pos_embed_learned", "fake_latent"),
    "xar": ("pred.weight", "encoder_blocks.0.ada_lin.1.weight", "z_proj_ln.weight"),
    "rar": ("lm_head.weight", "target_aware_pos_embed", "timesteps_embeddings"),
    "kl16": ("quant_conv.weight", "post_quant_conv.weight", "encoder.mid.attn_1.q.weight"),
    "maskgit_vqgan": ("quantize.embedding.weight", "encoder.conv_in.weight"),
    "titok": ("latent_tokens", "pixel_quantize.embedding.weight"),
}


def check_family(family: str, state: dict[str, Tensor]) -> None:
    """Nothing if most tensors typical of the family are there.

    Raises: ValueError naming the family found.
    """
    found = {
        name: sum(key in state for key in keys) / len(keys) for name, keys in SIGNATURES.items()
    }
    best = max(found, key=lambda name: found[name])
    if best == family or found[family] > 0.5:
        return
    if found[best] > 0.5:
        raise ValueError(f"the checkpoint is of family {best}, not {family}")
    raise ValueError(
        f"the checkpoint is not of family {family}: it lacks {', '.join(SIGNATURES[family])}; "
        f"it starts with {', '.join(list(state)[:4])}"
    )
