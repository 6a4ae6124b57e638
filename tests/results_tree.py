"""A small tree of made-up results, for tests of tables and figures; no number here is real."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from nextbasis.support.files import write_json
from nextbasis.tables import header, layout

REPOSITORY = Path(__file__).parents[1]
PROTOCOL = {
    "name": "synthetic-v0",
    "weights": "ema",
    "extractor": "none",
    "extractor_sha256": "e" * 64,
    "reference_sha256": "f" * 64,
}
ROWS = 40  # of a loss curve


def small_catalog() -> dict[str, Any]:
    """Two scales; at `small` a pair with three seeds, a lone system and a basis that is learned."""
    part: dict[str, Any] = {
        "datasets": ["made"],
        "tokenizers": {"kl": {}},
        "runs": {},
        "evals": {},
        "same": {"twin": "a"},
        "diagnoses": {
            key: {"family": "xar", "run": key, "tokens": "kl"} for key in ("a_bar", "b_bar")
        },
    }
    for system, seeds in {"a": (0, 1, 2), "a_bar": (0, 1, 2), "b": (0,), "b_bar": (0,)}.items():
        for seed in seeds:
            key = f"{system}_s{seed}" if seed else system
            basis = "bar" if system.endswith("bar") else "identity"
            part["runs"][key] = {"family": "xar", "basis": basis, "tokens": "kl"}
            part["evals"][key] = {
                "run": key,
                "system": system,
                "seed": seed,
                "images": 2000,
                "tokens": "kl",
            }
    other = {"tokenizers": {}, "runs": {"b": part["runs"]["b"]}}
    other["evals"] = {"big": {**part["evals"]["b"]}}
    other["evals"]["big"]["system"] = "elsewhere"
    return {"small": part, "large": other, "tables": small_tables()}


def build_trained(root: Path) -> None:
    """A repository with made-up results of runs at `small` that were trained, to be shared."""
    catalog = small_catalog()
    for entry in catalog["small"]["runs"].values():
        entry["seed"] = 0
    build(root, catalog, "small", pictures=True)
    write_catalog(root, catalog)
    (root / "workflow").symlink_to(REPOSITORY / "workflow")
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(REPOSITORY / name, root / name)
    train = root / "results/small/train/a_bar"
    write_json(train / "config.json", {"model": {"family": "xar"}, "seed": 0})
    numbers = {"parameters": 310_003, "steps": 950, "images_seen": 15_200}
    write_json(train / "metrics.json", numbers)


def write_catalog(root: Path, catalog: dict[str, Any]) -> None:
    """Write a catalog as files, its scales in this order; none of them is the default one."""
    for rank, (scale, part) in enumerate(catalog.items()):
        folder = root / "config" if scale == "tables" else root / "config/scales" / scale
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ("tables.yaml" if scale == "tables" else "catalog.yaml")
        content = part if scale == "tables" else part | {"scale": scale, "rank": rank}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    (root / "catalog.yaml").write_text("scale: another\n")


def small_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Made-up results at `small`, in a folder that is the working one from here on; the catalog."""
    catalog = small_catalog()
    build(root, catalog, "small")
    write_claims(root, small_claims())
    write_catalog(root, catalog)
    (root / "workflow").mkdir()
    (root / "workflow/templates").symlink_to(REPOSITORY / "workflow/templates")
    monkeypatch.chdir(root)
    monkeypatch.setattr(header, "commit", lambda: "commit 0123456789ab")
    return catalog


def small_claims() -> dict[str, Any]:
    """Claims about the pairs of the small tables."""
    common = {"source": "P", "kind": "below", "differ": ["basis"], "decidable_from": "small"}
    claims = {}
    for system in ("a", "b"):
        pair: dict[str, Any] = {"metric": "fid", "system": f"{system}_bar", "than": system}
        pair["published"] = [f"P/main/{system}_bar", f"P/main/{system}"]
        statement = f"A basis helps {system.upper()}."
        claims[system] = common | {"statement": statement, "compare": [pair]}
    return {"alpha": 0.05, "claims": claims}


