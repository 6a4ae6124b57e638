"""Diagnosing a trained basis: numbers, prefixes and contributions against closed forms; errors."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ortho_group

from builders import basis_config, model_config, order_config, write_cache
from gpus import Gpu
from nextbasis.basis import make
from nextbasis.basis.statistics import klt
from nextbasis.config import DiagnoseStage, TrainStage
from nextbasis.config import compose as compose_here
from nextbasis.data.layout import TokenLayout
from nextbasis.families.common.checkpoint import save_generator
from nextbasis.families.common.generator import Generator, build
from nextbasis.families.common.spec import TokenSpec
from nextbasis.stages import diagnose
from nextbasis.support.files import read_json
from nextbasis.tokenizers.common.loading import build as build_tokenizer
from nextbasis.tokenizers.common.loading import save_tokenizer
from nextbasis.tokenizers.patches.config import PatchesConfig

ROOT = Path(__file__).parents[2]
FOLDER = Path("results/test/diagnose/one")
NUM_IMAGES, SIDE, CHANNELS = 60, 4, 4
NUM_TOKENS = SIDE**2


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached tokens and their tokenizer (patches of 8x8 images), as the stages leave them."""
    monkeypatch.chdir(tmp_path)
    folder, labels = Path("results/test/tokens/patches"), np.arange(NUM_IMAGES) % 5
    layout = TokenLayout.of_grid((SIDE, SIDE), channels=CHANNELS)
    write_cache(folder, tokens()[:, None].numpy(), labels, layout)
    config = PatchesConfig(kind="patches", encode_batch_size=9, downsample=2, latent_channels=4)
    folder = Path("results/test/tokenizer/patches")
    folder.mkdir(parents=True)
    save_tokenizer(build_tokenizer(config, 8, 1), config, {"size": 8, "channels": 1}, folder)


def tokens() -> torch.Tensor:
    """Neighbouring tokens resemble each other, in raster order."""
    random = torch.Generator().manual_seed(0)
    return 0.3 * torch.randn(NUM_IMAGES, NUM_TOKENS, CHANNELS, generator=random).cumsum(1)


def trained(family: str, basis: Any, num_rows: int = 0) -> Generator:
    spec = TokenSpec.of_grid(
        grid=(SIDE, SIDE), channels=CHANNELS, codebook_size=0, num_classes=5, num_rows=num_rows
    )
    return build(model_config(family), basis, order_config(), spec)


def save(made: Generator, family: str, basis: Any, num_rows: int = 0) -> None:
    given = [
        "scale=test",
        "key=run",
        "tokens=patches",
        "captions=classes",
        f"model=small/{family}_b",
    ]
    given += [f"train=tiny/{family}", "basis=identity", "order=raster"]
    train = compose_here("train", given, ROOT / "config")
    assert isinstance(train, TrainStage)
    train.model, train.basis = model_config(family), basis
    spec = TokenSpec.of_grid(
        grid=(SIDE, SIDE), channels=CHANNELS, codebook_size=0, num_classes=5, num_rows=num_rows
    )
    save_generator(Path("results/test/train/run"), made, deepcopy(made), train, spec)


def stage(num_images: int = NUM_IMAGES) -> DiagnoseStage:
    return DiagnoseStage(
        reproducible=True, scale="test", key="one", run="run", num_images=num_images
    )


def learned_xar() -> torch.Tensor:
    """A learned xAR basis, neither identity nor orthogonal; returns A."""
    basis = basis_config(learned=True)
    made = trained("xar", basis)
    a = torch.from_numpy(ortho_group.rvs(NUM_TOKENS, random_state=1)).float()
    a = a * torch.linspace(0.7, 1.3, NUM_TOKENS)[:, None]
    assert made.basis is not None
    made.basis.set_start(a, a.T, torch.arange(NUM_TOKENS))
    save(made, "xar", basis)
    return a


def test_numbers_are_those_of_the_coefficients_in_the_host_s_order() -> None:
    a = learned_xar()
    diagnose.main(stage())
    found = read_json(FOLDER / "metrics.json")
    x = tokens()[:, trained("xar", basis_config()).host_order].double()
    y = torch.einsum("mn,ind->imd", a.double(), x)
    energy = y.square().mean((0, 2))
    np.testing.assert_allclose(found["variance"], energy, rtol=1e-5)
    shares = (energy / energy.sum()).cumsum(0)
    np.testing.assert_allclose(found["cumulative_energy"], shares, rtol=1e-5)
    of_x = x.square().mean((0, 2))
    np.testing.assert_allclose(
        found["cumulative_energy_identity"], (of_x / of_x.sum()).cumsum(0), rtol=1e-5
    )
    in_klt = torch.einsum("mn,ind->imd", klt(x).double(), x).square().mean((0, 2))
    np.testing.assert_allclose(
        found["cumulative_energy_klt"], (in_klt / in_klt.sum()).cumsum(0), rtol=1e-4
    )
    most = np.array(found["cumulative_energy_klt"]) + 1e-12  # both end at 1, up to rounding
    assert (most >= found["cumulative_energy_identity"]).all()
    assert np.all(np.array(found["conditional_variance"]) <= np.array(found["variance"]) + 1e-9)
    assert (found["num_images"], found["run"]) == (NUM_IMAGES, "run")
    assert found["klt_overlap_rows"] == [1, 2, 4, 8, 16]
    assert found["klt_overlap"][-1] == pytest.approx(1)
    assert found["energy_first_quarter"] == pytest.approx(found["cumulative_energy"][3])


