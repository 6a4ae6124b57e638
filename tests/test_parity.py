"""Our backbones against numbers that the official models produced (fixtures beside the project)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from nextbasis.backbones.mar import MAR
from nextbasis.backbones.mar import Draws as MARDraws
from nextbasis.backbones.rar import RAR
from nextbasis.backbones.rar import Draws as RARDraws
from nextbasis.backbones.xar import XAR
from nextbasis.backbones.xar import Draws as XARDraws
from nextbasis.config import (
    MARConfig,
    MARSamplerConfig,
    OrderConfig,
    RARConfig,
    RARSamplerConfig,
    XARConfig,
    XARSamplerConfig,
)
from nextbasis.layers.parts import patchify
from nextbasis.noise import ImageNoise

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures"
SAMPLER = {"num_images": 1, "batch_size": 1, "latency_images": 1}


def load(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = FIXTURES / f"{name}_open.safetensors"
    if not path.exists():
        pytest.skip("needs the official models' fixtures, which are not part of the product")
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    return tensors, json.loads(metadata.get("description") or metadata["config"])


def load_weights(
    model: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, renames: Any
) -> None:
    state = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            key = key.removeprefix(prefix)
            for old, new in renames.items():
                key = key.replace(old, new)
            state[key] = tensor
    model.load_state_dict(state, strict=False)
    missing = set(dict(model.named_parameters())) - set(state)
    assert not missing


def mar() -> tuple[MAR, dict[str, Tensor], dict[str, Any]]:
    tensors, description = load("mar")
    c = description["config"]
    config = MARConfig(
        family="mar",
        encoder_width=c["encoder_embed_dim"],
        encoder_depth=c["encoder_depth"],
        encoder_heads=c["encoder_num_heads"],
        decoder_width=c["decoder_embed_dim"],
        decoder_depth=c["decoder_depth"],
        decoder_heads=c["decoder_num_heads"],
        mlp_ratio=c["mlp_ratio"],
        buffer_size=c["buffer_size"],
        dropout=0.0,
        label_drop=c["label_drop_prob"],
        head_width=c["diffloss_w"],
        head_depth=c["diffloss_d"],
        head_batch_mul=c["diffusion_batch_mul"],
        mask_ratio_min=c["mask_ratio_min"],
        mask_ratio_std=0.25,
    )
    side = c["img_size"] // c["vae_stride"] // c["patch_size"]
    model = MAR(config, (side, side), description["token_dim"], c["class_num"])
    load_weights(model, tensors, "weights.", MAR_RENAMES)
    return model, tensors, description


MAR_RENAMES = {
    "fake_latent": "null_class",
    "encoder_pos_embed_learned": "encoder_pos",
    "decoder_pos_embed_learned": "decoder_pos",
    "diffusion_pos_embed_learned": "head_pos",
    "diffloss.net.": "head.",
}


def test_mar_loss_and_gradients_equal_official() -> None:
    model, t, description = mar()
    levels = description["config"]["diffusion_batch_mul"]
    batch, n = t["loss.orders"].shape
    draws = MARDraws(
        order=t["loss.orders"].long(),
        num_hidden=int(t["loss.num_masked"]),
        label_drop=t["loss.label_drop"].bool(),
        step=t["loss.t"].long().view(levels, batch, n),
        noise=t["loss.noise"].view(levels, batch, n, -1),
    )
    latents = patchify(t["loss.latents"], 1)
    loss = model.loss(latents, t["loss.labels"].long(), draws)
    torch.testing.assert_close(loss.value, t["loss.value"], atol=1e-4, rtol=1e-4)
    loss.value.backward()
    for name, parameter in model.named_parameters():
        for new, old in {new: old for old, new in MAR_RENAMES.items()}.items():
            name = name.replace(new, old) if name.startswith(new) else name
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, t[f"grads.{name}"], atol=1e-4, rtol=1e-3)


class RecordedMARNoise(ImageNoise):
    """Replays the fixture's noise, laid out by token position."""

    def __init__(self, t: dict[str, Tensor], run: str, new: list[Tensor]) -> None:
        self.t, self.run, self.new, self.calls = t, run, new, 0

    def orders(self, num_tokens: int) -> Tensor:
        return self.t["sample.orders"].long()

    def normal(self, count: int, channels: int) -> Tensor:
        """Call 0 of an iteration is the start; call i + 1 the noise after its i-th step."""
        start, steps = (
            self.t[f"sample.{self.run}.noise_init"],
            self.t[f"sample.{self.run}.noise_steps"],
        )
        iteration, call = divmod(self.calls, len(steps))
        self.calls += 1
        rows = start if call == 0 else steps[call - 1]
        return rows[self.new[iteration]].view(len(start), count, channels)


