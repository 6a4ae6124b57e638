"""A trained model as stages train and tokenizer leave it, small enough for tests."""

from copy import deepcopy
from pathlib import Path

import torch

from builders import basis_config, model_config, order_config
from nextbasis.config import TrainStage, compose
from nextbasis.families.common.checkpoint import save_generator
from nextbasis.families.common.generator import build
from nextbasis.families.common.spec import TokenSpec
from nextbasis.support.files import write_json
from nextbasis.tokenizers.common.loading import build as build_tokenizer
from nextbasis.tokenizers.common.loading import save_tokenizer
from nextbasis.tokenizers.patches.config import PatchesConfig

ROOT = Path(__file__).parents[1]


def save_small_run(scale: str, run: str) -> None:
    """An xAR of five classes on patches of 8x8 images, below the working folder."""
    spec = TokenSpec.of_grid((4, 4), channels=4, num_classes=5)
    made = build(model_config("xar"), basis_config(), order_config(), spec)
    made.load_state_dict(generator_like(made))
    words = [f"scale={scale}", f"key={run}", "tokens=patches", "captions=classes"]
    words += ["model=small/xar_b", "train=tiny/xar", "basis=identity", "order=raster"]
    train = compose("train", words, ROOT / "config")
    assert isinstance(train, TrainStage)
    train.model, train.basis = model_config("xar"), basis_config()
    write_json(Path(f"results/{scale}/text/classes/index.json"), {"kind": "classes"})
    save_generator(Path(f"results/{scale}/train/{run}"), made, deepcopy(made), train, spec)
    config = PatchesConfig(kind="patches", encode_batch_size=9, downsample=2, latent_channels=4)
    folder = Path(f"results/{scale}/tokenizer/patches")
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer(config, 8, 1)
    save_tokenizer(tokenizer, config, {"size": 8, "channels": 1}, folder)


def generator_like(made: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights away from their start, so that samples differ from noise."""
    random = torch.Generator().manual_seed(3)
    state = made.state_dict()
    for name, tensor in state.items():
        if name.startswith("backbone."):
            state[name] = tensor + 0.1 * torch.randn(tensor.shape, generator=random)
    return state