@pytest.mark.parametrize("name", ["var", "titok"])
def test_frames_and_few_rows_are_diagnosed_too(name: str) -> None:
    options = {"tokens": tokens()} if name == "titok" else {}
    frame, basis = make(name, SIDE, SIDE, **options), basis_config()
    made = trained("mar", basis, frame.num_rows)
    assert made.basis is not None
    made.basis.set_start(frame.A.float(), frame.S.float(), frame.step_of)
    save(made, "mar", basis, frame.num_rows)
    diagnose.main(stage())
    found = read_json(FOLDER / "metrics.json")
    assert len(found["variance"]) == found["num_rows"] == frame.num_rows
    left = np.array(found["conditional_variance"])
    assert (left > 1e-6 * np.array(found["variance"])).sum() == frame.rank
    if name == "titok":
        np.testing.assert_allclose(found["klt_overlap"], 1, rtol=1e-5)


def test_pictures_have_a_column_a_prefix_and_a_place_a_row() -> None:
    learned_xar()
    diagnose.main(stage())
    for name in ("grid.png", "rows.png"):
        with Image.open(FOLDER / name) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 20
    diagnosis = diagnose.Diagnosis(stage())
    pictures, captions, columns = diagnose.prefix_pictures(diagnosis)
    assert captions[:columns] == [f"first {k}" for k in (1, 2, 4, 8, 16)] + ["all tokens"]
    rows = pictures.reshape(diagnose.SHOWN_IMAGES, columns, 8, 8, 1).astype(int)
    assert np.abs(rows[:, -1] - rows[:, -2]).max() <= 1
    assert np.abs(rows[:, -1] - rows[:, 0]).mean() > 5


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, 0, 1, 0, 2, 1, 0], [1, 2, 0, 3, 5]),  # a class has another turn after all have had one
        ([0, 0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4]),  # without classes
        ([5, 4, 3, 2, 1, 0, 6], [5, 4, 3, 2, 1]),
        ([1, 0], [1, 0]),
    ],
)
def test_pictured_images_are_of_all_classes_in_turn(labels: list[int], expected: list[int]) -> None:
    assert diagnose.first_of_classes(np.array(labels), 5).tolist() == expected


def test_prefixes_of_an_orthogonal_basis_miss_the_energy_of_the_rest() -> None:
    x = tokens()
    a = klt(x)
    parts = diagnose.prefixes(a, a.T, x, [1, 5, NUM_TOKENS])
    y = torch.einsum("mn,ind->imd", a, x)
    for position, length in enumerate((1, 5, NUM_TOKENS)):
        error = (parts[:, position] - x).square().sum((1, 2))
        expected = y[:, length:].square().sum((1, 2))
        torch.testing.assert_close(error, expected, rtol=1e-4, atol=1e-5)


def test_contribution_is_the_row_times_the_coefficient_s_direction() -> None:
    """Channels that all carry c times one signal: the direction is c, its size the RMS."""
    random = torch.Generator().manual_seed(2)
    signal = torch.randn(NUM_IMAGES, NUM_TOKENS, 1, generator=random)
    c = torch.tensor([0.6, -0.8, 0.0])
    a = torch.from_numpy(ortho_group.rvs(NUM_TOKENS, random_state=3)).float()
    added = diagnose.contributions(a, a.T, signal * c)
    rms = torch.einsum("mn,ind->imd", a, signal).square().mean((0, 2)).sqrt()
    expected = torch.einsum("m,mn,d->mnd", rms, a, -c)  # the largest entry is made positive
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


def test_fewer_images_are_evenly_spaced() -> None:
    learned_xar()
    assert len(diagnose.Diagnosis(stage(20)).x) == 20
    assert diagnose.Diagnosis(stage(20)).labels.tolist() == (np.arange(0, 60, 3) % 5).tolist()


def test_bad_input_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="train/run/model.safetensors"):
        diagnose.main(stage())
    learned_xar()
    with pytest.raises(ValueError, match="num_images must be above 0, got 0"):
        diagnose.main(stage(0))
    Path("results/test/tokenizer/patches/index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer/patches/index\.json"):
        diagnose.main(stage())
    assert not FOLDER.exists()


def test_ids_have_no_basis() -> None:
    spec = TokenSpec.of_grid((SIDE, SIDE), codebook_size=11, num_classes=5)
    made = build(model_config("rar"), basis_config(), order_config(), spec)
    given = [
        "scale=test",
        "key=run",
        "tokens=vq",
        "captions=classes",
        "model=small/rar_b",
        "train=tiny/rar",
    ]
    train = compose_here("train", [*given, "basis=identity", "order=raster"], ROOT / "config")
    train.model, train.basis = model_config("rar"), basis_config()
    save_generator(Path("results/test/train/run"), made, deepcopy(made), train, spec)
    with pytest.raises(ValueError, match="run=run models ids, which have no basis"):
        diagnose.main(stage())


def grey_levels() -> np.ndarray:
    return np.asarray(Image.open(FOLDER / "grid.png")).astype(int)


def test_a_diagnosis_on_a_gpu_is_that_of_the_cpu(gpu: Gpu) -> None:
    basis = basis_config(learned=True, init="random", projection="hard")
    save(trained("xar", basis), "xar", basis)
    diagnose.main(stage())
    here, picture = read_json(FOLDER / "metrics.json"), grey_levels()
    with gpu(deterministic=True):
        diagnose.main(stage())
    there = read_json(FOLDER / "metrics.json")
    for name in ("variance", "conditional_variance", "cumulative_energy", "klt_overlap"):
        np.testing.assert_allclose(there[name], here[name], rtol=gpu.rounding * 1e-5)
    assert np.abs(grey_levels() - picture).max() <= int(gpu.is_real)