@pytest.mark.parametrize("run", ["cfg1", "linear", "constant"])
def test_mar_samples_equal_official(run: str) -> None:
    model, t, description = mar()
    load_weights(
        model,
        {
            **t,
            **{
                k.replace("weights_sampling.", "weights."): v
                for k, v in t.items()
                if k.startswith("weights_sampling.")
            },
        },
        "weights.",
        MAR_RENAMES,
    )
    settings = description["sampling_runs"][run]
    masks = t[f"sample.{run}.mask_before_iter"].bool()
    after = torch.cat((masks[1:], torch.zeros_like(masks[:1])))
    noise = RecordedMARNoise(t, run, list(masks & ~after))
    sampler = MARSamplerConfig(
        family="mar",
        guidance=settings["cfg"],
        guidance_schedule=settings["cfg_schedule"],
        temperature=settings["temperature"],
        num_iter=description["num_iter"],
        num_steps=description["diffusion_steps"],
        clip=0.0,
        **SAMPLER,
    )
    model.eval()
    out = model.sample(t["sample.labels"].long(), noise, sampler)
    torch.testing.assert_close(out, patchify(t[f"sample.{run}.out"], 1), atol=1e-3, rtol=1e-3)


def xar() -> tuple[XAR, dict[str, Tensor], dict[str, Any]]:
    tensors, description = load("xar")
    c = description["config"]
    config = XARConfig(
        family="xar",
        width=c["dim"],
        encoder_depth=c["encoder_depth"],
        decoder_depth=c["decoder_depth"],
        num_heads=c["num_heads"],
        cells_per_side=2,
        dropout=0.0,
        label_drop=c["label_drop_prob"],
    )
    model = XAR(config, (16, 16), description["token_dim"], description["num_class_rows"] - 1)
    renames = {
        "encoder_pos_embed_learned": "encoder_pos",
        "decoder_pos_embed_learned": "decoder_pos",
    }
    load_weights(model, tensors, "weights.", renames)
    return model, tensors, description


def test_xar_loss_and_gradients_equal_official() -> None:
    model, t, _ = xar()
    draws = XARDraws(
        label_drop=t["loss.label_drop"].bool(),
        time=t["loss.time"].T,
        noise=t["loss.noise"].flatten(1, 2),
    )
    y = patchify(t["loss.latents"], 1)[:, model.host_order]
    loss = model.loss(y, t["loss.labels"].long(), draws)
    torch.testing.assert_close(loss.value, t["loss.value"], atol=1e-4, rtol=1e-4)
    loss.value.backward()
    for name, parameter in model.named_parameters():
        key = f"grads.{name}".replace("_pos", "_pos_embed_learned")
        if key in t and parameter.grad is not None and parameter.grad.shape == t[key].shape:
            torch.testing.assert_close(parameter.grad, t[key], atol=1e-4, rtol=1e-3)


class RecordedXARNoise(ImageNoise):
    """Replays the fixture's noise: the start of each cell, then its SDE steps."""

    def __init__(self, t: dict[str, Tensor], run: str) -> None:
        self.start = t[f"sample.{run}.noise_init"]
        self.steps = t.get(f"sample.{run}.noise_sde")
        self.calls = 0

    def normal(self, *shape: int) -> Tensor:
        per_cell = 1 + (0 if self.steps is None else self.steps.shape[1])
        cell, call = divmod(self.calls, per_cell)
        self.calls += 1
        return self.start[cell] if call == 0 else self.steps[cell, call - 1]  # type: ignore[index]


