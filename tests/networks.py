"""Configs of the published tokenizers: as released, and small ones of the same kinds."""

from dataclasses import replace
from pathlib import Path

from yaml import safe_load

from nextbasis.config import section
from nextbasis.tokenizers.kl16.config import KL16TokenizerConfig
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANTokenizerConfig
from nextbasis.tokenizers.var_vqvae.config import VARVQVAETokenizerConfig

FOLDER = Path(__file__).parents[1] / "config" / "tokenizer"
KL16: KL16TokenizerConfig = section("tokenizer", safe_load((FOLDER / "kl16.yaml").read_text()))
VQGAN: MaskGITVQGANTokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "maskgit_vqgan.yaml").read_text())
)
VAR: VARVQVAETokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "var_vqvae.yaml").read_text())
)
SMALL = {"width": 32, "multipliers": [1, 2, 1], "num_blocks": 1}
SMALL_KL = replace(KL16.network, **SMALL, latent_channels=4, encoder_attention=[2])
SMALL_VQ = replace(VQGAN.network, **SMALL, latent_channels=8, codebook_size=32)
SMALL_VAR = replace(VAR.network, **SMALL, latent_channels=8, codebook_size=32, levels=[1, 2, 3, 6])
# Of every published tokenizer a small config, and its list of official tensors.
SMALL_CONFIGS = {
    "kl16": replace(KL16, network=SMALL_KL),
    "maskgit_vqgan": replace(VQGAN, network=SMALL_VQ),
    "var_vqvae": replace(VAR, network=SMALL_VAR),
}
MANIFESTS = {"kl16": "KL-16", "maskgit_vqgan": "maskgit_vqgan"}
MANIFESTS |= {"var_vqvae": "var_vqvae_ch160v4096z32"}
