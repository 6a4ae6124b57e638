"""Run commands of the command line in tests, on the official models' files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fixtures_at_hand import fixture_path
from nextbasis.commands.cli import main

ROOT = Path(__file__).parents[1]
HEADS = ["encoder_heads=4", "decoder_heads=2"]
FILES = [
    ("mar", "ckpt/mar_open/checkpoint-last.pth", HEADS, "model_ema"),
    ("xar", "ckpt/xar_open/checkpoint-last.pth", [], "model_ema"),
    ("xar", "ckpt/xar_open/xAR-flat.pth", [], "flat"),
    ("kl16", "ckpt/vae_open/kl16.ckpt", [], "model"),
    ("rar", "rar_open.safetensors", [], "flat"),
    ("var", "ckpt/var_open/var_d3.pth", ["drop_path=0.3", "gate_init=0.001"], "flat"),
    ("maskgit_vqgan", "vqgan_open.safetensors", [], "flat"),
    ("llamagen_vq", "ckpt/llamagen_vq_open/vq_ds16_c2i.pt", [], "model"),
    ("llamagen_vq", "ckpt/llamagen_vq_open/0005000.pt", [], "ema"),
    ("sdvae", "ckpt/sdvae_open/vae-ft-mse-840000-ema-pruned.ckpt", ["groups=8"], "state_dict"),
    ("var_vqvae", "ckpt/var_vqvae_open/vae_ch32v40z8.pth", [], "flat"),
]


def official_file(name: str, folder: Path) -> Path:
    """A checkpoint of the fixtures; one is made of the weights where they are in no such file."""
    path = fixture_path(name)
    if path.suffix != ".safetensors":
        return path
    parts = {n.removeprefix("weights."): t for n, t in load_file(path).items() if "weights." in n}
    torch.save(parts, folder / "official.pth")
    return folder / "official.pth"


def assert_same(ours: dict[str, Tensor], official: dict[str, Tensor]) -> None:
    assert set(ours) == set(official)
    for name, tensor in official.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, str]:
    """A command that succeeds; its report, without lines of progress."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    parts = (line.partition("  ") for line in out.splitlines())
    return {name: value.strip() for name, between, value in parts if between}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """A command that fails; its one line on standard error."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    return err