@pytest.mark.parametrize("run", ["sde_cfg", "sde_nocfg"])
def test_xar_samples_equal_official(run: str) -> None:
    model, t, description = xar()
    settings = description["sampling_runs"][run]
    sampler = XARSamplerConfig(
        family="xar",
        guidance=settings["cfg"],
        solver=settings["sampler"],
        num_steps=settings["num_steps"],
        **SAMPLER,
    )
    model.eval()
    noise = RecordedXARNoise(t, run)
    out = model.sample(t["sample.labels"].long(), noise, sampler)
    official = t[f"sample.{run}.cells"].transpose(0, 1).flatten(1, 2).float()
    torch.testing.assert_close(out, official, atol=1e-4, rtol=1e-4)


def rar() -> tuple[RAR, dict[str, Tensor], dict[str, Any]]:
    tensors, c = load("rar")
    config = RARConfig(
        family="rar",
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        num_heads=c["num_attention_heads"],
        mlp_width=c["intermediate_size"],
        dropout=0.0,
        label_drop=c["class_label_dropout"],
    )
    order = OrderConfig(scan="raster", anneal_start=0.0, anneal_end=0.0)
    model = RAR(config, (4, 4), c["codebook_size"], c["condition_num_classes"], order)
    length = model.num_tokens + 2
    for table in ("pos_embed", "target_aware_pos_embed", "timesteps_embeddings"):
        tensors[f"weights.{table}"] = tensors[f"weights.{table}"][:, :length]
    renames = {"adaln_before_head.adaLN_modulation": "final_modulation", "lm_head": "head"}
    load_weights(model, tensors, "weights.", renames)
    return model, tensors, c


@pytest.mark.parametrize("order", ["perm", "raster"])
def test_rar_loss_equals_official(order: str) -> None:
    model, t, _ = rar()
    orders = t["in.orders_perm"].long()
    if order == "raster":
        orders = torch.arange(16).expand_as(orders)
    draws = RARDraws(order=orders, label_drop=t["in.drop_mask"].bool())
    loss = model.loss(t["in.tokens"].long(), t["in.class_ids"].long(), draws)
    torch.testing.assert_close(loss.value, t[f"out.loss_{order}"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(loss.notes["accuracy"], t[f"out.acc_{order}"].float())


class RecordedRARNoise(ImageNoise):
    """Replays the fixture's uniform numbers."""

    def __init__(self, t: dict[str, Tensor]) -> None:
        self.t = t

    def uniform(self, *shape: int) -> Tensor:
        return self.t["in.uniforms"].T

    def orders(self, num_tokens: int) -> Tensor:
        return self.t["in.orders_perm"].long()


@pytest.mark.parametrize(
    ("run", "guidance", "power", "temperature"),
    [
        ("gen0", 4.0, 0.0, 1.0),
        ("gen1", 16.0, 2.75, 1.02),
        ("gen2", 1.0, 1.0, 1.0),
        ("gen_perm", 4.0, 0.0, 1.0),
    ],
)
def test_rar_samples_equal_official(
    run: str, guidance: float, power: float, temperature: float
) -> None:
    model, t, _ = rar()
    if run == "gen_perm":
        model.order_config.anneal_start = 1.0
    sampler = RARSamplerConfig(
        family="rar", guidance=guidance, guidance_power=power, temperature=temperature, **SAMPLER
    )
    model.eval()
    ids = model.sample(t["in.class_ids"].long(), RecordedRARNoise(t), sampler)
    key = "out.gen_perm.icdf.ids_on_grid" if run == "gen_perm" else f"out.{run}.icdf.ids"
    assert torch.equal(ids, t[key].long())
