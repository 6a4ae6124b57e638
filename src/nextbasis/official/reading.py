"""Read an official PyTorch checkpoint without running any code that it may hold."""

import argparse
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
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
DAMAGED = "is not a complete PyTorch file of tensors; download it again"
SOURCES = ("model_ema", "model")  # sections of a training checkpoint, best first


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """The weights of an official file, and which they are: model_ema, model or flat.

    Raises: FileNotFoundError; ValueError if the file is damaged, would run code, or holds no
    weights.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    try:
        # Official files keep the arguments of their training, a namespace of plain values.
        with (
            warnings.catch_warnings(action="ignore"),  # what torch cannot read, it refuses
            torch.serialization.safe_globals([argparse.Namespace]),
        ):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} {_reason(error)}") from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise ValueError(f"{path} {DAMAGED} ({type(error).__name__} while reading)") from error
    return _weights(path, content)


def _reason(error: pickle.UnpicklingError) -> str:
    """What is wrong; torch's own message advises to run the code, so it is not repeated."""
    foreign = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error))
    if foreign is None:
        return f"{DAMAGED} (UnpicklingError while reading)"
    return (
        f"is refused: it holds an object ({foreign[1]}) that would run code when read; an official "
        "checkpoint holds tensors, numbers and an argparse.Namespace"
    )


def _weights(path: Path, content: Any) -> tuple[dict[str, Tensor], str]:
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; a checkpoint is a dict with model_ema, "
            "model, or the tensors themselves"
        )
    source = next((name for name in SOURCES if isinstance(content.get(name), dict)), "flat")
    state = content if source == "flat" else content[source]
    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if others or not state:
        names = f"no tensors: {', '.join(others[:8])}" if others else "nothing"
        raise ValueError(
            f"{path} holds {names}; it needs model_ema, model, or a flat dict of tensors"
        )
    return {str(name): tensor.detach() for name, tensor in state.items()}, source


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
