"""Official files of the tokenizers KL-16 and MaskGIT-VQGAN; their tensors' names are ours."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from nextbasis.config import KL16Config, MaskGITVQGANConfig, as_dict
from nextbasis.families.common.checkpoint import CONFIG
from nextbasis.files import read_json, staged_folder, write_json
from nextbasis.official.reading import check_family
from nextbasis.official.sizes import Votes
from nextbasis.tokenizers import WEIGHTS
from nextbasis.tokenizers.published import OF_THE_LOSS, check_state
from nextbasis.weights import read_checkpoint

CONFIGS: dict[str, Any] = {"kl16": KL16Config, "maskgit_vqgan": MaskGITVQGANConfig}


@dataclass(kw_only=True)
class ImportedTokenizer:
    """An official tokenizer."""

    family: str
    source: str  # what the file called the weights: model or flat
    network: Any  # KL16Config or MaskGITVQGANConfig
    state: dict[str, Tensor]
    left_out: list[str]  # tensors of the training's loss, which no network has


def import_tokenizer(
    family: str, path: Path, given: Mapping[str, Any], published: Any
) -> ImportedTokenizer:
    """Read an official file; `given` are values of the config, which must agree with the shapes.

    What neither tells is as in the `published` config.

    Raises: FileNotFoundError; ValueError naming every wrong tensor, or what else is wrong.
    """
    state, source = read_checkpoint(path)
    left_out = [name for name in state if name.startswith(OF_THE_LOSS)]
    state = {name: tensor for name, tensor in state.items() if name not in left_out}
    try:
        check_family(family, state)
        network = _infer(family, state, given, published)
        check_state(family, network, state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return ImportedTokenizer(
        family=family, source=source, network=network, state=state, left_out=left_out
    )


def _infer(
    family: str, state: Mapping[str, Tensor], given: Mapping[str, Any], published: Any
) -> Any:
    votes = Votes(family, {name: tuple(tensor.shape) for name, tensor in state.items()}, given)
    told = _kl16(votes) if family == "kl16" else _maskgit_vqgan(votes)
    names = [field.name for field in fields(CONFIGS[family])]
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"{family} has no {', '.join(unknown)}; it has {', '.join(names)}")
    wrong = [
        f"{name} is given as {given[name]} and {value} in the checkpoint"
        for name, value in told.items()
        if name in given and given[name] != value
    ]
    if wrong:
        raise ValueError(f"the checkpoint is of another size: {'; '.join(wrong)}")
    if told.get("decoder_attention") and "scale" not in given:
        raise ValueError(
            "the decoder has attention, as that of latent diffusion's kl-f16 and unlike MAR's "
            "KL-16, so the scale of its latents is unknown; give scale=…"
        )
    return CONFIGS[family](**as_dict(published) | dict(given) | told)


def _kl16(votes: Votes) -> dict[str, Any]:
    values = _levels(votes)
    values["latent_channels"] = votes.size(
        ("post_quant_conv.bias", 0), ("post_quant_conv.weight", 0), ("decoder.conv_in.weight", 1)
    )
    levels = range(len(values["multipliers"]))
    for part, blocks in (("encoder", "down"), ("decoder", "up")):
        attention = [level for level in levels if votes.depth(f"{part}.{blocks}.{level}.attn")]
        values[f"{part}_attention"] = attention
    return values


def _maskgit_vqgan(votes: Votes) -> dict[str, Any]:
    codebook = "quantize.embedding.weight"
    return _levels(votes) | {
        "latent_channels": votes.size((codebook, 1), ("encoder.conv_out.bias", 0)),
        "codebook_size": votes.size((codebook, 0)),
    }


def _levels(votes: Votes) -> dict[str, Any]:
    """What the two networks have in common."""
    width = votes.size(("encoder.conv_in.weight", 0), ("encoder.down.0.block.0.norm1.weight", 0))
    blocks = [f"encoder.down.{level}.block.0" for level in range(votes.depth("encoder.down"))]
    widths = [votes.size((f"{b}.conv2.weight", 0), (f"{b}.norm2.weight", 0)) for b in blocks]
    return {
        "image_channels": votes.size(("decoder.conv_out.bias", 0), ("encoder.conv_in.weight", 1)),
        "width": width,
        "multipliers": [after // max(1, width) for after in widths],
        "num_blocks": votes.depth("encoder.down.0.block"),
    }


def save_tokenizer(folder: Path, imported: ImportedTokenizer) -> None:
    """Write weights, for config key tokenizer.weights, and the network's config; all or nothing."""
    config = {"family": imported.family, "network": as_dict(imported.network)}
    with staged_folder(folder) as staged:
        contiguous = {name: tensor.contiguous() for name, tensor in imported.state.items()}
        save_file(contiguous, staged / WEIGHTS)
        write_json(staged / CONFIG, config | {"imported": imported.source})


def load_tokenizer(folder: Path) -> ImportedTokenizer:
    """Read what `save_tokenizer` wrote.

    Raises: FileNotFoundError or ValueError naming the file.
    """
    config = read_json(folder / CONFIG)
    family = config["family"]
    network = CONFIGS[family](**config["network"])
    state, _ = read_checkpoint(folder / WEIGHTS)
    check_state(family, network, state)
    return ImportedTokenizer(
        family=family, source=config["imported"], network=network, state=state, left_out=[]
    )
