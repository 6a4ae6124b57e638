"""Official checkpoints imported and used on a GPU, pretend or real, against the CPU."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from builders import basis_config, codes, generator, model_config, sampler_config, tokens
from gpus import DEVICE, Gpu
from nextbasis.config import as_dict
from nextbasis.families import names
from nextbasis.families.common.backbone import ReadsCodes, moved
from nextbasis.families.common.checkpoint import load_generator
from nextbasis.families.common.noise import ImageNoise
from nextbasis.official import export_state, import_checkpoint, load_imported, save_imported
from nextbasis.official.imports import Imported
from nextbasis.official.names import RASTER

LABELS = torch.tensor([0, 1, 2, 4])
CPU = torch.device("cpu")


def official_file(family: str, path: Path) -> dict[str, Tensor]:
    """A small model's weights under their official names, saved as the official code does."""
    made = generator(family, order=RASTER).backbone
    state = {name: value.clone() for name, value in made.state_dict().items()}
    whole = Imported(
        family=family,
        source="model_ema",
        model=model_config(family),
        spec=made.spec,
        state=state,
        extra={},
    )
    official = export_state(whole)
    torch.save({"model_ema": official, "epoch": 1}, path)
    return official


def used(folder: Path, family: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The loss of an imported model, and what it samples."""
    made = load_generator(folder)[0].to(device)
    if isinstance(made.backbone, ReadsCodes):
        made.backbone.attach_codes(codes(made.backbone.spec))
    draws = moved(made.draw(4, 0.5, torch.Generator().manual_seed(0)), device)
    loss = made.loss(tokens(family).to(device), LABELS.to(device), draws).value
    noise = ImageNoise(0, range(4), device)
    drawn = made.sample(LABELS.to(device), noise, sampler_config(family))
    return loss.detach(), drawn


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("family", names())
def test_an_imported_model_does_there_what_it_does_on_the_cpu(
    family: str, deterministic: bool, tmp_path: Path, gpu: Gpu
) -> None:
    path, given = tmp_path / "official.pth", as_dict(model_config(family))
    official = official_file(family, path)
    grid = None if family == "var" else (4, 4)  # VAR's levels stand in its constants
    here = import_checkpoint(family, path, given, grid)
    save_imported(tmp_path / "here", here, basis_config(), RASTER)
    loss, drawn = used(tmp_path / "here", family, CPU)
    with gpu(deterministic):
        imported = import_checkpoint(family, path, given, grid)
        save_imported(tmp_path / "there", imported, basis_config(), RASTER)
        exported = export_state(load_imported(tmp_path / "there"))
        their_loss, their_drawn = used(tmp_path / "there", family, DEVICE)
        assert their_loss.is_cuda and their_drawn.is_cuda
        found = their_loss.cpu(), their_drawn.cpu()
    assert exported.keys() == official.keys()
    assert all(torch.equal(exported[name], value) for name, value in official.items())
    torch.testing.assert_close(found[0], loss, rtol=gpu.rounding * 1e-5, atol=1e-6)
    # MAR's first denoising steps multiply rounding by thousands.
    assert (found[1] - drawn).abs().max() <= gpu.rounding * 5e-3 * drawn.abs().max()
