"""What the catalog and dvc.yaml say about a run: its configs, its tokens, its evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from nextbasis.config import (
    BasisConfig,
    ClassesConfig,
    FrozenConfig,
    SampleStage,
    TrainStage,
    compose,
)
from nextbasis.config.checks import choose
from nextbasis.data.texts import FIRST
from nextbasis.families.common.generator import start_of
from nextbasis.families.common.spec import TokenSpec
from nextbasis.families.common.text import TextSpec
from nextbasis.pipeline.catalog import TABLES, load_catalog, section
from nextbasis.pipeline.stagelist import Stage, load_stages
from nextbasis.support.words import listed
from nextbasis.tokenizers.common.loading import build
from nextbasis.tokenizers.common.tokenizer import Tokenizer

ASSUMPTIONS = Path("config/plan.yaml")
NAMES = ("key=", "run=", "seed=")  # overrides that change no cost

Stages = dict[tuple[str, str], Stage]  # of one scale, by kind and key


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training of the catalog and the evaluations that sample from it."""

    config: TrainStage
    spec: TokenSpec
    evals: tuple[SampleStage, ...]


def check_root() -> None:
    """Nothing if the working directory is the repository's root.

    Raises: FileNotFoundError naming what is missing.
    """
    needed = (TABLES, Path("dvc.yaml"), ASSUMPTIONS)
    if missing := [str(path) for path in needed if not path.is_file()]:
        raise FileNotFoundError(f"no {listed(missing)} here; run from the repository's root")


def runs_of(scale: str, keys: Sequence[str] = ()) -> list[Run]:
    """The runs of a scale that are named, or all of them in the catalog's order.

    Raises: FileNotFoundError if this is not the repository; ValueError naming the choices.
    """
    check_root()
    catalog = load_catalog()
    part = section(catalog, scale)
    for key in keys:
        choose("run", key, tuple(part["runs"]))
    stages = {(s.kind, s.key): s for s in load_stages(catalog, only=[scale])}
    return [_run(name, part, stages) for name in keys or part["runs"]]


def _run(name: str, part: dict[str, Any], stages: Stages) -> Run:
    evals = [key for key, entry in part["evals"].items() if entry["run"] == name]
    config = _config(stages["train", name])
    return Run(
        config=config,
        spec=_spec(part, stages, part["runs"][name]["tokens"], config.basis),
        evals=tuple(_config(stages["sample", key]) for key in evals),
    )


def _spec(part: dict[str, Any], stages: Stages, encoder: str, basis: BasisConfig) -> TokenSpec:
    """The tokens that an encoder makes, in a basis; a rebased one makes its parent's."""
    parent = part.get("rebased", {}).get(encoder, {}).get("parent", encoder)
    made = _tokenizer(stages["tokenizer", parent], stages["dataset", ""])
    n = made.layout.num_tokens
    found = start_of(basis, made.layout, lambda: torch.randn(n + 1, n, 1), 0)
    num_classes = _config(stages["dataset", ""]).dataset.num_classes
    return TokenSpec.of_layout(made.layout, found, num_classes, _text(stages))


def _text(stages: Stages) -> TextSpec | None:
    """What a scale's captions look like, if any; how many words there are only reading tells."""
    found = [_config(stage).text for (kind, _), stage in stages.items() if kind == "text"]
    if not found or isinstance(found[0], ClassesConfig):
        return None
    width = found[0].width if isinstance(found[0], FrozenConfig) else 0
    return TextSpec(
        num_tokens=found[0].num_tokens, vocabulary_size=0 if width else FIRST, width=width
    )


@cache
def _tokenizer(stage: Stage, dataset: Stage) -> Tokenizer:
    """Without memory; cached, because most runs of a scale share one and a large one takes long."""
    images = _config(dataset).dataset
    with torch.device("meta"):
        return build(_config(stage).tokenizer, images.image_size, images.channels)


def _config(stage: Stage) -> Any:
    """The config that a stage's own command composes."""
    given = tuple(word for word in stage.arguments if not word.startswith(NAMES))
    return replace(_composed(stage.kind, given), key=stage.key)


@cache
def _composed(kind: str, given: tuple[str, ...]) -> Any:
    """Cached, because it takes a tenth of a second and runs share most of their configs."""
    names = ["run=any"] if kind == "sample" else []
    return compose(kind, [*given, "key=any", *names])