def write_claims(root: Path, claims: dict[str, Any]) -> None:
    """Write claims, and beside them what they read: published numbers and the bases' files."""
    config = root / "config"
    config.mkdir(exist_ok=True)
    (config / "claims.yaml").write_text(yaml.safe_dump(claims, sort_keys=False))
    (config / "published.csv").write_text(PUBLISHED)
    (config / "basis").symlink_to(Path(__file__).parents[1] / "config/basis")


def small_tables() -> dict[str, Any]:
    """One table of each kind."""
    rows = [
        {"label": "Other_people", "published": "P/main/other"},
        {"label": "A & co", "system": "a", "published": "P/main/a"},
        {"label": "A again", "system": "twin", "published": ["P/main/a", "P/speed/a"]},
        {"label": "B", "system": "b", "note": "a control"},
        {"label": "Big", "system": "elsewhere", "published": "P/main/big"},
    ]
    metrics = ["fid", "is_mean", "precision", "recall", "params", "images_per_second"]
    pairs = [
        {
            "label": name,
            "baseline": system,
            "system": f"{system}_bar",
            "published_baseline": f"P/main/{system}",
            "published": f"P/main/{system}_bar",
        }
        for name, system in (("A", "a"), ("B", "b"))
    ]
    text = {"title": "Systems", "caption": "Made up: 100 % synthetic."}
    return {
        "systems": text | {"kind": "systems", "metrics": metrics, "rows": rows},
        "pairs": text | {"title": "Pairs", "kind": "pairs", "metrics": ["fid"], "rows": pairs},
    }


PUBLISHED = """paper,table,system,metric,value,unit,source,flag
P,main,other,fid,2.5,FID-50K,paper P,"two values, 2.5 | 2.6"
P,main,other,is_mean,300.04,score,paper P,
P,main,a,fid,1.7,FID-50K,paper P,
P,main,a,params,172000000,count,README of a_b@c,
P,speed,a,images_per_second,9.8,images/s,paper P,
P,main,a_bar,fid,1.63,FID-50K,paper P,
P,main,b,fid,2,FID-50K,paper P,
P,main,b_bar,fid,1.9,FID-50K,paper P,"two values, 2.5 | 2.6"
P,main,big,fid,1.2,FID-50K,paper P,
"""


def fid_of(position: int, seed: int) -> float:
    """The made-up FID of the position-th evaluation."""
    return round(5 + 0.37 * math.sin(3 * position) + 0.11 * seed, 4)


def build(root: Path, catalog: dict[str, Any], scale: str, pictures: bool = False) -> None:
    """Write results/<scale> below `root`, with the files that the catalog's tables read."""
    folder, part = root / "results" / scale, catalog[scale]
    _frame(folder, part)
    for position, (key, entry) in enumerate(part["evals"].items()):
        values = {"fid": fid_of(position, entry["seed"]), "fid_se": 0.08, "is_std": 0.05}
        values |= {"is_mean": 5.25 + position / 8, "precision": 0.5, "recall": 0.25}
        _score(folder / "score" / key, values, entry["images"])
        write_json(
            folder / "sample" / key / "speed.json",
            {
                "seconds_per_image": 0.0625,
                "images_per_second": 64.0 + position,
                "batch_size": 250,
                "device": "cpu",
                "processor": "abacus",
                "threads": 1,
            },
        )
        write_json(
            folder / "train" / entry["run"] / "metrics.json",
            {
                "parameters": 310_000 + position,
                "steps": _steps(part["runs"][entry["run"]]),
                "images_seen": 17_280,
            },
        )
        if entry["run"] in part.get("heldouts", {}):
            held_out = {"held_out": 2 - position / 64, "num_images": 1000}
            write_json(folder / "heldout" / entry["run"] / "metrics.json", held_out)
        if pictures:
            _pictures(folder, key, entry, part["runs"][entry["run"]], position)
    for key in part.get("diagnoses", {}) if pictures else ():
        _diagnosis(folder / "diagnose" / key / "metrics.json")


def _steps(run: dict[str, Any]) -> int:
    """Steps of the budget of a real run, 540 of a made-up one."""
    if "train" not in run:
        return 540
    recipes = REPOSITORY / "src/nextbasis/families" / run["family"] / "recipes/train"
    recipe = yaml.safe_load((recipes / f"{run['train']}.yaml").read_text(encoding="utf-8"))
    given = dict(word.split("=", 1) for word in run["overrides"].split())
    return int(given.get("train.steps", recipe["steps"]))


