"""The official code beside ours: out of checkouts, timed in turn, named where it is not there."""

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import main, run
from benchmarks.measure import Timing, measure_pairs
from benchmarks.official.checkout import called
from benchmarks.official.work import is_known, official
from benchmarks.report import page, paired
from benchmarks.work import ROWS
from fake_checkouts import write_checkouts
from torch import nn

from nextbasis.families import names
from nextbasis.families.common.speed import Row

ROW = {row.key: row for row in ROWS}
FILES = {"mar": "models/mar.py", "xar": "models/xar.py", "rar": "modeling/rar.py"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_checkouts(tmp_path)


def built(key: str, root: Path) -> tuple[Any, Any]:
    """The adapter of a row's family, and the model that it builds."""
    part = import_module(f"benchmarks.official.{ROW[key].family}")
    with part.CHECKOUT.expected(root) as folder:
        return part, part.build(part.CHECKOUT.load(folder), ROW[key])


def official_row(key: str, root: Path) -> tuple[nn.Module, Any]:
    """A row's model after the work was done once, and what the work returned."""
    part, _ = built(key, root)
    kept: list[nn.Module] = []
    build = part.build

    def keeping(module: Any, row: Row) -> nn.Module:
        kept.append(build(module, row))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "build", keeping)
        done = official(ROW[key], root)()
    return kept[0], done


def test_checkouts_have_the_names_of_their_families() -> None:
    assert set(FILES) <= set(names()) and all(is_known(ROW[f"{name}-train"]) for name in FILES)
    for name, file in FILES.items():
        checkout = import_module(f"benchmarks.official.{name}").CHECKOUT
        assert checkout.name == name and checkout.module.replace(".", "/") + ".py" == file


def test_a_family_whose_official_code_is_not_known_is_measured_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_known(replace(ROW["mar-train"], family="another"))
    monkeypatch.setattr("benchmarks.__main__.work", lambda row: (lambda: None, 8, 1))
    monkeypatch.setattr("benchmarks.__main__.is_known", lambda row: False)
    (row,) = run([ROW["mar-train"]], repeats=2, root=root)
    assert len(row["cpu_seconds"]) == 2 and "ratio" not in row


def test_models_get_the_sizes_of_the_benchmark(root: Path) -> None:
    _, mar = built("mar-train", root)
    for name, value in {
        "encoder_embed_dim": 256,
        "decoder_depth": 4,
        "encoder_num_heads": 4,
    }.items():
        assert mar.told[name] == value
    assert mar.told["num_sampling_steps"] == "25" and mar.told["attn_dropout"] == 0.1
    assert mar.told["norm_layer"](8).eps == 1e-6
    _, xar = built("xar-train-nodrop", root)
    assert xar.told["encoder_embed_dim"] == xar.told["decoder_embed_dim"] == 256
    assert xar.told["leftovers"] == {}  # of which nothing is known
    _, rar = built("rar-train", root)
    generator = rar.told.model.generator
    assert (generator.hidden_size, generator.num_hidden_layers) == (256, 8)
    assert generator.image_seq_len == 256
    assert rar.told.model.vq_model.codebook_size == 1024 and rar.random_ratio == 0.5


@pytest.mark.parametrize("key", ["mar-train", "xar-train", "rar-train", "rar-train-bf16"])
def test_a_step_trains_the_official_model(key: str, root: Path) -> None:
    model: Any = official_row(key, root)[0]
    assert model.training
    if key == "rar-train":  # whose loss is ln 1024 whatever the gain is
        assert model.dropped == 0.1
    if key == "mar-train":
        assert model.hidden == 55
    # AdamW's first step is as long as its rate; a vector is not decayed.
    moved = 1 - model.gain.item()
    assert moved == pytest.approx(0.0 if key.startswith("rar") else 1e-4, rel=1e-2)
    assert model.gain.grad is None


def test_a_sampler_gets_the_settings_of_the_benchmark(root: Path) -> None:
    model, latents = official_row("mar-sample", root)
    asked: Any = model.asked
    assert (asked["bsz"], asked["num_iter"], asked["cfg"]) == (4, 16, 3.0)
    assert asked["cfg_schedule"] == "linear" and len(asked["labels"]) == 4
    assert latents.shape == (4, 16, 8, 8)
    head: Any = model.get_submodule("diffloss")
    assert head.weight.abs().max() > 0
    asked = official_row("xar-sample-cfg1", root)[0].asked
    assert (asked["bsz"], asked["num_steps"], asked["cfg"]) == (2, 8, 1.0)
    assert len(asked["label"]) == 2
    asked = official_row("rar-sample-cfg1", root)[0].asked
    assert asked["guidance_scale"] == 0 and asked["kv_cache"]
    asked = official_row("rar-sample", root)[0].asked
    assert asked["guidance_scale"] == 8.0 and asked["guidance_scale_pow"] == 1.2


