"""Small models and configs that tests share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nextbasis.config import BasisConfig, OrderConfig, TrainConfig, TrainStage
from nextbasis.data.layout import TokenLayout
from nextbasis.data.shards import FOLDER, entry, name_of, ranges, sha256_of
from nextbasis.families import find
from nextbasis.families.common.backbone import ReadsCodes
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.llama_config import LlamaConfig, LlamaSamplerConfig
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.dit.config import DiTConfig, DiTSamplerConfig
from nextbasis.families.mar.config import MARConfig, MARSamplerConfig
from nextbasis.families.mdtv2.config import MDTv2Config, MDTv2SamplerConfig
from nextbasis.families.par.config import PARConfig
from nextbasis.families.rar.config import RARConfig, RARSamplerConfig
from nextbasis.families.sit.config import SiTConfig, SiTSamplerConfig
from nextbasis.families.var.config import VARConfig, VARSamplerConfig
from nextbasis.families.xar.config import XARConfig, XARSamplerConfig
from nextbasis.support.files import write_json

SAMPLER = {"num_images": 4, "batch_size": 4, "latency_images": 1}
SAMPLER |= {"precision": "float32", "compile": False, "rounding": "round"}


def basis_config(**changes: Any) -> BasisConfig:
    values = {
        "init": "identity",
        "options": {},
        "gain": "none",
        "learned": False,
        "structure": "dense",
        "reflections": 0,
        "objective": "l_bar",
        "energy_weight": 0.5,
        "snr_clip": 1.0,
        "noise_level": "host",
        "detach_target": False,
        "residual_weight": 0.5,
        "regulariser": 0.1,
        "projection": "soft",
        "delta": 0.5,
        "lr": 1e-3,
    }
    return BasisConfig(**values | changes)


def model_config(family: str, **changes: Any) -> Any:
    shared = {"family": family, "dropout": 0.0, "label_drop": 0.1}
    if family == "dit":
        parts = {"width": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 4.0, "patch": 2}
        return DiTConfig(**shared | parts | changes)
    if family == "mar":
        parts = {"encoder_width": 16, "encoder_depth": 1, "encoder_heads": 2}
        parts |= {"decoder_width": 24, "decoder_depth": 1, "decoder_heads": 2}
        parts |= {"mlp_ratio": 2.0, "buffer_size": 3, "head_width": 16, "head_depth": 1}
        parts |= {"head_batch_mul": 2, "mask_ratio_min": 0.7, "mask_ratio_std": 0.25}
        return MARConfig(**shared | parts | changes)
    if family == "mdtv2":
        parts = {"width": 16, "depth": 3, "decoder_depth": 1, "num_heads": 2, "mlp_ratio": 2.0}
        parts |= {"patch": 2, "mask_ratio": 0.3, "mask_spread": 0.2, "snr_bound": 5.0}
        return MDTv2Config(**shared | parts | changes)
    if family == "xar":
        parts = {"width": 16, "encoder_depth": 1, "decoder_depth": 1, "num_heads": 2}
        return XARConfig(**shared | parts | {"cells_per_side": 2, "mlp_ratio": 4.0} | changes)
    if family in ("llamagen", "par"):
        parts = {"width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24}
        if family == "par":
            return PARConfig(**shared | parts | {"parallel": 4} | changes)
        return LlamaConfig(**shared | parts | changes)
    if family == "var":
        parts = {"width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24, "code_channels": 3}
        parts |= {"drop_path": 0.3, "gate_init": 1e-3, "shared_modulation": False}
        return VARConfig(**shared | parts | changes)
    if family == "sit":
        parts = {"width": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0, "patch": 2}
        parts |= {"time_one": "noise", "learn_sigma": False}
        return SiTConfig(**shared | parts | changes)
    assert family == "rar", f"no small config of {family} here: add one"
    parts = {"width": 16, "depth": 2, "num_heads": 2, "mlp_width": 24}
    return RARConfig(**shared | parts | changes)


def train_config(**changes: Any) -> TrainConfig:
    values = {"warmup": 0.1, "decay_start": 0.5, "min_lr": 0.0, "weight_decay": 0.02}
    values |= {"beta1": 0.9, "beta2": 0.95, "clip": 1.0, "ema_decay": 0.9, "log_every": 4}
    values |= {"checkpoint_minutes": 0.0, "nan_budget": 0, "precision": "float32"}
    values |= {"recompute": False, "parallel": "ddp", "compile": False}
    return TrainConfig(**values | changes)


def train_stage(
    model: Any, basis: BasisConfig, train: TrainConfig, key: str = "run", **changes: Any
) -> TrainStage:
    """The config of a training of the scale `test` on its tokens."""
    values = {"scale": "test", "seed": 0, "reproducible": True, "order": order_config()}
    values |= {"tokens": "tokens", "captions": "classes"}
    return TrainStage(key=key, model=model, basis=basis, train=train, **values | changes)


def order_config(scan: str = "raster", start: float = 0.5, end: float = 0.75) -> OrderConfig:
    return OrderConfig(scan=scan, anneal_start=start, anneal_end=end)


def token_spec(family: str, grid: tuple[int, int] = (4, 4)) -> TokenSpec:
    if family == "var":
        levels = ((1, 1), (grid[0] // 2, grid[1] // 2), grid)
        return TokenSpec(kind="ids", levels=levels, sizes=(11,), num_classes=5)
    size = {"codebook_size": 11} if find(family).tokens == "ids" else {"channels": 3}
    return TokenSpec.of_grid(grid, num_classes=5, **size)


def sampler_config(family: str, **changes: Any) -> Any:
    shared = {"family": family, "guidance": 2.0} | SAMPLER
    if family == "dit":
        parts = {"guided_channels": 0, "solver": "ddpm", "num_steps": 5}
        return DiTSamplerConfig(**shared | parts | changes)
    if family == "mar":
        parts = {"guidance_schedule": "linear", "num_iter": 3, "num_steps": 5, "temperature": 1.0}
        parts |= {"clip": 0.0}
        return MARSamplerConfig(**shared | parts | changes)
    if family == "mdtv2":
        parts = {"guided_channels": 0, "guidance_power": 4.0, "num_steps": 5}
        return MDTv2SamplerConfig(**shared | parts | changes)
    if family == "xar":
        return XARSamplerConfig(**shared | {"solver": "euler", "num_steps": 4} | changes)
    if family in ("llamagen", "par"):
        parts = {"guidance_interval": -1, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        return LlamaSamplerConfig(**shared | parts | changes)
    if family == "var":
        return VARSamplerConfig(**shared | {"top_k": 0, "top_p": 1.0} | changes)
    if family == "sit":
        parts = {"guided_channels": 0, "solver": "euler_maruyama", "num_steps": 5}
        parts |= {"guidance_low": 0.0, "guidance_high": 1.0}
        return SiTSamplerConfig(**shared | parts | changes)
    assert family == "rar", f"no small sampler of {family} here: add one"
    return RARSamplerConfig(**shared | {"guidance_power": 1.0, "temperature": 1.0} | changes)


def generator(family: str, basis: BasisConfig | None = None, **changes: Any) -> Generator:
    """A generator whose weights are all away from their zero initialisation."""
    spec, order = token_spec(family), changes.pop("order", order_config())
    torch.manual_seed(0)
    made = build(model_config(family, **changes), basis or basis_config(), order, spec)
    if isinstance(made.backbone, ReadsCodes):
        made.backbone.attach_codes(codes(spec))
    with torch.no_grad():
        for parameter in made.backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def codes(spec: TokenSpec, channels: int = 3) -> dict[str, torch.Tensor]:
    """What ids of several levels stand for (nextbasis.data.pyramid)."""
    random, levels = torch.Generator().manual_seed(2), len(spec.levels)
    shapes = {"codebook": (spec.size, channels), "biases": (levels, channels)}
    shapes["kernels"] = (levels, channels, channels, 3, 3)
    return {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def tokens(family: str, batch: int = 4) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    if find(family).tokens == "ids":
        return torch.randint(11, (batch, token_spec(family).num_tokens), generator=random)
    return torch.randn(batch, 16, 3, generator=random)


def write_cache(
    folder: Path,
    tokens: np.ndarray,
    labels: np.ndarray,
    layout: TokenLayout,
    shard_images: int = 1000,
    **index: Any,
) -> None:
    """A token cache as stage tokens leaves it; `index` changes what its index.json says."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    entries = []
    for number, part in enumerate(ranges(len(tokens), shard_images)):
        path = folder / FOLDER / name_of(number)
        np.save(path, tokens[part])
        entries.append(entry(path, part.stop - part.start))
    np.save(folder / "labels.npy", labels)
    values: dict[str, Any] = {"layout": layout.as_dict(), "posterior": False, "num_classes": 5}
    values |= {"num_views": tokens.shape[1], "mean": [], "scale": [], "shards": entries}
    write_json(folder / "index.json", values | {"tokens_sha256": sha256_of(entries)} | index)
