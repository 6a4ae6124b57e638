"""A claim about made-up results, and what it is found to say; for tests of claims."""

from pathlib import Path
from typing import Any

from nextbasis.claims.evaluate import evaluate
from nextbasis.claims.finding import Finding
from nextbasis.claims.inputs import check_claims
from nextbasis.support.files import read_json, write_json
from nextbasis.tables import published
from results_tree import build

ALPHA = 0.05


def claim(kind: str = "below", scale: str = "small", **rest: Any) -> dict[str, Any]:
    pair = {"metric": "fid", "system": "a_bar", "than": "a"}
    pair |= {"published": ["P/main/a_bar", "P/main/a"]}
    common = {"source": "P", "statement": "A basis helps A.", "decidable_from": scale}
    common["differ"] = ["basis"]
    return {"kind": kind, "compare": [pair], **common, **rest}


def set_score(values: dict[str, list[float]], images: int = 2000, metric: str = "fid") -> None:
    """Overwrite a metric of systems, seed by seed."""
    for system, numbers in values.items():
        for seed, number in enumerate(numbers):
            path = Path(f"results/small/score/{system}{f'_s{seed}' if seed else ''}/score.json")
            score = read_json(path)
            score["values"][metric] = number
            score["protocol"]["num_images"] = images
            write_json(path, score)


def all_found(tree: dict[str, Any], claims: dict[str, Any]) -> list[Finding]:
    ledger = {"alpha": ALPHA, "claims": claims}
    check_claims(ledger, tree)
    return evaluate(ledger, tree, "small", published.load(Path("config/published.csv")))


def found(tree: dict[str, Any], one: dict[str, Any]) -> Finding:
    return all_found(tree, {"one": one})[0]


def against(system: str, than: str, **rest: Any) -> dict[str, Any]:
    return {"metric": "fid", "system": system, "than": than} | rest


def add_system(tree: dict[str, Any], name: str, **run: Any) -> None:
    """A system of family xar with three seeds."""
    part = tree["small"]
    for seed in range(3):
        key = f"{name}_s{seed}" if seed else name
        part["runs"][key] = {"family": "xar", "basis": "bar", "tokens": "kl"} | run
        part["evals"][key] = {"run": key, "system": name, "seed": seed, "images": 2000}
        part["evals"][key]["tokens"] = "kl"
    build(Path(), tree, "small")