def _frame(folder: Path, part: dict[str, Any]) -> None:
    index = {"name": "made-up", "image_size": 8, "num_classes": 10, "num_train": 1000}
    write_json(folder / "dataset/index.json", index)
    write_json(folder / "dataset/metrics.json", {"sha256": {"train_images.npy": "a" * 64}})
    write_json(folder / "reference/index.json", {"computed_on": "train", "sha256": "f" * 64})
    floors = {
        "floor": {"fid": 0.0061, "fid_se": 0.001, "num_images": 1000},
        "blur_0.5": {"fid": 0.9, "fid_se": 0.01, "recall": 0.49, "num_images": 1000},
        "anchor": {"fid": 5.67, "fid_se": 0.047, "num_images": 1000},
    }
    write_json(folder / "reference/metrics.json", {"scores": floors})
    for tokenizer in {*part["tokenizers"], *part.get("rebased", {})}:
        values = {"fid": 0.91, "fid_se": 0.02, "is_mean": 6.0, "is_std": 0.1}
        _score(folder / "reconstruct" / tokenizer, values | {"precision": 0.9, "recall": 0.9}, 1000)


def _score(folder: Path, values: dict[str, float], num_images: int) -> None:
    write_json(
        folder / "score.json",
        {
            "values": values,
            "protocol": PROTOCOL | {"num_images": num_images},
            "provenance": {"versions": {"python": "3.0"}, "device": "cpu"},
        },
    )


def _diagnosis(path: Path) -> None:
    """16 coefficients, each with half the energy of the one before; the last is determined."""
    shares = 0.5 ** np.arange(1, 17)
    cumulative = (shares / shares.sum()).cumsum()
    values = {"cumulative_energy": cumulative, "cumulative_energy_klt": cumulative**0.5}
    values |= {"cumulative_energy_identity": np.arange(1, 17) / 16}
    values |= {"variance": 16 * shares, "conditional_variance": [*(8 * shares[:-1]), 0]}
    values |= {"klt_overlap_rows": [1, 2, 4, 8, 16], "klt_overlap": [0.9, 0.7, 0.6, 0.8, 1]}
    lists = {name: np.asarray(value).tolist() for name, value in values.items()}
    write_json(path, lists | {"num_tokens": 16})


def _pictures(
    folder: Path, key: str, entry: dict[str, Any], run: dict[str, Any], position: int
) -> None:
    rng = np.random.default_rng(position)
    steps = np.arange(1, ROWS + 1) * 10
    loss = 0.5 + 0.4 * np.exp(-steps / 60) + 0.01 * rng.standard_normal(ROWS) + 0.005 * position
    learned = run["basis"] == "bar"
    names = ["step", "loss"] + (
        ["sigma_min", "sigma_mean", "sigma_max", "distance_from_start", "drift"] if learned else []
    )
    sigma = 1 - 0.1 * (1 - np.exp(-steps / 100))
    state = [sigma, np.ones(ROWS), 2 - sigma, 5 * (1 - sigma), 0.1 * np.exp(-steps / 100)]
    columns = [steps, loss, *state][: len(names)]
    train = folder / "train" / entry["run"]
    lines = [",".join(names)] + [
        ",".join(f"{v:g}" for v in row) for row in zip(*columns, strict=True)
    ]
    (train / "metrics.csv").write_text("\n".join(lines) + "\n")
    if run["basis"] != "identity":
        noise = 0.05 * rng.standard_normal((16, 16)).astype(np.float32)
        host_order = np.array([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15])
        tensors = {"basis": np.eye(16, dtype=np.float32) + noise}
        tensors["host_order"] = host_order
        save_file(tensors, str(train / "model.safetensors"))
    grid = rng.integers(0, 255, (64, 80), dtype=np.uint8)
    Image.fromarray(grid).save(folder / "sample" / key / "grid.png")


def row_of(ready: layout.Layout, label: str) -> dict[str, layout.Cell]:
    position = ready.columns.index("system")
    row = next(row for row in ready.rows if row[position].text == label)
    return dict(zip(ready.columns, row, strict=True))
