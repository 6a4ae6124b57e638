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

ROW = {row.key: row for row in ROWS}
FILES = {"mar": "models/mar.py", "xar": "models/xar.py", "rar": "modeling/rar.py"}
FILES |= dict.fromkeys(("llamagen", "par"), "autoregressive/models/gpt.py")
FILES |= {"var": "models/var.py", "dit": "models.py", "repa": "models/sit.py"}
FILES |= {"mdtv2": "masked_diffusion/models.py"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_checkouts(tmp_path)


def built(key: str, root: Path) -> tuple[Any, Any]:
    """The adapter of a row's family, and the model that it builds."""
    part = import_module(f"benchmarks.official.{ROW[key].name}")
    with part.CHECKOUT.expected(root) as folder:
        return part, part.build(*part.CHECKOUT.load(folder), ROW[key])


def official_row(key: str, root: Path) -> tuple[nn.Module, Any]:
    """A row's model after the work was done once, and what the work returned."""
    part, _ = built(key, root)
    kept: list[nn.Module] = []
    build = part.build

    def keeping(*given: Any) -> nn.Module:
        kept.append(build(*given))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "build", keeping)
        done = official(ROW[key], root)()
    return kept[0], done


def test_checkouts_have_the_names_of_their_families() -> None:
    assert {ROW[f"{name}-train"].family for name in FILES} == set(names())
    assert all(is_known(ROW[f"{name}-train"]) for name in FILES)
    assert not is_known(ROW["sit-train"])  # of SiT there is REPA's code, which aligns
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


@pytest.mark.parametrize("key", [*(f"{name}-train" for name in FILES), "rar-train-bf16"])
def test_a_step_trains_the_official_model(key: str, root: Path) -> None:
    model: Any = official_row(key, root)[0]
    assert model.training
    if key == "rar-train":  # whose loss is ln 1024 whatever the gain is
        assert model.dropped == 0.1
    if key == "mar-train":
        assert model.hidden == 55
    # AdamW's first step is as long as its rate; a vector is not decayed.
    moved = 1 - model.gain.item()
    flat = key.startswith(("rar", "var"))  # whose loss is ln 1024 whatever the gain is
    assert moved == pytest.approx(0.0 if flat else 1e-4, rel=1e-2) or key == "mdtv2-train"
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


def test_causal_models_get_the_work_of_the_benchmark(root: Path) -> None:
    for name in ("llamagen", "par"):
        model: Any = official_row(f"{name}-sample", root)[0]
        told, asked = model.told, model.asked
        assert (told["dim"], told["n_layer"], told["n_head"]) == (256, 8, 8)
        assert (told["vocab_size"], told["block_size"], told["num_classes"]) == (1024, 256, 1000)
        assert asked["max_new_tokens"] == 256 and len(asked["cond"]) == 16
        kwargs = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        assert asked["sampling_kwargs"] == kwargs and asked["cfg_interval"] == -1
    assert told["spe_token_num"] == asked["spe_token_num"] == 3 and asked["ar_token_num"] == 4
    dropping: Any = built("llamagen-train", root)[1]
    keeping: Any = built("llamagen-train-nodrop", root)[1]
    for name in ("token", "resid", "ffn"):
        assert dropping.told[f"{name}_dropout_p"] == 0.1 and not keeping.told[f"{name}_dropout_p"]
    model, latents = official_row("var-sample", root)
    assert latents.shape == (8, 32, 16, 16) and model.told["attn_l2_norm"]
    assert (model.asked["cfg"], model.asked["top_k"], model.asked["top_p"]) == (1.5, 900, 0.96)
    assert official_row("var-sample-cfg1", root)[0].asked["cfg"] == 0


def test_models_of_latents_get_the_work_of_the_benchmark(root: Path) -> None:
    for name, batch, side in (("dit", 4, 16), ("mdtv2", 2, 32), ("repa", 2, 32)):
        model: Any
        model, latents = official_row(f"{name}-sample", root)
        assert latents.shape == (batch, 4, side, side)
        assert model.told["hidden_size"] == 256 and model.told["depth"] == 8
        guided = model.asked["y"].tolist()
        assert len(guided) == (batch if name == "repa" else 2 * batch)
        assert (guided[batch:] == [1000] * batch) or name == "repa"
        assert model.gain.item() != 1  # it says something
    assert (model.asked["cfg_scale"], model.asked["num_steps"]) == (1.8, 8)
    assert official_row("repa-sample-cfg1", root)[0].asked["cfg_scale"] == 1
    assert model.told["z_dims"] == [16] and model.told["encoder_depth"] == 4
    assert official_row("mdtv2-sample", root)[0].asked["scale_pow"] == 4.0
    assert not hasattr(official_row("dit-sample-cfg1", root)[0], "asked")
    assert official_row("mdtv2-train", root)[0].shown == 153


def test_checkouts_whose_modules_share_names_do_not_meet(root: Path) -> None:
    path = list(sys.path)
    classes = [type(built(key, root)[1]).__name__ for key in ("mar-train", "xar-train")]
    assert classes == ["MAR", "Net"] and sys.path == path
    for key in ("llamagen-train", "par-train"):  # folders without __init__
        built(key, root)
    left = {name.partition(".")[0] for name in sys.modules}
    assert not left & {"models", "flash_attn", "autoregressive", "utils"}


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
        ("dit", "", "no attribute 'DiT'"),
        ("par", "ModelArgs = dict\nTransformer = 1", "'int' object is not callable"),
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
