import subprocess
import sys
from pathlib import Path

import pytest

from nextbasis.basis.registry import names, order_names
from nextbasis.config import SECTIONS, section
from nextbasis.config import compose as compose_here
from nextbasis.families import find
from nextbasis.families import names as families
from nextbasis.support.provenance import config_hash

ROOT = Path(__file__).parents[2]
TRAIN = [
    "scale=cpu",
    "key=xar_b",
    "tokens=kl",
    "captions=classes",
    "model=small/xar_b",
    "train=cpu/xar",
    "basis=bar",
    "order=raster",
]


def compose(stage: str, *overrides: str) -> object:
    return compose_here(stage, overrides, ROOT / "config")


def test_overrides_reach_the_dataclass() -> None:
    config = compose("train", *TRAIN, "basis.delta=0.25", "seed=3")
    assert config.basis.delta == 0.25 and config.seed == 3 and config.model.family == "xar"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.lrr=1"], "train.lrr"),
        (["model=small/xar_z"], "small/xar_z"),
        (["basis.delta=soft"], r"basis.delta: Value 'soft'.*could not be converted to Float"),
        (["basis.delta=1.5"], r"basis.delta must lie in \[0, 1\), got 1.5"),
        (["basis.projection=firm"], "basis.projection must be one of none, hard, soft; got 'firm'"),
        (["basis.init=wavelet"], "basis.init must be one of identity, .*; got 'wavelet'"),
        (["order.scan=diagonal"], "order.scan must be one of raster, .*; got 'diagonal'"),
        (["basis.objective=r3"], "basis.energy_weight must be above 0 for basis.objective=r3"),
        (["basis.detach_target=true"], "basis.detach_target needs basis.objective=l_bar, got r0"),
        (["basis.learned=false"], "basis.objective=r0 and .* need basis.learned=true"),
        (["model.num_heads=5"], "model.num_heads must divide model.width, got 5 and 64"),
        (["order.anneal_start=0.9", "order.anneal_end=0.2"], "must not exceed order.anneal_end"),
        (["+model.wide=3"], "model.wide"),
        (["+sampler=cpu/xar"], "stage train does not read sampler"),
        (["model=small/rar_b"], "RAR needs basis=identity"),
    ],
)
def test_bad_overrides_name_key_and_value(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose("train", *TRAIN, *[o.replace("+sampler", "sampler") for o in overrides])


def test_every_basis_and_order_that_is_listed_is_accepted() -> None:
    for name in (*names(), "identity", "file:a.npy", "package.module:function"):
        assert compose("train", *TRAIN, f"basis.init={name}").basis.init == name
    for name in order_names():
        assert compose("train", *TRAIN, f"order.scan={name}").order.scan == name


def test_the_config_knows_the_names_without_importing_torch() -> None:
    code = "import sys, nextbasis.config; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_section_and_a_missing_value_are_named() -> None:
    with pytest.raises(ValueError, match="stage train needs model="):
        compose("train", *[o for o in TRAIN if not o.startswith("model")])
    with pytest.raises(ValueError, match="stage train needs tokens="):
        compose("train", *[o for o in TRAIN if not o.startswith("tokens")])
    with pytest.raises(ValueError, match="model: no value for depth"):
        section(
            "model",
            {
                "family": "rar",
                "width": 8,
                "num_heads": 2,
                "mlp_width": 8,
                "dropout": 0.0,
                "label_drop": 0.1,
            },
        )


def test_hash_depends_on_values_only() -> None:
    assert config_hash(compose("train", *TRAIN)) == config_hash(compose("train", *TRAIN[::-1]))
    assert config_hash(compose("train", *TRAIN)) != config_hash(compose("train", *TRAIN, "seed=1"))


@pytest.mark.parametrize("group", SECTIONS)
def test_every_file_of_a_group_is_valid(group: str) -> None:
    import yaml

    roots = [ROOT / "config" / group, *(find(name).recipes / group for name in families())]
    files = sorted(path for root in roots for path in root.rglob("*.yaml"))
    if group == "evaluation":
        files = sorted((ROOT / "config/scales").glob("*/evaluation.yaml"))
    assert files
    for path in files:
        section(group, yaml.safe_load(path.read_text()))