def test_checkouts_whose_modules_share_names_do_not_meet(root: Path) -> None:
    path = list(sys.path)
    classes = [type(built(key, root)[1]).__name__ for key in ("mar-train", "xar-train")]
    assert classes == ["MAR", "Net"] and sys.path == path
    assert not {name.partition(".")[0] for name in sys.modules} & {"models", "flash_attn"}


def broken(root: Path, family: str, text: str) -> Path:
    path = root / family / FILES[family]
    path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("family", "text", "told"),
    [
        ("mar", "", "no attribute 'MAR'"),
        ("mar", "class MAR:\n    pass", "takes no arguments"),
        ("mar", "from models.missing import x", "it has no models.missing"),
        ("mar", "def", "invalid syntax"),
        ("xar", "", "models.xar defines 0 models with sample_tokens, not one"),
        ("rar", "from modeling.modules import absent", "cannot import name 'absent'"),
    ],
)
def test_a_checkout_of_another_shape_is_named(
    family: str, text: str, told: str, root: Path
) -> None:
    row = next(row for row in ROWS if row.family == family)
    with pytest.raises(ValueError, match=told) as caught:
        official(row, broken(root, family, text))
    assert str(caught.value).startswith(f"{root / family} must be a checkout of ")


def test_what_is_absent_is_named(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"elsewhere/mar must be a checkout of LTH14/mar"):
        official(ROW["mar-train"], root / "elsewhere")
    with pytest.raises(ValueError, match=r"rar needs the package nowhere_to_be: install it"):
        official(ROW["rar-train"], broken(root, "rar", "import nowhere_to_be.found"))


def test_a_model_of_another_size_is_refused(root: Path) -> None:
    path = root / "xar" / FILES["xar"]
    path.write_text(path.read_text(encoding="utf-8").replace("10_060_464", "100"), encoding="utf-8")
    with pytest.raises(ValueError, match="has 100 parameters where the work needs 10,060,464"):
        official(ROW["xar-train"], root)


def test_a_function_gets_what_it_has_names_for() -> None:
    def wants(a: int, b: int = 2, **rest: int) -> tuple[int, int, dict[str, int]]:
        return a, b, rest

    assert called(wants, a=1, c=3) == (1, 2, {})
    with pytest.raises(ValueError, match="wants a, of which nothing is known"):
        called(wants, b=1)


def test_two_calls_are_timed_in_turn() -> None:
    order: list[str] = []
    one, two = measure_pairs(lambda: order.append("a"), lambda: order.append("b"), rounds=3)
    assert order == ["a", "b"] * 4 and len(one.cpu) == len(two.wall) == 3


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    ours, theirs = (Timing(cpu=cpu, wall=cpu) for cpu in ([1.0, 2.0, 4.0], [2.0, 2.0, 12.0]))
    found = paired(ours, theirs, images=8)
    assert found["ratios"] == [2.0, 1.0, 3.0] and found["ratio"] == 2.0
    assert found["official_images_per_cpu_second"] == 4.0


def test_the_page_shows_both_rates(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.work", lambda row: (lambda: None, 8, 1))
    (row,) = run([ROW["mar-train-nodrop"]], repeats=1, root=root)
    assert len(row["ratios"]) == len(row["cpu_seconds"]) == 3
    machine = {"processor": "p", "instructions": "i", "torch": "t", "python": "p", "threads": 1}
    machine["matmul_gflop_per_cpu_second"] = {"float32, torch": {"8x8x8": 1.0}}
    alone = {name: value for name, value in row.items() if "ratio" not in name}
    text = page(machine, [row, {name: alone[name] for name in alone if "official_im" not in name}])
    both, ours = [line.split("|") for line in text.splitlines() if "mar-train" in line]
    rates = (row["official_images_per_cpu_second"], row["ratio"])
    assert [cell.strip() for cell in both[7:9]] == [f"{rate:.2f}" for rate in rates]
    assert [cell.strip() for cell in ours[7:9]] == ["-", "-"]
    assert "one call each in 3 rounds" in text


def test_the_command_ends_with_one_line(root: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--only", "mar-train-nodrop", "--official", str(root / "none")])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("error: ") and "none/mar must be a checkout of LTH14/mar" in line
