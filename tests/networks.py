"""Configs of the published tokenizers: as released, and small ones of the same kinds."""

from dataclasses import replace
from pathlib import Path

from yaml import safe_load

from nextbasis.config import section
from nextbasis.tokenizers.kl16.config import KL16TokenizerConfig
from nextbasis.tokenizers.llamagen_vq.config import LlamaGenVQTokenizerConfig
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANTokenizerConfig
from nextbasis.tokenizers.sdvae.config import SDVAETokenizerConfig
from nextbasis.tokenizers.var_vqvae.config import VARVQVAETokenizerConfig

FOLDER = Path(__file__).parents[1] / "config" / "tokenizer"
KL16: KL16TokenizerConfig = section("tokenizer", safe_load((FOLDER / "kl16.yaml").read_text()))
VQGAN: MaskGITVQGANTokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "maskgit_vqgan.yaml").read_text())
)
LLAMAGEN_VQ: LlamaGenVQTokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "llamagen_vq.yaml").read_text(encoding="utf-8"))
)
SDVAE: SDVAETokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "sdvae.yaml").read_text(encoding="utf-8"))
)
VAR: VARVQVAETokenizerConfig = section(
    "tokenizer", safe_load((FOLDER / "var_vqvae.yaml").read_text(encoding="utf-8"))
)
SMALL = {"width": 32, "multipliers": [1, 2, 1], "num_blocks": 1}
SMALL_KL = replace(KL16.network, **SMALL, latent_channels=4, encoder_attention=[2])
SMALL_VQ = replace(VQGAN.network, **SMALL, latent_channels=8, codebook_size=32)
SMALL_LLAMAGEN_VQ = replace(
    LLAMAGEN_VQ.network, **SMALL, latent_channels=8, hidden_channels=16, codebook_size=32
)
SMALL_SDVAE = replace(SDVAE.network, widths=[8, 16, 16], num_blocks=1, groups=8)
SMALL_VAR = replace(VAR.network, **SMALL, latent_channels=8, codebook_size=32, levels=[1, 2, 3, 6])
# Of every published tokenizer a small config, and its list of official tensors.
SMALL_CONFIGS = {
    "kl16": replace(KL16, network=SMALL_KL),
    "llamagen_vq": replace(LLAMAGEN_VQ, network=SMALL_LLAMAGEN_VQ),
    "maskgit_vqgan": replace(VQGAN, network=SMALL_VQ),
    "sdvae": replace(SDVAE, network=SMALL_SDVAE),
    "var_vqvae": replace(VAR, network=SMALL_VAR),
}
MANIFESTS = {"kl16": "KL-16", "maskgit_vqgan": "maskgit_vqgan"}
MANIFESTS |= {"llamagen_vq": "llamagen_vq_ds16", "sdvae": "sdvae_compvis"}
MANIFESTS |= {"var_vqvae": "var_vqvae_ch160v4096z32"}
