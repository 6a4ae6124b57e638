"""Pictures of bases: prefixes against a loop, and pairs of one noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nextbasis.figures import pictures
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.tables.inputs import MODEL_FIGURES, model_figures_of, model_inputs, pairs_of

ROOT = Path(__file__).parents[2]


def test_pairs_are_those_of_the_tables_and_share_a_seed() -> None:
    catalog = load_catalog(ROOT)
    found = pairs_of(catalog, "cpu")
    assert {("mar_b", "mar_b_bar"), ("xar_b", "xar_b_bar")} <= {
        (pair.baseline, pair.system) for pair in found
    }
    runs = catalog["cpu"]["runs"]
    assert all(runs[pair.baseline]["seed"] == runs[pair.system]["seed"] for pair in found)
    assert model_figures_of(catalog, "cpu") == list(MODEL_FIGURES)
    assert "results/cpu/train/xar_b_bar/model.safetensors" in model_inputs(catalog, "cpu")


class Halves:
    """Stands for a tokenizer of two numbers in one row; a picture has a pixel a token."""

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.mT[:, :, None, :].clamp(-1, 1)


def test_prefixes_keep_the_first_coefficients_alone() -> None:
    made = pictures.Prefixes.__new__(pictures.Prefixes)
    random = torch.Generator().manual_seed(0)
    a = torch.linalg.qr(torch.randn(4, 4, generator=random))[0]
    made.x = 0.5 * torch.rand(2, 4, 1, generator=random)
    made.lengths, made.tokenizer = [1, 2], Halves()  # type: ignore[assignment]
    found = made.pictures(a, a.T)
    assert found.shape == (6, 1, 4, 1)
    for image, x in enumerate(made.x):
        for column, length in enumerate((1, 2, 4)):
            kept = sum(float(a[row] @ x[:, 0]) * a[row] for row in range(length))
            wanted = ((kept + 1) * 127.5).clamp(0, 255).round().numpy()
            np.testing.assert_allclose(found[3 * image + column, 0, :, 0], wanted, atol=1)
    np.testing.assert_allclose(found[2, 0, :, 0], ((made.x[0, :, 0] + 1) * 127.5).round(), atol=1)


def test_a_learned_basis_is_put_into_raster_order(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    order = torch.tensor([2, 0, 3, 1])
    a = torch.eye(4)[[1, 0, 2, 3]] * 2
    save_file({"basis": a, "host_order": order}, tmp_path / "model.safetensors")
    made = pictures.Prefixes.__new__(pictures.Prefixes)
    forward, back = made.learned(tmp_path)
    x = torch.randn(4)
    torch.testing.assert_close(forward @ x, a @ x[order])
    torch.testing.assert_close(back @ forward, torch.eye(4))


def test_strips_are_drawn(tmp_path: Path) -> None:
    from nextbasis.figures.plots import save

    rows = [
        pictures.Row("one", np.zeros((3, 4, 4, 1), np.uint8)),
        pictures.Row("two", np.full((3, 4, 4, 3), 200, np.uint8), learned=True),
    ]
    save({"a.png": lambda: pictures.strips(rows, ["1", "2", "all"], "title")}, tmp_path)
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_nothing_touches_the_edge_and_learned_rows_are_bold() -> None:
    names = {"raster order": False, "principal components (KLT)": False, "learned by A": True}
    rows = [pictures.Row(n, np.zeros((5, 4, 4, 1), np.uint8), bold) for n, bold in names.items()]
    figure = pictures.strips(rows, ["1", "2", "4", "8", "all"], "A title of the picture")
    figure.draw_without_rendering()
    labels = [axis.yaxis.label for axis in figure.axes if axis.get_ylabel()]
    assert [label.get_fontweight() == "bold" for label in labels] == list(names.values())
    texts = [text.get_window_extent() for text in (figure._suptitle, *labels)]
    assert min(box.x0 for box in texts) > 2 and max(box.y1 for box in texts) < figure.bbox.y1 - 2


def test_a_scale_without_pairs_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = load_catalog(ROOT)
    catalog["cpu"]["evals"] = {"rar_b": catalog["cpu"]["evals"]["rar_b"]}
    with pytest.raises(ValueError, match="no system without and with a learned basis"):
        pictures.draw(catalog, "cpu", Path())


def test_a_scale_half_done_shows_the_pairs_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = load_catalog(ROOT)
    every = pairs_of(catalog, "cpu")
    catalog["cpu"] |= {"awaited": frozenset({"mar_b_bar"})}
    (left,) = (pair for pair in every if pair.system == "mar_b_bar")
    assert pictures.made_pairs(catalog, "cpu") == [pair for pair in every if pair != left]
    assert capsys.readouterr().out == f"left out, not run yet: {left.label}\n"
    catalog["cpu"] |= {"awaited": frozenset(pair.system for pair in every)}
    with pytest.raises(FileNotFoundError, match="no pair of scale cpu is made"):
        pictures.draw(catalog, "cpu", Path())
