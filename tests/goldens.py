"""What small models of ours compute, to be compared with tests/golden/models.safetensors.

The numbers were written while the same code agreed with the official models' fixtures, so they
guard that agreement where the fixtures are not at hand. Weights are a closed form, no draws.
`python tests/goldens.py` writes the file anew, which only a change of the maths justifies.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import builders
from nextbasis.families.common.noise import ImageNoise
from nextbasis.tokenizers.kl16.config import KL16Config
from nextbasis.tokenizers.kl16.model import KL16Autoencoder
from nextbasis.tokenizers.llamagen_vq.config import LlamaGenVQConfig
from nextbasis.tokenizers.llamagen_vq.model import LlamaGenVQ
from nextbasis.tokenizers.maskgit_vqgan.config import MaskGITVQGANConfig
from nextbasis.tokenizers.maskgit_vqgan.model import MaskGITVQGAN
from nextbasis.tokenizers.sdvae.config import SDVAEConfig
from nextbasis.tokenizers.sdvae.model import SDVAE

PATH = Path(__file__).parent / "golden/models.safetensors"
LABELS = torch.tensor([0, 1, 4, 2])
SIZES = {"image_channels": 1, "width": 32, "multipliers": (1, 2), "num_blocks": 1}


def fill(module: nn.Module) -> None:
    """Give every weight a value that follows from its place: norms around 1, others around 0."""
    with torch.no_grad():
        for place, (name, parameter) in enumerate(module.named_parameters()):
            index = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.sin(0.37 * index.square() + place)
            around = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            scale = 1.0 / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_((around + scale * wave).view(parameter.shape))


def backbone(family: str) -> dict[str, Tensor]:
    """Loss, size of every gradient and samples, with and without guidance."""
    generator = builders.generator(family)
    fill(generator.backbone)
    draws = generator.backbone.draw(4, 0.6, torch.Generator().manual_seed(2))
    loss = generator.loss(builders.tokens(family), LABELS, draws).value
    loss.backward()
    norms = [parameter.grad.norm() for parameter in generator.backbone.parameters()]
    generator.eval()
    bound = (
        {"clip": 4.0, "num_steps": 20} if family == "mar" else {}
    )  # no training holds these samples down
    samples = {
        f"sample.{guidance}": generator.sample(
            LABELS,
            ImageNoise(3, range(4), torch.device("cpu")),
            builders.sampler_config(family, guidance=guidance, **bound),
        )
        for guidance in (1.0, 5.0)
    }
    return {"loss": loss.detach(), "gradient_norms": torch.stack(norms)} | samples


@torch.no_grad()
def kl16() -> dict[str, Tensor]:
    """Moments and the image of their means."""
    sizes = {"latent_channels": 4, "encoder_attention": (1,), "decoder_attention": ()}
    model = KL16Autoencoder(KL16Config(**SIZES | sizes | {"scale": 0.5}))
    fill(model)
    moments = model.encode(_images())
    return {"moments": moments, "image": model.decode(moments[:, :4])}


@torch.no_grad()
def vqgan() -> dict[str, Tensor]:
    """Ids and the image that they stand for."""
    sizes = {"latent_channels": 8, "codebook_size": 16, "commitment": 0.25}
    model = MaskGITVQGAN(MaskGITVQGANConfig(**SIZES | sizes))
    fill(model)
    ids = model.encode((_images() + 1) / 2)
    return {"ids": ids, "image": model.decode(ids)}


@torch.no_grad()
def llamagen_vq() -> dict[str, Tensor]:
    """Ids and the image that they stand for."""
    sizes = {"latent_channels": 8, "hidden_channels": 12, "codebook_size": 16}
    model = LlamaGenVQ(LlamaGenVQConfig(**SIZES | sizes))
    fill(model)
    ids = model.encode(_images())
    return {"ids": ids, "image": model.decode(ids)}


@torch.no_grad()
def sdvae() -> dict[str, Tensor]:
    """Moments and the image of their means."""
    sizes = {"widths": (8, 16), "num_blocks": 1, "latent_channels": 4, "groups": 4, "scale": 0.5}
    model = SDVAE(SDVAEConfig(image_channels=1, **sizes))
    fill(model)
    moments = model.encode(_images())
    return {"moments": moments, "image": model.decode(moments[:, :4])}


def _images() -> Tensor:
    return torch.sin(torch.arange(2 * 64, dtype=torch.float64) * 0.9).float().view(2, 1, 8, 8)


def compute() -> dict[str, Tensor]:
    """All numbers by name."""
    parts = {family: backbone(family) for family in ("mar", "xar", "rar")}
    parts |= {"kl16": kl16(), "vqgan": vqgan()}
    parts |= {"llamagen_vq": llamagen_vq(), "sdvae": sdvae()}
    return {f"{part}.{k}": t.contiguous() for part, ts in parts.items() for k, t in ts.items()}


if __name__ == "__main__":
    save_file(compute(), PATH)
